"""How many outputs a layer has."""

from __future__ import annotations


def output_size(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, *, ceil_mode: bool = False
) -> int:
    """How many outputs a convolution or a pooling has along one axis: `floor((n + 2p - r(k - 1) - 1) / s) + 1`.

    Args:
        size: inputs along the axis, n.
        kernel: taps k of the kernel; with atrous rate r it spans r(k - 1) + 1 inputs.
        stride: s.
        padding: p, on each side.
        dilation: the atrous rate r.
        ceil_mode: round up, as Caffe's poolings do; a window must still begin within the input or its left padding.

    Raises:
        ValueError: if an argument is out of its range, or the kernel spans more than the padded input.

    Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning", relationships 6 and 15.
    """
    _check_layer(kernel, stride, padding, dilation)
    room = size + 2 * padding - effective_kernel(kernel, dilation)
    if size < 1 or room < 0:
        raise ValueError(
            f"a kernel that spans {effective_kernel(kernel, dilation)} inputs needs as many after padding, "
            f"got {size} + 2 * {padding}"
        )
    count = room // stride + 1
    if ceil_mode and room % stride and count * stride < size + padding:
        count += 1
    return count


def transposed_output_size(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0
) -> int:
    """How many outputs a transposed convolution has along one axis: `s(n - 1) + r(k - 1) + 1 - 2p + a`.

    It is the size of the input that a convolution with the same arguments maps to n outputs. With a stride there are
    s such sizes; the output padding a, below s, says which.

    Raises:
        ValueError: if an argument is out of its range, or nothing is left.

    Source: Dumoulin and Visin 2016, relationship 14.
    """
    _check_layer(kernel, stride, padding, dilation)
    if not 0 <= output_padding < max(stride, dilation):
        raise ValueError(f"output_padding must be at least 0 and below the stride or rate, got {output_padding}")
    result = stride * (size - 1) + effective_kernel(kernel, dilation) - 2 * padding + output_padding
    if size < 1 or result < 1:
        raise ValueError(f"{size} inputs leave {result} outputs: expected at least 1 of each")
    return result


def effective_kernel(kernel: int, dilation: int = 1) -> int:
    """How many inputs a kernel with atrous rate r spans: r(k - 1) + 1.

    Source: Chen et al. 2018, "DeepLab", section 3.1.
    """
    return dilation * (kernel - 1) + 1


def _check_layer(kernel: int, stride: int, padding: int, dilation: int) -> None:
    if min(kernel, stride, dilation) < 1 or padding < 0:
        raise ValueError(
            "kernel, stride and dilation must be at least 1 and padding at least 0, "
            f"got {kernel}, {stride}, {dilation} and {padding}"
        )
