"""All networks: counts of the papers, torchvision's weights, other devices, one graph, bfloat16, wrong input."""

import pytest
import torch
import torchvision
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms import v2

from segedu.arithmetic import count_multiply_adds, count_parameters, receptive_field
from segedu.models.backbones import ENCODERS, build_encoder, imagenet_normalise
from segedu.models.classifiers import VGG16, AlexNet, GoogLeNet, vgg16_from_torchvision
from segedu.models.convolutionize import convolutionize
from segedu.models.deeplab import FC6, deeplab_v1, deeplab_v2
from segedu.models.deeplab_v3 import deeplab_v3, deeplab_v3plus
from segedu.models.fcn import fcn8s, fcn16s, fcn32s, fcn_resnet50
from segedu.models.inference import for_inference
from segedu.models.segnet import encoder_segnet, segnet, segnet_basic
from segedu.models.unet import encoder_unet, unet

# How to build each, and the size of an image that it takes.
MODELS = {
    "fcn32s-alexnet": (lambda: fcn32s("alexnet"), 64),
    "fcn32s-vgg16": (lambda: fcn32s("vgg16"), 40),
    "fcn32s-googlenet": (lambda: fcn32s("googlenet"), 64),
    "fcn16s": (fcn16s, 40),
    "fcn8s": (fcn8s, 40),
    "fcn8s-encoder": (lambda: fcn8s("efficientnet_lite0"), 65),
    "fcn_resnet50": (fcn_resnet50, 65),
    "unet": (lambda: unet(3), 204),
    "unet-padded": (lambda: unet(3, padded=True, batch_norm=True), 75),
    "unet-encoder": (encoder_unet, 65),
    "segnet": (segnet, 67),
    "segnet_basic": (segnet_basic, 67),
    "segnet-encoder": (encoder_segnet, 65),
    "deeplab_v1": (deeplab_v1, 65),
    "deeplab_v2-vgg16": (lambda: deeplab_v2("vgg16"), 65),
    "deeplab_v2-resnet101": (lambda: deeplab_v2("resnet101", aspp="S"), 65),
    "deeplab_v3": (deeplab_v3, 65),
    "deeplab_v3plus": (lambda: deeplab_v3plus("resnet50"), 65),
    "deeplab_v3plus-lite": (lambda: deeplab_v3plus("efficientnet_lite0", 11, output_stride=8, width=96), 65),
}
EVERY = pytest.mark.parametrize("name", MODELS)
# Where values are computed, and not only shapes, half a gigabyte of weights takes seconds.
HEAVY = {"fcn32s-alexnet", "fcn32s-vgg16", "fcn16s", "fcn8s", "deeplab_v2-resnet101"}
WITH_VALUES = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in HEAVY)) for name in MODELS]
)


def on_meta(build):
    with torch.device("meta"):
        return build()


class Coarse(nn.Module):
    """A network before it upsamples."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model.coarse(images)


class Both(Coarse):
    """A network with its auxiliary head."""

    def forward(self, images):
        return self.model.forward_auxiliary(images)


def without_upsampling(model):
    return count_parameters(model) - count_parameters(model.upscore)


@pytest.mark.parametrize(
    ("backbone", "parameters", "field"),
    # Long et al. 2015, table 1: 57M, 134M and 6M; 355, 404 and 907, the last one with GoogLeNet's pooling.
    [("alexnet", 56_954_261, 355), ("vgg16", 134_346_581, 404), ("googlenet", 5_995_077, 715)],
)
def test_fcn_table_1(backbone, parameters, field):
    model = on_meta(lambda: fcn32s(backbone))
    assert without_upsampling(model) == parameters
    traced = receptive_field(Coarse(model))
    assert (traced.size, traced.stride) == (field, 32)
    # The crop puts the centre of each score's upsampled kernel, 64 pixels, on the centre of its field.
    assert model.offset == int(31.5 - traced.offset)


def test_the_field_of_the_paper_s_googlenet_has_the_pooling():
    model = on_meta(lambda: fcn32s("googlenet"))
    model.head = nn.Sequential(nn.AvgPool2d(7, 1), model.head)
    assert receptive_field(Coarse(model)).size == 907


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        (fcn16s, 134_815_994),
        (fcn8s, 134_489_759),
        (unet, 31_030_658),
        (segnet, 29_449_355),
        (lambda: deeplab_v1(fc6="7x7"), 134_346_581),
        (lambda: deeplab_v1(fc6="4x4-narrow"), 65_140_565),
        (lambda: deeplab_v1(fc6="4x4"), 65_140_565),
        (lambda: deeplab_v1(fc6="large_fov"), 20_505_429),
        (lambda: deeplab_v2("vgg16"), 37_877_652),
        (lambda: deeplab_v2("resnet101"), 44_048_532),
        (AlexNet, 60_965_224),
        (VGG16, 138_357_544),
        (GoogLeNet, 6_998_552),
    ],
)
def test_parameters(build, parameters):
    assert count_parameters(on_meta(build)) == parameters


@pytest.mark.parametrize(
    ("fc6", "of_fc6", "field"), list(zip(FC6, (224, 128, 224, 224), (419, 323, 419, 419), strict=True))
)
def test_fields_of_deeplab(fc6, of_fc6, field):
    model = on_meta(lambda: deeplab_v1(fc6=fc6))
    traced = receptive_field(Coarse(model))
    assert (traced.size, traced.stride, traced.offset) == (field, 8, 0)
    kernel, rate, _ = FC6[fc6]
    assert ((kernel - 1) * rate + 4) * 8 == of_fc6  # what the paper's table 2 calls the field of view


def test_unet_s_arithmetic():
    model = on_meta(lambda: unet(1, 2))
    assert model(torch.empty(1, 1, 572, 572, device="meta")).shape == (1, 2, 388, 388)
    assert sum(isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) for layer in model.modules()) == 23
    assert receptive_field(model, channels=1, size=1484).sizes == (188, 204)


def test_multiply_adds_of_a_deeplab_are_those_of_torchvision_s():
    ours = on_meta(deeplab_v3)
    theirs = on_meta(lambda: torchvision.models.segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None))
    shape = (1, 3, 520, 520)
    assert count_multiply_adds(ours, shape) == count_multiply_adds(theirs, shape)
    # torchvision's own figure, in its table of segmentation models, is one with the auxiliary head.
    ours = Both(on_meta(lambda: deeplab_v3(auxiliary=True)))
    figure = torchvision.models.segmentation.DeepLabV3_ResNet50_Weights.DEFAULT.meta["_ops"]
    assert count_multiply_adds(ours, shape) / 1e9 == pytest.approx(figure, abs=0.001)


# Weights of others


@pytest.mark.parametrize(
    ("build", "peer"),
    [
        (fcn_resnet50, "fcn_resnet50"),
        (deeplab_v3, "deeplabv3_resnet50"),
    ],
)
@pytest.mark.parametrize("auxiliary", [False, True])
def test_takes_torchvision_s_weights_and_agrees(build, peer, auxiliary, one_thread):
    torch.manual_seed(0)
    make = getattr(torchvision.models.segmentation, peer)
    theirs = make(weights=None, weights_backbone=None, aux_loss=auxiliary).eval()
    ours = build(auxiliary=auxiliary).eval()
    assert not any(ours.load_state_dict(theirs.state_dict()))
    images = torch.randn(2, 3, 71, 90)
    with torch.no_grad():
        expected = theirs(images)
        results = ours.forward_auxiliary(images) if auxiliary else (ours(images),)
    for result, key in zip(results, ("out", "aux"), strict=False):
        scale = expected[key].abs().max()
        torch.testing.assert_close(result / scale, expected[key] / scale, atol=1e-4, rtol=0)


def test_a_missing_auxiliary_head_is_named():
    with pytest.raises(ValueError, match="build it with auxiliary=True"):
        on_meta(fcn_resnet50).forward_auxiliary(torch.rand(1, 3, 33, 33))


def test_vgg16_takes_torchvision_s_weights_and_gives_them_on(one_thread):
    torch.manual_seed(0)
    theirs = torchvision.models.vgg16(weights=None).eval()
    images = torch.randn(1, 3, 224, 224)
    ours = VGG16().eval()
    ours.load_state_dict(vgg16_from_torchvision(theirs.state_dict()))
    with torch.no_grad():
        expected = theirs(images)
        torch.testing.assert_close(ours(images), expected)
        # As an FCN without its margin, the network says of one window what the classifier says of the image.
        model = fcn32s("vgg16", weights=theirs.state_dict()).eval()
        model.features.block1.conv1_1.padding = (1, 1)
        fc7 = model.head(model.features(images))
        torch.testing.assert_close(fc7.flatten(1), theirs.classifier[:-1](theirs.features(images).flatten(1)))
    first = theirs.features[0].weight
    for start in (lambda: segnet(weights=theirs.state_dict()), lambda: deeplab_v1(weights=theirs.state_dict())):
        started = next(layer for layer in start().modules() if isinstance(layer, nn.Conv2d))
        assert torch.equal(started.weight, first)


def test_deeplab_v2_takes_torchvision_s_trunk():
    weights = torchvision.models.resnet101(weights=None).state_dict()
    model = deeplab_v2("resnet101", weights=weights)
    assert torch.equal(model.features.layer4[2].conv3.weight, weights["layer4.2.conv3.weight"])


def test_weights_of_other_networks_are_refused():
    weights = torchvision.models.vgg16_bn(weights=None).state_dict()
    for build in (fcn8s, segnet, deeplab_v1):
        with pytest.raises(ValueError, match=r"expected the weights of torchvision\.models\.vgg16"):
            build(weights=weights)
    with pytest.raises(ValueError, match="not of ResNet-101"):
        deeplab_v2("resnet101", weights=weights)
    with pytest.raises(ValueError, match="not of GoogLeNet"):
        fcn32s("googlenet", weights={})


def test_alexnet_is_torchvision_s_kind_of_network(one_thread):
    """Its two groups: with weights of both groups set apart, half of conv2 sees half of conv1."""
    model = AlexNet().eval()
    images = torch.randn(1, 3, 227, 227)
    with torch.no_grad():
        before = model.features[:6](images)
        model.features.conv1.weight[:48] = 0
        model.features.conv1.bias[:48] = 0
        after = model.features[:6](images)
    assert not torch.equal(before[:, :128], after[:, :128])
    # Local response normalisation runs over channels, across the groups' border: 2 channels of 48 change.
    assert (before[:, 128:] - after[:, 128:]).abs().mean() < (before[:, :128] - after[:, :128]).abs().mean() / 4


# Everything that must hold of each


@EVERY
@pytest.mark.parametrize("device", ["cuda", "lazy"])
def test_runs_on_the_device_of_its_images(name, device):
    build, size = MODELS[name]
    with FakeTensorMode():
        with torch.device(device):
            model, images = build(), torch.rand(2, 3, size, size + 16, requires_grad=True)
        logits = model(images)
        assert logits.device.type == device
        smaller = 184 if name == "unet" else 0
        assert logits.shape[2:] == (size - smaller, size + 16 - smaller)
        # PyTorch 2.14 asks for a real GPU to go backward on "cuda"; "lazy" is a device that is not the CPU's either.
        if device == "lazy":
            logits.sum().backward()
            assert images.grad.device.type == device
            assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)


@WITH_VALUES
def test_compiles_into_one_graph(name):
    build, size = MODELS[name]
    model, images = build().eval(), torch.rand(1, 3, size, size)
    torch.compiler.reset()
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model, fullgraph=True, backend="eager")(images), model(images))


@WITH_VALUES
def test_stays_finite_in_bfloat16(name, one_thread):
    build, size = MODELS[name]
    torch.manual_seed(0)
    model, images = build(), torch.rand(2, 3, size, size)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
        logits.float().square().mean().backward()
    assert logits.isfinite().all()
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)


@WITH_VALUES
def test_folded_networks_say_the_same(name, one_thread):
    build, size = MODELS[name]
    torch.manual_seed(0)
    model, images = build().eval(), torch.rand(1, 3, size, size)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for value, least in ((layer.running_mean, -1), (layer.running_var, 0.5), (layer.weight, 0.5)):
                nn.init.uniform_(value, least, 1)
    faster = for_inference(model)
    norms = [layer for layer in faster.modules() if isinstance(layer, nn.BatchNorm2d)]
    # This one's levels normalise what they join, before a convolution whose padding with zeros is not normalised.
    assert len(norms) == (4 if name == "unet-encoder" else 0)
    with torch.no_grad():
        expected = model(images)
        torch.testing.assert_close(faster(images), expected, atol=1e-4 * expected.abs().max().item(), rtol=0)


@EVERY
def test_wrong_images_are_named(name):
    build, size = MODELS[name]
    model = on_meta(build)
    with pytest.raises(ValueError, match=r"takes 3 channels, \(B, 3, H, W\), got \(2, 1, 64, 64\)"):
        model(torch.rand(2, 1, 64, 64))
    with pytest.raises(ValueError, match=r"must be \(B, 3, H, W\), got \(3, 64, 64\)"):
        model(torch.rand(3, 64, 64))
    with pytest.raises(TypeError, match=r"must be floating point, got torch\.uint8"):
        model(torch.zeros(1, 3, size, size, dtype=torch.uint8))
    with pytest.raises(TypeError, match="must be a PyTorch tensor, got list"):
        model([])


@EVERY
def test_images_that_are_too_small_are_named_and_all_others_pass(name):
    model = on_meta(MODELS[name][0]).eval()
    least = {"fcn32s-googlenet": 31, "unet": 188}.get(name, 1)
    smallest = torch.empty(1, 3, least, least, device="meta")
    assert model(smallest).shape[2:] == ((4, 4) if name == "unet" else smallest.shape[2:])
    if least > 1:
        with pytest.raises(ValueError, match=rf"{least}.*|cannot take a side of {least - 1} pixels"):
            model(torch.empty(1, 3, least - 1, least, device="meta"))


def test_wrong_names_are_named():
    for wrong, message in (
        (lambda: fcn32s("vgg19"), "no encoder 'vgg19'; there are: efficientnet_lite0, resnet101, resnet50"),
        (lambda: build_encoder("resnet50", output_stride=4), "output_stride must be 8, 16 or 32, got 4"),
        (lambda: deeplab_v1(fc6="5x5"), "fc6 must be one of 7x7, 4x4-narrow, 4x4, large_fov, got '5x5'"),
        (lambda: deeplab_v2(aspp="M"), "aspp must be 'S' or 'L', got 'M'"),
        (lambda: deeplab_v2("resnet50"), "backbone must be 'resnet101' or 'vgg16', got 'resnet50'"),
        (lambda: deeplab_v3("vgg16"), "backbone must be 'resnet50' or 'resnet101', got 'vgg16'"),
        (lambda: unet(depth=1), "depth must be at least 2"),
        (lambda: encoder_unet("resnet50", output_stride=8), r"strides 2, 4, 8, \.\.\."),
        (lambda: encoder_segnet("resnet50", output_stride=8), "halves the size at each level"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_say_what_they_give(name):
    for output_stride in (8, 16, 32):
        encoder = on_meta(lambda stride=output_stride: build_encoder(name, output_stride=stride))
        features = encoder(torch.empty(1, 3, 77, 100, device="meta"))
        assert [feature.shape[1] for feature in features] == list(encoder.channels)
        sizes = [(-(-77 // stride), -(-100 // stride)) for stride in encoder.strides]
        assert [tuple(feature.shape[2:]) for feature in features] == sizes
        assert encoder.strides[-1] == output_stride


# Dense layers as convolutions


def test_a_convolutionised_head_says_the_same_of_each_window(one_thread):
    torch.manual_seed(0)
    head = nn.Sequential(
        nn.Flatten(), nn.Linear(3 * 4 * 5, 7), nn.BatchNorm1d(7), nn.GELU(), nn.Dropout(), nn.Linear(7, 2, bias=False)
    ).eval()
    head[2].running_mean.uniform_()
    grid = torch.randn(2, 3, 6, 9)
    with torch.no_grad():
        maps = convolutionize(head, (3, 4, 5))(grid)
        assert maps.shape == (2, 2, 3, 5)
        for y in range(3):
            for x in range(5):
                torch.testing.assert_close(maps[..., y, x], head(grid[..., y : y + 4, x : x + 5]))


def test_a_convolutionised_head_shares_its_weights():
    head = nn.Sequential(nn.Flatten(), nn.Linear(8, 3), nn.BatchNorm1d(3)).train()
    convolutions = convolutionize(head, (2, 2, 2))
    assert list(dict(convolutions.named_children())) == ["1", "2"]
    with torch.no_grad():
        head[1].weight.fill_(1)
        convolutions(torch.rand(4, 2, 2, 2))
    assert (convolutions[0].weight == 1).all()
    assert (head[2].running_mean != 0).all()


def test_heads_that_are_no_convolutions_are_named():
    with pytest.raises(TypeError, match="cannot make a convolution of 1, a LayerNorm"):
        convolutionize(nn.Sequential(nn.Flatten(), nn.LayerNorm(8)), (2, 2, 2))
    with pytest.raises(ValueError, match=r"0 takes 9 numbers, but a grid of \(2, 2, 2\) has 8"):
        convolutionize(nn.Sequential(nn.Linear(9, 3)), (2, 2, 2))


def test_classifiers_take_one_size():
    with pytest.raises(ValueError, match=r"224 x 224, got \(225, 224\)"):
        on_meta(VGG16)(torch.rand(1, 3, 225, 224))


def test_normalising_is_torchvision_s():
    images = torch.rand(2, 3, 5, 6)
    theirs = v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(imagenet_normalise(images), theirs(images))
