"""The reference solution of ps06 against PyTorch and the networks of the book."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from autograder.check import NotebookStudent, suite_path
from autograder.runner import Job, load_suite, run_suite
from segedu import arithmetic
from segedu.models import VGG16, AlexNet
from segedu.models.convolutionize import convolutionize
from segedu.models.fcn import EncoderFCN
from segedu.models.upsampling import bilinear_kernel

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def reference(reference_of):
    return reference_of("ps06-fcn")


def test_kernels_are_those_of_the_book(reference):
    torch.manual_seed(0)
    head = nn.Sequential(nn.Flatten(), nn.Linear(5 * 3 * 4, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 2))
    weights = [layer.weight.detach() for layer in head if isinstance(layer, nn.Linear)]
    theirs = [layer.weight for layer in convolutionize(head, (5, 3, 4)) if isinstance(layer, nn.Conv2d)]
    for kernel, expected in zip(reference["as_convolutions"](weights, (5, 3, 4)), theirs, strict=True):
        torch.testing.assert_close(kernel, expected.detach(), rtol=0, atol=0)


LAYERS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=5)


@settings(max_examples=40)
@given(layers=LAYERS, size=st.integers(8, 60))
def test_sizes_are_those_of_convolutions(reference_of, layers, size):
    x = torch.zeros(1, 1, size)
    for kernel, stride, padding in layers:
        assume(x.shape[-1] + 2 * padding >= kernel)
        x = F.conv1d(x, torch.zeros(1, 1, kernel), stride=stride, padding=padding)
    assert reference_of("ps06-fcn")["output_size"](size, layers) == x.shape[-1]


@pytest.mark.parametrize("classifier", [AlexNet, VGG16])
def test_fields_are_those_of_traced_networks(reference, classifier):
    with torch.device("meta"):
        network = classifier()
    network = nn.Sequential(network.features, convolutionize(network.classifier, network.grid))
    seen = (nn.Conv2d, nn.MaxPool2d)
    layers = [(m.kernel_size, m.stride, m.padding) for m in network.modules() if isinstance(m, seen)]
    layers = [tuple(np.broadcast_to(value, 2)[0].item() for value in layer) for layer in layers]
    expected = arithmetic.receptive_field(network)
    assert reference["receptive_field"](layers) == (expected.size, expected.stride)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 7, 8, 32])
def test_kernel_is_that_of_the_book(reference, factor):
    torch.testing.assert_close(
        reference["bilinear_kernel"](factor).float(), bilinear_kernel(2 * factor - factor % 2), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("factor", [2, 3, 5, 8])
def test_kernel_and_stamps_interpolate(reference, factor):
    torch.manual_seed(0)
    x, kernel = torch.randn(6, 7), reference["bilinear_kernel"](factor)
    ours = reference["transposed_convolution"](x, kernel, factor, (len(kernel) - factor) // 2)
    theirs = F.interpolate(x[None, None], scale_factor=factor, mode="bilinear")[0, 0]
    inside = slice(factor, -factor)  # at the edges no stamps come from outside
    torch.testing.assert_close(ours[inside, inside], theirs[inside, inside], rtol=1e-4, atol=1e-5)


@settings(max_examples=40)
@given(
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 4),
    padding=st.integers(0, 2),
)
def test_stamps_are_torch_s_transposed_convolution(reference_of, size, kernel, stride, padding):
    assume(all(stride * (n - 1) + k > 2 * padding for n, k in zip(size, kernel, strict=True)))
    x, kernel = torch.randn(size), torch.randn(kernel)
    theirs = F.conv_transpose2d(x[None, None], kernel[None, None], stride=stride, padding=padding)[0, 0]
    ours = reference_of("ps06-fcn")["transposed_convolution"](x, kernel, stride, padding)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@settings(max_examples=40)
@given(
    taps=st.integers(1, 6),
    size=st.integers(1, 12),
    stride=st.integers(1, 3),
    padding=st.integers(0, 4),
    seed=st.integers(),
)
def test_matrix_is_the_convolution_and_its_gradient(reference_of, taps, size, stride, padding, seed):
    assume(size + 2 * padding >= taps)
    torch.manual_seed(seed % 2**31)
    kernel, x = torch.randn(taps), torch.randn(size, requires_grad=True)
    y = F.conv1d(x[None, None], kernel[None, None], stride=stride, padding=padding)[0, 0]
    upstream = torch.randn_like(y)
    (gradient,) = torch.autograd.grad(y, x, upstream)
    matrix = reference_of("ps06-fcn")["convolution_matrix"](kernel, size, stride, padding)
    torch.testing.assert_close(matrix @ x, y, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(matrix.T @ upstream, gradient, rtol=1e-4, atol=1e-5)


class Given(nn.Module):
    """An encoder that has been told its features."""

    channels, strides = (3, 4, 5), (8, 16, 32)

    def forward(self, images):
        return images


@pytest.mark.parametrize("extra", [0, 1])
def test_skips_are_those_of_the_book_s_fcn8s(reference, extra):
    torch.manual_seed(0)
    theirs = EncoderFCN(Given(), 6, (8, 16, 32))
    ours = reference["SkipHead"](3, 4, 5, 6)
    for score, layer in zip(theirs.scores, (ours.score8, ours.score16, ours.score32), strict=True):
        nn.init.normal_(score.weight)
        nn.init.normal_(score.bias)
        layer.load_state_dict({"weight": score.weight[:, :, 0, 0].detach(), "bias": score.bias.detach()})
    features = [torch.randn(2, c, *size) for c, size in zip((3, 4, 5), ((20, 28), (10, 14), (5, 7)), strict=True)]
    with torch.no_grad():
        scores = theirs.scores[2](features[2])
        for finer in (1, 0):
            # The book's upsampling brings in zeros at the edges, ours repeats the last pixel.
            edged = F.pad(scores, (1, 1, 1, 1), mode="replicate")
            scores = theirs.upscore2[0](edged)[..., 2:-2, 2:-2] + theirs.scores[finer](features[finer])
        # One row more at the bottom and column on the right are what a pooling drops.
        larger = [F.pad(x, (0, extra, 0, extra)) for x in features[:2]]
        torch.testing.assert_close(ours(*larger, features[2]), scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 2, 3, 4), (2, 3, 5, 1)])
def test_given_upsampling_is_torch_s(reference, shape):
    torch.manual_seed(0)
    x = torch.randn(shape)
    theirs = F.interpolate(x, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(reference["twice_as_large"](x), theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [1, 1000])
def test_loss_is_torch_s_with_its_gradient(reference, scale):
    torch.manual_seed(0)
    scores = (scale * torch.randn(2, 5, 6, 7)).requires_grad_()
    target = torch.randint(0, 5, (2, 6, 7))
    target[torch.rand(target.shape) < 0.3] = 255
    ours, theirs = reference["pixel_loss"](scores, target), F.cross_entropy(scores, target, ignore_index=255)
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(loss, scores)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_loss_of_void_alone_is_zero_and_differentiable(reference):
    scores = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = reference["pixel_loss"](scores, torch.full((1, 2, 2), 255))
    assert loss == 0
    assert not torch.autograd.grad(loss, scores)[0].any()


def reshaped_head(weights, grid):
    return tuple(nn.Parameter(w.unflatten(1, (-1, 1, 1) if number else grid)) for number, w in enumerate(weights))


def kernel_of_numpy(factor):
    taps = 2 * factor - factor % 2
    tent = 1 - np.abs(np.arange(taps) - (taps - 1) / 2) / factor
    return np.outer(tent, tent)


def collected_from_spread(x, kernel, stride=1, padding=0):
    """Zeros between the inputs, and each output collects through the turned kernel."""
    (H, W), (K, M) = x.shape, kernel.shape
    spread = torch.zeros(stride * (H - 1) + 1, stride * (W - 1) + 1)
    spread[::stride, ::stride] = x
    spread = F.pad(spread, (M - 1 - padding, M - 1 - padding, K - 1 - padding, K - 1 - padding))
    return (spread.unfold(0, K, 1).unfold(1, M, 1) * kernel.flip(0, 1)).sum(dim=(-1, -2))


def matrix_of_unit_vectors(kernel, size, stride=1, padding=0):
    return (F.pad(torch.eye(size), (padding, padding)).unfold(1, len(kernel), stride) @ kernel).T


def loss_of_one_hot(scores, target):
    counts = target != 255
    truth = F.one_hot(target.masked_fill(~counts, 0), scores.shape[1]).movedim(-1, 1)
    losses = -(scores.log_softmax(dim=1) * truth).sum(dim=1)
    return (losses * counts).sum() / counts.sum().clamp(min=1)


@pytest.mark.parametrize(
    ("cell", "name", "function"),
    [
        ("head", "as_convolutions", reshaped_head),
        ("kernel", "bilinear_kernel", kernel_of_numpy),
        ("stamps", "transposed_convolution", collected_from_spread),
        ("matrix", "convolution_matrix", matrix_of_unit_vectors),
        ("loss", "pixel_loss", loss_of_one_hot),
    ],
)
def test_other_ways_to_be_right_get_all_points(cell, name, function):
    """Tuples and parameters, NumPy, padding and `unfold`, one-hot classes: none of it is the reference's way."""
    suite = suite_path("ps06-fcn")
    found = []
    student = NotebookStudent({name: function}, load_suite(suite)[0])
    run_suite(suite, [Job(student, "another", cell)], lambda _, results: found.extend(results))
    assert found
    assert not [test.message for test in found if not test.passed]
