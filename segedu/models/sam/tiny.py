"""A light image encoder for SAM, so that one can be trained on a laptop."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segedu.models.encoders import efficientnet_lite0
from segedu.models.sam.checks import check_inputs
from segedu.models.sam.details import ImageDetails
from segedu.models.sam.layers import LayerNorm2d


class ImageEncoderTiny(nn.Module):
    """EfficientNet-Lite0 at stride 16 with the neck of SAM's own encoder, and finer features beside it.

    Images are RGB in [0, 1], float (B, 3, image_size, image_size), for the trunk normalises by itself; embeddings are
    (B, 4 * out_channels, image_size / 16, image_size / 16), where the first `out_channels` are what SAM's are, and the
    others the features at strides 8 and 4 (`ImageDetails`).

    Args:
        image_size: of the images, in pixels, a multiple of 16.
        pretrained: on ImageNet (see `efficientnet_lite0`).
        out_channels: of the neck.
    """

    def __init__(self, image_size: int = 512, pretrained: bool = False, out_channels: int = 256) -> None:
        super().__init__()
        if image_size % 16 or image_size < 16:
            raise ValueError(f"image_size must be a multiple of 16, got {image_size}")
        self.image_size = image_size
        self.trunk = efficientnet_lite0(pretrained=pretrained, output_stride=16)
        self.neck = nn.Sequential(
            nn.Conv2d(self.trunk.channels[-1], out_channels, 1, bias=False),
            LayerNorm2d(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            LayerNorm2d(out_channels),
        )
        self.details = ImageDetails((self.trunk.channels[2], self.trunk.channels[1]), out_channels)

    def forward(self, images: Tensor) -> Tensor:
        check_inputs(images, self.image_size)
        _, at4, at8, *_, at16 = self.trunk(images)
        return torch.cat([self.neck(at16), self.details(at8, at4)], 1)
