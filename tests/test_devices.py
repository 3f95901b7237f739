"""Ready for a GPU, without one.

PyTorch's fake CUDA tensors have no values: what runs on them mixes no devices, and never waits for the device. Our
`Elsewhere` tensors have values, in the CPU's memory: on them runs what waits, too, and its results can be compared.
"""

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from segedu import classical, losses, masks, metrics

IMAGE = ((2, 12, 16), torch.uint8)
COLOUR = ((2, 3, 12, 16), torch.uint8)
FLOATS = ((2, 12, 16), torch.float32)
MASKS = ((2, 12, 16), torch.bool)
LABELS = ((2, 12, 16), torch.int64)
LOGITS = ((2, 3, 12, 16), torch.float32)
PANOPTIC = ((2, 12, 16, 2), torch.int64)

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
    "classical.zero_crossings": ([FLOATS], ()),
    "losses.dice_loss": ([LOGITS, LABELS], ()),
    "losses.focal_loss": ([LOGITS, LABELS], ()),
    "losses.mask_dice_loss": ([FLOATS, MASKS], ()),
    "losses.mask_focal_loss": ([FLOATS, MASKS], ()),
    "losses.separate_touching": ([LABELS], ()),
    "losses.weighted_cross_entropy": ([LOGITS, LABELS, FLOATS], ()),
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
    "classical.canny": ([IMAGE], (400, 800)),
    "classical.connected_components": ([MASKS], ()),
    "classical.edge_segments": ([MASKS], ()),
    "classical.expand_labels": ([LABELS], ()),
    "classical.grow_region": ([COLOUR], ([3, 4], 10)),
    "classical.hysteresis_threshold": ([IMAGE], (150, 245)),
    "classical.kmeans": ([COLOUR], (3,)),
    "classical.link_edges": ([MASKS], (2,)),
    "classical.otsu_threshold": ([((12, 16), torch.uint8)], ()),
    "classical.split_and_merge": ([COLOUR], (classical.max_range(120),)),
    "losses.border_weights": ([LABELS], ()),
    "masks.ids_to_rgb": ([LABELS], ()),
    "masks.labels_to_instances": ([((12, 16), torch.int64)], ()),
    "masks.panoptic_to_instances": ([((12, 16, 2), torch.int64)], ()),
    "metrics.panoptic_quality": ([PANOPTIC, PANOPTIC], ([1], [0])),
}
# But these calls of theirs do not.
EXCEPT = {
    "classical.otsu_threshold": ([IMAGE], ()),  # of a batch
    "classical.split_and_merge": ([COLOUR], (classical.max_range(120), 1, False)),  # without merging
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
    f"{module.__name__.removeprefix('segedu.')}.{name}": getattr(module, name)
    for module in (classical, losses, masks, metrics)
    for name in module.__all__
    if inspect.isfunction(getattr(module, name))
}
FREE = [*RUNS_ON.items(), *EXCEPT.items()]


class Elsewhere(Tensor):
    """A tensor that says it is on a GPU; its values are in the CPU's memory."""

    @staticmethod
    def __new__(cls, values: Tensor) -> "Elsewhere":
        return Tensor._make_wrapper_subclass(
            cls, values.shape, strides=values.stride(), dtype=values.dtype, device="cuda"
        )

    def __init__(self, values: Tensor) -> None:
        self.values = values

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return NotImplemented  # `OtherDevice` does it

    def __repr__(self) -> str:
        return f"Elsewhere({self.values})"


class OtherDevice(TorchDispatchMode):
    """Computes with `Elsewhere` tensors as a GPU would: they and the CPU's do not mix, but for single numbers."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        there = [tensor for tensor in tensors if isinstance(tensor, Elsewhere)]
        here = [tensor for tensor in tensors if tensor.ndim and not isinstance(tensor, Elsewhere)]
        if there and here and operation is not torch.ops.aten.copy_.default:
            raise RuntimeError(f"{operation} got tensors of two devices")
        device = kwargs.get("device")
        goes_there = bool(there) if device is None else device.type == "cuda"
        if device is not None:
            kwargs["device"] = torch.device("cpu")
        known = {id(tensor.values): tensor for tensor in there}  # what is changed in place stays the same tensor
        args, kwargs = tree_map(lambda leaf: leaf.values if isinstance(leaf, Elsewhere) else leaf, (args, kwargs))
        result = operation(*args, **kwargs)
        if not goes_there:
            return result
        return tree_map(lambda leaf: known.get(id(leaf), Elsewhere(leaf)) if isinstance(leaf, Tensor) else leaf, result)


def examples(tensors: list[tuple]) -> list[Tensor]:
    """Random tensors: bytes, truth values, labels 0 and 1, or floats around 0."""
    generator = torch.Generator().manual_seed(0)
    highest = {torch.uint8: 256, torch.bool: 2, torch.int64: 2}
    return [
        torch.randint(0, highest[dtype], shape, generator=generator).to(dtype)
        if dtype in highest
        else torch.randn(shape, generator=generator)
        for shape, dtype in tensors
    ]


def parts_of(result: Any) -> list:
    """The tensors and numbers of a result; PyTorch's trees do not know dataclasses."""
    return tree_leaves(vars(result) if hasattr(result, "__dataclass_fields__") else result)


def says_that_it_waits(function: Callable) -> bool:
    return bool(re.search(r"waits? for the device", inspect.getdoc(function), re.IGNORECASE))


def has_to_wait(function: Callable, *args: Any) -> bool:
    """Whether a call needs values, which fake tensors do not have. Other errors are errors."""
    try:
        function(*args)
    except (DataDependentOutputException, DynamicOutputShapeException):
        return True
    except RuntimeError as error:
        if ".numpy() is not supported for tensor subclasses" in str(error):
            return True
        raise
    return False


def fakes(tensors: list[tuple]) -> list[Tensor]:
    """CUDA tensors without values, within FakeTensorMode."""
    return [torch.zeros(shape, dtype=dtype, device="cuda") for shape, dtype in tensors]


def assert_same(results: Any, expected: Any) -> None:
    """Require that tensors elsewhere hold what those here do, and that numbers agree."""
    for result, plain in zip(parts_of(results), parts_of(expected), strict=True):
        if isinstance(plain, Tensor):
            assert isinstance(result, Elsewhere)
            torch.testing.assert_close(result.values, plain, equal_nan=True)
        else:
            assert result == pytest.approx(plain)


def make_and_move(make: Callable, values: Any, device: Any = None, **kwargs: Any) -> Tensor:
    made = make(values, **kwargs)
    return made if device is None else made.to(device)


@pytest.fixture
def elsewhere(monkeypatch):
    torch._C._ensureCUDADeviceGuardSet()
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    for make in (torch.tensor, torch.as_tensor):  # these look for the device before they ask for a mode
        monkeypatch.setattr(torch, make.__name__, functools.partial(make_and_move, make))
    with OtherDevice():
        yield


def test_every_public_function_has_its_place_here():
    assert sorted(PUBLIC) == sorted([*RUNS_ON, *WAITS, *ON_THE_HOST])


def test_exactly_those_that_wait_say_so():
    assert {name for name, function in PUBLIC.items() if says_that_it_waits(function)} == WAITS.keys()


@pytest.mark.parametrize(("name", "example"), FREE)
def test_runs_on_the_device_of_its_tensors_without_waiting(name, example):
    tensors, rest = example
    plain = parts_of(PUBLIC[name](*examples(tensors), *rest))
    with FakeTensorMode():
        results = parts_of(PUBLIC[name](*fakes(tensors), *rest))
    assert [(result.shape, result.dtype) for result in results] == [(one.shape, one.dtype) for one in plain]
    assert {result.device.type for result in results} == {"cuda"}


@pytest.mark.parametrize(("name", "example"), FREE)
def test_compiles_into_one_graph(name, example):
    tensors, rest = example
    torch.compiler.reset()  # all functions share the code of `takes_arrays`, and few versions of it are kept
    compiled = torch.compile(PUBLIC[name], fullgraph=True, backend="eager")
    results, plain = (parts_of(function(*examples(tensors), *rest)) for function in (compiled, PUBLIC[name]))
    torch.testing.assert_close(results, plain, equal_nan=True)


@pytest.mark.parametrize(("name", "example"), WAITS.items())
def test_what_waits_could_not_do_without(name, example):
    tensors, rest = example
    with FakeTensorMode():
        assert has_to_wait(PUBLIC[name], *fakes(tensors), *rest)


@pytest.mark.parametrize(("name", "example"), [*FREE, *WAITS.items()])
def test_gives_on_another_device_what_it_gives_here(name, example, elsewhere):
    tensors, rest = example
    here = examples(tensors)
    assert_same(PUBLIC[name](*map(Elsewhere, here), *rest), PUBLIC[name](*here, *rest))


def test_lists_of_blocks_are_on_the_image_s_device(elsewhere):
    image = examples([IMAGE])[0][0]
    found, expected = (classical.split_and_merge(one, classical.max_range(120), 2) for one in (Elsewhere(image), image))
    assert_same([found.leaves, found.blocks], [expected.leaves, expected.blocks])


# Counters: all they do waits for the device, but for a fresh start and sums.


@pytest.mark.parametrize("counter", [metrics.ConfusionMatrix(2), metrics.PanopticQuality([1], [0])])
def test_counting_waits_and_says_so(counter):
    shape = (*LABELS[0], 2) if isinstance(counter, metrics.PanopticQuality) else LABELS[0]
    assert says_that_it_waits(counter.update)
    with FakeTensorMode():
        assert has_to_wait(counter.update, *fakes([(shape, torch.int64)] * 2))


NUMBERS = sorted(
    name
    for name, _ in inspect.getmembers(metrics.ConfusionMatrix, inspect.isfunction)
    if not name.startswith("_") and name not in ("merge", "reset", "update")
)


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_a_confusion_matrix_wait_and_say_so(name):
    counter = metrics.ConfusionMatrix(2)
    assert says_that_it_waits(getattr(counter, name))
    with FakeTensorMode():
        counter.matrix = torch.zeros(2, 2, dtype=torch.int64, device="cuda")
        assert has_to_wait(getattr(counter, name))


def test_a_confusion_matrix_counts_on_another_device_what_it_counts_here(elsewhere):
    there, here = metrics.ConfusionMatrix(2), metrics.ConfusionMatrix(2)
    for _ in range(2):
        there.update(*map(Elsewhere, examples([LABELS, LABELS])))
        here.update(*examples([LABELS, LABELS]))
    assert_same((there + there).matrix, 2 * here.matrix)
    assert NUMBERS
    for name in NUMBERS:
        assert_same(getattr(there, name)(), getattr(here, name)())
