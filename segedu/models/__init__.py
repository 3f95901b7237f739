"""Models that segment images, as their papers define them."""

from segedu.models.atrous import atrous_conv1d, atrous_conv2d, with_holes
from segedu.models.backbones import build_encoder, imagenet_normalise
from segedu.models.classifiers import VGG16, AlexNet, GoogLeNet
from segedu.models.convolutionize import convolutionize
from segedu.models.crf import DenseCRF, ExactDenseCRF
from segedu.models.deeplab import deeplab_v1, deeplab_v2
from segedu.models.deeplab_v3 import deeplab_v3, deeplab_v3plus
from segedu.models.encoders import efficientnet_lite0, efficientnet_lite0_classifier, imagenet_classes
from segedu.models.fcn import fcn8s, fcn16s, fcn32s, fcn_resnet50
from segedu.models.inference import for_inference
from segedu.models.sam import SamAutomaticMaskGenerator, SamPredictor, build_sam
from segedu.models.segnet import encoder_segnet, pool_with_indices, segnet, segnet_basic, unpool
from segedu.models.tiling import overlap_tile
from segedu.models.unet import encoder_unet, unet
from segedu.models.upsampling import bilinear_kernel

__all__ = [
    "VGG16",
    "AlexNet",
    "DenseCRF",
    "ExactDenseCRF",
    "GoogLeNet",
    "SamAutomaticMaskGenerator",
    "SamPredictor",
    "atrous_conv1d",
    "atrous_conv2d",
    "bilinear_kernel",
    "build_encoder",
    "build_sam",
    "convolutionize",
    "deeplab_v1",
    "deeplab_v2",
    "deeplab_v3",
    "deeplab_v3plus",
    "efficientnet_lite0",
    "efficientnet_lite0_classifier",
    "encoder_segnet",
    "encoder_unet",
    "fcn8s",
    "fcn16s",
    "fcn32s",
    "fcn_resnet50",
    "for_inference",
    "imagenet_classes",
    "imagenet_normalise",
    "overlap_tile",
    "pool_with_indices",
    "segnet",
    "segnet_basic",
    "unet",
    "unpool",
    "with_holes",
]
