"""The reference solution of ps08 against PyTorch, NumPy and the networks of the book."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from segedu.models.segnet import pool_with_indices, segnet_basic

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def reference(reference_of):
    return reference_of("ps08-segnet")


def feature_maps(seed: int, *shape: int) -> torch.Tensor:
    """Maps with many equal values."""
    return torch.randint(-4, 5, shape, generator=torch.Generator().manual_seed(seed)).float()


@given(seed=st.integers(0, 10**6), height=st.integers(2, 9), width=st.integers(2, 9))
def test_pooling_and_unpooling_are_torch_s(reference_of, seed, height, width):
    functions = reference_of("ps08-segnet")
    x = feature_maps(seed, 2, 3, height, width)
    maxima, indices = functions["pool_with_indices"](x)
    wanted, places = F.max_pool2d(x, 2, return_indices=True)
    torch.testing.assert_close((maxima, indices), (wanted, places), rtol=0, atol=0)
    unpooled = functions["unpool"](maxima, indices, (height, width))
    torch.testing.assert_close(unpooled, F.max_unpool2d(wanted, places, 2, output_size=(height, width)), rtol=0, atol=0)


@given(seed=st.integers(0, 10**6), height=st.integers(2, 9), width=st.integers(2, 9))
def test_gradient_is_autograd_s(reference_of, seed, height, width):
    x = feature_maps(seed, 2, 2, height, width).requires_grad_()
    upstream = torch.randn(2, 2, height // 2, width // 2)
    (wanted,) = torch.autograd.grad(F.max_pool2d(x, 2), x, upstream)
    torch.testing.assert_close(reference_of("ps08-segnet")["pool_gradient"](x.detach(), upstream), wanted)


def test_indices_say_the_same_as_the_two_bits_of_the_book(reference):
    x = torch.randn(1, 4, 8, 10)
    _, indices = reference["pool_with_indices"](x)
    _, two_bits = pool_with_indices(x)
    torch.testing.assert_close((indices // 10 % 2 * 2 + indices % 2).byte(), two_bits)


@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_is_torch_s(reference, train):
    torch.manual_seed(0)
    ours, theirs = reference["BatchNorm"](4).train(train), nn.BatchNorm2d(4).train(train)
    for batch in (torch.randn(3, 4, 5, 6) * 10, 1e-3 * torch.randn(3, 4, 2, 2), torch.randn(1, 4, 2, 1)):
        with torch.no_grad():
            torch.testing.assert_close(ours(batch), theirs(batch))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    assert set(ours.state_dict()) == set(theirs.state_dict()) - {"num_batches_tracked"}


def test_batch_norm_keeps_nothing_of_one_step_s_graph_for_the_next(reference):
    torch.manual_seed(0)
    norm = reference["BatchNorm"](3)
    for _ in range(2):
        norm(torch.randn(2, 3, 4, 4)).square().sum().backward()
    assert not norm.running_mean.requires_grad
    assert not norm.running_var.requires_grad


def test_block_is_unpooling_convolution_and_normalisation_in_evaluation(reference):
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.normal_()
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        norm.eval()
        block = reference["DecoderBlock"](3, 5)
        block.conv.load_state_dict(conv.state_dict())
        block.scale.copy_(norm.weight / torch.sqrt(norm.running_var + norm.eps))
        block.shift.copy_(norm.bias - norm.running_mean * block.scale)
        x, indices = F.max_pool2d(torch.randn(2, 3, 8, 6), 2, return_indices=True)
        torch.testing.assert_close(block(x, indices), norm(conv(F.max_unpool2d(x, indices, 2))).relu())


def test_bytes_are_those_of_tensors(reference):
    network, shapes = segnet_basic(), []
    taken = {8: 0, 64: 0}
    x = torch.zeros(1, 3, 36, 50)
    maps = 0
    for level in network.encoder:
        with torch.no_grad():
            x = level(x)
        shapes.append(tuple(x.shape[1:]))
        maps += x.nbytes
        x, indices = F.max_pool2d(x, 2, return_indices=True)
        taken[64] += indices.nbytes
        taken[8] += indices.byte().nbytes
    assert reference["bytes_of_maps"](shapes) == maps
    for bits, size in taken.items():
        assert reference["bytes_of_indices"](shapes, bits) == size
    assert reference["bytes_of_indices"](shapes) == -(-taken[8] // 4)


@given(seed=st.integers(0, 10**6), classes=st.integers(1, 6))
def test_class_weights_follow_from_counts(reference_of, seed, classes):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, rng.integers(1, classes + 1, (4, 1, 1)), (4, 5, 6))
    counts = np.array([np.bincount(target.ravel(), minlength=classes) for target in targets])
    present = counts.any(axis=0)
    frequencies = counts.sum(axis=0)[present] / (30 * (counts > 0).sum(axis=0)[present])
    weights = reference_of("ps08-segnet")["median_frequency_weights"](torch.from_numpy(targets), classes)
    np.testing.assert_allclose(weights[present], np.median(frequencies) / frequencies, rtol=1e-5)
    assert not weights[~present].any()
