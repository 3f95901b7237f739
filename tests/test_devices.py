"""Ready for a GPU, without one: fake CUDA tensors show where a function would mix devices or wait for the device."""

import inspect

import pytest
import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._pytree import tree_leaves

from segedu import classical, masks, metrics

IMAGE = ((2, 12, 16), torch.uint8)
COLOUR = ((2, 3, 12, 16), torch.uint8)
FLOATS = ((2, 12, 16), torch.float32)
MASKS = ((2, 12, 16), torch.bool)
LABELS = ((2, 12, 16), torch.int64)
PANOPTIC = ((2, 12, 16, 2), torch.int64)
RULE = classical.max_range(20)

# An example call of each function: what tensors it takes, and what else.
RUNS_ON = {
    "classical.adaptive_threshold": ([IMAGE], ("gaussian", 5)),
    "classical.convolve": ([IMAGE], ([[1.0, 0, 2]],)),
    "classical.correlate": ([IMAGE], ([[1.0, 0, 2]],)),
    "classical.gaussian_smooth": ([IMAGE], (1.0,)),
    "classical.global_threshold": ([IMAGE], (127,)),
    "classical.gradient": ([IMAGE], ()),
    "classical.gradient_direction": ([FLOATS, FLOATS], ()),
    "classical.gradient_magnitude": ([FLOATS, FLOATS], ()),
    "classical.histogram": ([FLOATS], ()),
    "classical.kirsch": ([IMAGE], ()),
    "classical.kirsch_responses": ([IMAGE], ()),
    "classical.laplace": ([IMAGE], ()),
    "classical.lloyd_round": ([((2, 3, 50), torch.float32), ((2, 4, 3), torch.float32)], ()),
    "classical.multi_otsu_thresholds": ([IMAGE], ()),
    "classical.non_maximum_suppression": ([FLOATS, FLOATS, FLOATS], ()),
    "classical.prewitt": ([IMAGE], ()),
    "classical.roberts": ([IMAGE], ()),
    "classical.sobel": ([IMAGE], ()),
    "classical.split_and_merge": ([COLOUR], (RULE, 1, False)),  # without merging
    "classical.zero_crossings": ([FLOATS], ()),
    "masks.instances_to_labels": ([MASKS], ()),
    "masks.instances_to_panoptic": ([MASKS, ((2,), torch.int64), ((12, 16), torch.int64)], ()),
    "masks.panoptic_to_semantic": ([PANOPTIC], ()),
    "masks.rgb_to_ids": ([((2, 12, 16, 3), torch.uint8)], ()),
    "metrics.boundary_f1": ([MASKS, MASKS], (2,)),
    "metrics.boundary_iou": ([MASKS, MASKS], ()),
    "metrics.dice": ([MASKS, MASKS], ()),
    "metrics.iou": ([MASKS, MASKS], ()),
    "metrics.mask_boundary": ([MASKS], ()),
    "metrics.mask_iou": ([MASKS, MASKS], ()),
}
# These wait for the device, and say so in their docstrings.
WAITS = {
    "classical.canny": ([IMAGE], (50, 100)),
    "classical.connected_components": ([MASKS], ()),
    "classical.edge_segments": ([MASKS], ()),
    "classical.expand_labels": ([LABELS], ()),
    "classical.grow_region": ([COLOUR], ([3, 4], 10)),
    "classical.hysteresis_threshold": ([IMAGE], (50, 100)),
    "classical.kmeans": ([COLOUR], (3,)),
    "classical.link_edges": ([MASKS], (2,)),
    "classical.otsu_threshold": ([((12, 16), torch.uint8)], ()),  # of one image; not of a batch
    "masks.ids_to_rgb": ([LABELS], ()),
    "masks.labels_to_instances": ([((12, 16), torch.int64)], ()),
    "masks.panoptic_to_instances": ([((12, 16, 2), torch.int64)], ()),
    "metrics.panoptic_quality": ([PANOPTIC, PANOPTIC], ([1], [0])),
}
# These make rules, or work on files, polygons and run lengths, which are the host's.
ON_THE_HOST = {
    "classical.max_range",
    "classical.max_variance",
    "masks.compress_counts",
    "masks.decompress_counts",
    "masks.mask_to_polygons",
    "masks.polygons_to_mask",
    "masks.rle_area",
    "masks.rle_decode",
    "masks.rle_encode",
    "metrics.average_precision",
    "metrics.rle_iou",
}
PUBLIC = {
    f"{module.__name__.split('.')[-1]}.{name}": function
    for module in (classical, masks, metrics)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if not name.startswith("_") and function.__module__.startswith(module.__name__)
}
MUST_WAIT = (DataDependentOutputException, DynamicOutputShapeException)


def call(name: str, tensors: list, rest: tuple):
    return PUBLIC[name](*(torch.zeros(shape, dtype=dtype, device="cuda") for shape, dtype in tensors), *rest)


def test_every_public_function_has_its_place_here():
    assert set(PUBLIC) == RUNS_ON.keys() | WAITS.keys() | ON_THE_HOST


@pytest.mark.parametrize("name", RUNS_ON)
def test_runs_on_the_device_of_its_tensors(name):
    with FakeTensorMode():
        results = [leaf for leaf in tree_leaves(vars_of(call(name, *RUNS_ON[name]))) if isinstance(leaf, torch.Tensor)]
    assert results and {result.device.type for result in results} == {"cuda"}
    assert "Waits for the device" not in PUBLIC[name].__doc__


@pytest.mark.parametrize("name", WAITS)
def test_says_that_it_waits_and_could_not_do_without(name):
    assert "aits for the device" in PUBLIC[name].__doc__
    with FakeTensorMode(), pytest.raises(MUST_WAIT):
        call(name, *WAITS[name])


def test_otsu_waits_for_one_image_only():
    with FakeTensorMode():
        thresholds = classical.otsu_threshold(torch.zeros(2, 12, 16, dtype=torch.uint8, device="cuda"))
    assert thresholds.device.type == "cuda" and thresholds.shape == (2,)


def test_counters_say_that_they_wait():
    for counter in (metrics.ConfusionMatrix(3), metrics.PanopticQuality([1], [0])):
        assert "aits for the device" in type(counter).update.__doc__


def vars_of(result):
    """The fields of a dataclass, which PyTorch's trees do not know."""
    return vars(result) if hasattr(result, "__dataclass_fields__") else result
