"""Models by name, for recipes and for files of weights: a name and plain arguments, never code."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from torch import nn

from segedu.models.deeplab import deeplab_v1, deeplab_v2
from segedu.models.deeplab_v3 import deeplab_v3, deeplab_v3plus
from segedu.models.fcn import fcn8s, fcn16s, fcn32s, fcn_resnet50
from segedu.models.sam.build import tiny_sam
from segedu.models.segnet import encoder_segnet, segnet, segnet_basic
from segedu.models.unet import encoder_unet, unet

MODELS: dict[str, Callable[..., nn.Module]] = {
    builder.__name__: builder
    for builder in (
        deeplab_v1,
        deeplab_v2,
        deeplab_v3,
        deeplab_v3plus,
        encoder_segnet,
        encoder_unet,
        fcn8s,
        fcn16s,
        fcn32s,
        fcn_resnet50,
        segnet,
        segnet_basic,
        tiny_sam,
        unet,
    )
}


def build_model(name: str, **arguments: object) -> nn.Module:
    """The model that the function `name` of `segedu.models` builds from these arguments.

    Raises:
        ValueError: for an unknown name, or arguments that the function does not take.
    """
    if name not in MODELS:
        raise ValueError(f"there is no model {name!r}; there are: {', '.join(sorted(MODELS))}")
    builder = MODELS[name]
    try:
        inspect.signature(builder).bind(**arguments)
        return builder(**arguments)
    except TypeError as error:
        raise ValueError(f"{name}{inspect.signature(builder)} cannot be called with {arguments}: {error}") from error
