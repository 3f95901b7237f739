"""The reference solution of ps09 against PyTorch, the networks of the book, and an energy added up over labellings."""

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from segedu import arithmetic
from segedu.models.crf import ExactDenseCRF
from segedu.models.deeplab_v3 import ASPP

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def reference(reference_of):
    return reference_of("ps09-deeplab")


@settings(max_examples=40)
@given(size=st.integers(1, 30), taps=st.integers(1, 5), rate=st.integers(1, 6))
def test_line_is_torch_s_convolution(reference_of, size, taps, rate):
    assume(size > rate * (taps - 1))
    x, w = torch.randn(size), torch.randn(taps)
    ours = reference_of("ps09-deeplab")["atrous_conv1d"](x, w, rate)
    theirs = F.conv1d(x[None, None], w[None, None], dilation=rate)[0, 0]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@given(taps=st.integers(1, 9), rate=st.integers(1, 9))
def test_spans_and_paddings_are_those_of_layers(reference_of, taps, rate):
    reference = reference_of("ps09-deeplab")
    assert reference["effective_size"](taps, rate) == arithmetic.effective_kernel(taps, rate)
    x, weight = torch.zeros(1, 1, 100), torch.zeros(1, 1, taps)
    kept = [p for p in range(50) if F.conv1d(x, weight, padding=p, dilation=rate).shape == x.shape]
    if kept:
        assert [reference["same_padding"](taps, rate)] == kept
    else:
        with pytest.raises(ValueError, match="cannot be halved"):
            reference["same_padding"](taps, rate)


@settings(max_examples=40)
@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    rate=st.integers(1, 4),
    padding=st.integers(0, 4),
)
def test_images_are_torch_s_convolution_with_its_gradients(reference_of, size, kernel, rate, padding):
    assume(all(n + 2 * padding > rate * (k - 1) for n, k in zip(size, kernel, strict=True)))
    x, weight = torch.randn(2, 3, *size, requires_grad=True), torch.randn(4, 3, *kernel, requires_grad=True)
    ours = reference_of("ps09-deeplab")["atrous_conv2d"](x, weight, rate, padding)
    theirs = F.conv2d(x, weight, padding=padding, dilation=rate)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    upstream = torch.randn_like(theirs)
    gradients = (torch.autograd.grad(y, [x, weight], upstream) for y in (ours, theirs))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("rate", [1, 2, 5, 12])
def test_lent_convolution_is_torch_s_with_its_gradients(reference, rate):
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 9, 7, requires_grad=True), torch.randn(4, 3, 3, 3, requires_grad=True)
    ours, theirs = reference["given_conv2d"](x, weight, rate), F.conv2d(x, weight, padding=rate, dilation=rate)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    upstream = torch.randn_like(theirs)
    gradients = (torch.autograd.grad(y, [x, weight], upstream) for y in (ours, theirs))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


def test_lent_convolution_does_tasks_other_than_6_no_service(reference):
    with pytest.raises(ValueError, match="3 x 3 taps only"):
        reference["given_conv2d"](torch.zeros(1, 1, 5, 5), torch.zeros(1, 1, 2, 2), 1)


@pytest.mark.parametrize("shape", [(3, 3), (4, 3, 2, 5), (2, 3, 1, 1)])
@pytest.mark.parametrize("rate", [1, 3])
def test_holes_are_what_a_transposed_convolution_leaves(reference, shape, rate):
    torch.manual_seed(0)
    weight = torch.randn(shape)
    kernels = weight.reshape(-1, 1, *shape[-2:])
    spread = F.conv_transpose2d(kernels, torch.ones(1, 1, 1, 1), stride=rate)
    holes = reference["with_holes"](weight, rate)
    torch.testing.assert_close(holes, spread.reshape(*shape[:-2], *spread.shape[-2:]), rtol=0, atol=0)


@settings(max_examples=25)
@given(layers=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=4))
def test_fields_and_masks_are_those_of_traced_networks(reference_of, layers):
    reference = reference_of("ps09-deeplab")
    network = nn.Sequential(*(nn.Conv2d(1, 1, taps, dilation=rate, bias=False) for taps, rate in layers))
    for layer in network:
        nn.init.ones_(layer.weight)
    size = reference["receptive_field"](layers)
    assert size == arithmetic.receptive_field(network, channels=1, size=128).size
    paths = arithmetic.effective_receptive_field(network, torch.zeros(1, 1, size, size))
    np.testing.assert_array_equal(reference["seen"](layers), paths > 0)


def test_rates_without_a_common_factor_can_leave_holes(reference):
    """What the notebook says of three taps at rates 2 and 3."""
    line = reference["seen"]([(3, 2), (3, 3)])[0]
    assert len(line) == 11
    assert (~line).nonzero().flatten().tolist() == [1, 9]


def test_aspp_is_that_of_the_book_without_its_normalisation(reference):
    torch.manual_seed(0)
    theirs, ours = ASPP(5, (2, 4, 9), 6, dropout=0.5).eval(), reference["ASPP"](5, 6, (2, 4, 9))
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    point, *atrous, image = (branch[1] if number == 4 else branch[0] for number, branch in enumerate(theirs.convs))
    weights = {f"atrous.{number}": layer.weight for number, layer in enumerate(atrous)}
    for name, layer in (("point", point), ("image", image), ("project", theirs.project[0])):
        weights |= {f"{name}.weight": layer.weight[..., 0, 0], f"{name}.bias": torch.zeros(6)}
    ours.load_state_dict(weights)
    x = torch.randn(2, 5, 10, 13)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


def test_mean_field_expects_the_energy_of_the_other_pixels_labels(reference):
    """Q_i(l) is proportional to exp(-E), E the mean energy over all labellings in which pixel i has label l."""
    rng = np.random.default_rng(0)
    N, L = 4, 3
    Q, unary, kernel = rng.dirichlet(np.ones(L), N), rng.uniform(0, 3, (N, L)), rng.uniform(0, 2, (N, N))
    kernel += kernel.T
    expected = np.zeros((N, L))
    for labels in product(range(L), repeat=N):
        energy = sum(unary[i, label] for i, label in enumerate(labels))
        energy += sum(kernel[i, j] for i in range(N) for j in range(i) if labels[i] != labels[j])
        for i in range(N):
            others = np.prod([Q[j, labels[j]] for j in range(N) if j != i])
            expected[i, labels[i]] += others * energy
    expected = np.exp(-expected)
    ours = reference["mean_field_step"](*map(torch.from_numpy, (Q, unary, kernel)))
    np.testing.assert_allclose(ours, expected / expected.sum(axis=1, keepdims=True), atol=1e-12)


def test_mean_field_is_that_of_the_book_s_crf(reference):
    torch.manual_seed(0)
    crf = ExactDenseCRF(3, iterations=2)
    logits, images = torch.randn(1, 3, 5, 6, dtype=torch.float64), torch.rand(1, 3, 5, 6)
    _, first, second = (Q[0].flatten(1).T for Q in crf.steps(logits, images))
    kernels = zip(crf.kernel_weights, crf.kernels(images), strict=True)
    kernel = sum(weight.double() * one.k[0].double() for weight, one in kernels)
    # There a pixel hears itself, too: the same as if its own opinion were so much stronger.
    unary = -logits[0].flatten(1).T - kernel.diagonal()[:, None] * first
    torch.testing.assert_close(reference["mean_field_step"](first, unary, kernel), second, rtol=1e-5, atol=1e-6)
