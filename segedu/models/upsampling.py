"""Back to the image's size: transposed convolutions that begin as bilinear interpolation, crops, interpolation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def bilinear_kernel(size: int) -> Tensor:
    """The kernel (size, size) whose transposed convolution interpolates bilinearly, with stride (size + 1) // 2.

    Away from the edges its taps that meet one output add up to 1. An even size interpolates between the pixels'
    centres, an odd one from the centres on.

    Source: Long, Shelhamer and Darrell 2015, section 3.3.
    """
    if size < 1:
        raise ValueError(f"a kernel has 1 tap or more along each axis, got {size}")
    stride = (size + 1) // 2
    taps = 1 - (torch.arange(size, dtype=torch.float64) - (size - 1) / 2).abs() / stride
    return torch.outer(taps, taps).float()


class BilinearUpsampling(nn.ConvTranspose2d):
    """A transposed convolution from all channels to all, which at first interpolates each alone.

    Its kernel has twice as many taps as its stride; without padding, the output exceeds the input's size times the
    stride by one stride, which crops take away.

    Args:
        channels: in and out.
        stride: how many times larger the output gets.
        learn: let training change the kernels.
        padding: taken off each side of the output; stride // 2 makes it the input's size times the stride.
    """

    def __init__(self, channels: int, stride: int, *, learn: bool, padding: int = 0) -> None:
        super().__init__(channels, channels, 2 * stride, stride, padding=padding, bias=False)
        self.weight.requires_grad_(learn)

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.weight.zero_()
            kernel = bilinear_kernel(self.kernel_size[0]).to(self.weight)
            self.weight.diagonal(dim1=0, dim2=1).copy_(kernel[..., None].expand(-1, -1, self.in_channels))


def crop(x: Tensor, offset: int, like: Tensor) -> Tensor:
    """Cut (..., h, w) out of x from (offset, offset) on, with the height and width of another tensor."""
    h, w = like.shape[-2:]
    return x[..., offset : offset + h, offset : offset + w]


def interpolate(x: Tensor, like: Tensor) -> Tensor:
    """Resize (B, C, h, w) bilinearly to the height and width of another tensor; corners are not aligned."""
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)
