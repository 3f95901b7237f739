"""NumPy in, NumPy out, and what is refused."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from segedu.arrays import check_image, in_memory, takes_arrays


class Pair(NamedTuple):
    first: object
    second: object


@dataclass(frozen=True)
class Answer:
    labels: object
    count: int


@takes_arrays
def shapes_of_results(image, other=None):
    assert isinstance(image, torch.Tensor) and (other is None or isinstance(other, torch.Tensor))
    return image + 1, [image], {"image": image}, Pair(image, "text"), Answer(image, 3)


def test_arrays_come_back_as_arrays_wherever_they_stand():
    plain, (in_list,), in_dict, pair, answer = shapes_of_results(np.ones((2, 3)), other=np.zeros(1))
    for array in (plain, in_list, in_dict["image"], pair.first, answer.labels):
        assert isinstance(array, np.ndarray)
    assert isinstance(pair, Pair) and pair.second == "text" and answer.count == 3
    np.testing.assert_array_equal(plain, np.full((2, 3), 2.0))


def test_tensors_come_back_as_tensors():
    plain, _, _, pair, answer = shapes_of_results(torch.ones(2, 3))
    assert all(isinstance(tensor, torch.Tensor) for tensor in (plain, pair.first, answer.labels))


def test_arrays_share_their_memory_and_are_copied_only_where_torch_cannot():
    image = np.zeros((4, 4), np.uint8)
    _, (same,), *_ = shapes_of_results(image)
    assert np.shares_memory(image, same)
    flipped = image[::-1]
    _, (copy,), *_ = shapes_of_results(flipped)
    assert not np.shares_memory(image, copy)
    image.flags.writeable = False
    _, (copy,), *_ = shapes_of_results(image)
    assert not np.shares_memory(image, copy)


def test_mixed_arguments_are_refused():
    with pytest.raises(TypeError, match="shapes_of_results takes NumPy arrays or PyTorch tensors, got both"):
        shapes_of_results(np.ones(2), torch.ones(2))


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ([[1, 2]], TypeError, "got list"),
        (torch.zeros(2, 2, dtype=torch.int64), TypeError, "uint8 or floating point, got torch.int64"),
        (torch.zeros(3), ValueError, r"\(\.\.\., H, W\) and at least one pixel, got \(3,\)"),
        (torch.zeros(2, 0), ValueError, r"at least one pixel, got \(2, 0\)"),
    ],
)
def test_what_is_no_image_is_refused(image, error, message):
    with pytest.raises(error, match=message):
        check_image(image)


def test_only_real_tensors_on_the_cpu_that_nobody_follows_are_in_memory():
    assert in_memory(torch.zeros(2))
    assert not in_memory(torch.zeros(2, requires_grad=True))
    assert not in_memory(torch.zeros(2, device="meta"))
    with FakeTensorMode():
        assert not in_memory(torch.zeros(2))


def test_compiled_code_is_not_in_memory():
    answers = []

    @torch.compile(fullgraph=True, backend="eager")
    def ask(image):
        answers.append(in_memory(image))
        return image + 1

    ask(torch.zeros(2))
    assert answers == [False]
