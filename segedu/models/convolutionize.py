"""From dense layers to convolutions: what makes a classifier answer for images of any size."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def convolutionize(head: nn.Sequential, grid: tuple[int, int, int]) -> nn.Sequential:
    """Turn a dense head into convolutions with the same weights, for inputs of any size.

    Where the input has the size of `grid`, the output (B, K, 1, 1) holds the same numbers as that of the head, (B, K);
    a larger input gives a map of what the head says about each window of that size.

    Args:
        head: a sequence of `nn.Flatten`, `nn.Linear`, `nn.BatchNorm1d` and layers that treat each number alone, such
            as activations and dropout. What comes before `nn.Flatten`, and is convolution or pooling, stays.
        grid: shape (C, h, w) of what is flattened.

    Returns:
        The convolutions. They share memory with the head's weights. Layers keep their names; `nn.Flatten` goes.

    Raises:
        TypeError: for a layer that mixes numbers in another way.
        ValueError: if the first dense layer does not take C * h * w numbers.

    Source: section 3.1, "Adapting classifiers for dense prediction".
    """
    layers, kernel = OrderedDict(), grid
    for name, layer in head.named_children():
        if isinstance(layer, nn.Flatten):
            continue
        if isinstance(layer, nn.Linear):
            C, h, w = kernel
            if layer.in_features != C * h * w:
                raise ValueError(f"{name} takes {layer.in_features} numbers, but a grid of {kernel} has {C * h * w}")
            layers[name] = _as_convolution(layer, kernel)
            kernel = (layer.out_features, 1, 1)  # from here on, a dense layer is a 1 x 1 convolution
        elif isinstance(layer, nn.BatchNorm1d):
            layers[name] = _as_batch_norm(layer)
        elif isinstance(layer, _ALONE):
            layers[name] = layer
        else:
            raise TypeError(
                f"cannot make a convolution of {name}, a {type(layer).__name__}: expected Flatten, Linear, "
                "BatchNorm1d, dropout, pooling, or an activation that treats each number alone"
            )
    return nn.Sequential(layers)


# Layers that mean the same to a map as to a vector.
_ALONE = (nn.Identity, nn.Dropout, nn.AlphaDropout, nn.AvgPool2d, nn.MaxPool2d)
_ALONE += (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Sigmoid, nn.Tanh)


def _as_convolution(layer: nn.Linear, kernel: tuple[int, int, int]) -> nn.Conv2d:
    C, h, w = kernel
    convolution = nn.Conv2d(C, layer.out_features, (h, w), bias=layer.bias is not None, device="meta")
    convolution.weight = nn.Parameter(layer.weight.detach().view(-1, C, h, w), layer.weight.requires_grad)
    convolution.bias = layer.bias
    return convolution


def _as_batch_norm(layer: nn.BatchNorm1d) -> nn.BatchNorm2d:
    keep = layer.momentum, layer.affine, layer.track_running_stats
    norm = nn.BatchNorm2d(layer.num_features, layer.eps, *keep, device="meta")
    norm._parameters, norm._buffers = layer._parameters, layer._buffers
    return norm.train(layer.training)
