"""The reference solution of ps07 against PyTorch, NumPy, SciPy and the networks of the book."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch import nn

from autograder.check import NotebookStudent, suite_path
from autograder.runner import Job, load_suite, run_suite
from segedu.models.unet import TwoConvolutions, unet

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def reference(reference_of):
    return reference_of("ps07-unet")


@pytest.mark.parametrize("depth", [2, 3])
def test_sizes_are_those_of_a_network(reference, depth):
    network = unet(1, 2, depth=depth, width=1).eval()
    for size in range(10, 60):
        try:
            expected = network(torch.zeros(1, 1, size, size)).shape[-1]
        except (RuntimeError, ValueError):
            with pytest.raises(ValueError, match=r"odd size|nothing is left"):
                reference["output_size"](size, depth)
        else:
            assert reference["output_size"](size, depth) == expected


@pytest.mark.parametrize("shape", [(12, 12), (15, 18), (8, 20)])
def test_join_is_a_negative_padding_and_a_concatenation(reference, shape):
    torch.manual_seed(0)
    copied, x = torch.randn(2, 3, *shape), torch.randn(2, 4, 8, 8)
    rows, columns = (side - 8 for side in shape)
    centre = F.pad(copied, (-(columns // 2), columns // 2 - columns, -(rows // 2), rows // 2 - rows))
    joined = reference["crop_and_concatenate"](copied, x)
    torch.testing.assert_close(joined, torch.cat([centre, x], 1), rtol=0, atol=0)


def test_double_convolution_is_that_of_the_network(reference):
    torch.manual_seed(0)
    ours, theirs = reference["DoubleConv"](3, 6), TwoConvolutions(3, 6, padding=0, batch_norm=False)
    for mine, peer in zip((ours.conv1, ours.conv2), (theirs[0], theirs[2]), strict=True):
        mine.load_state_dict(peer.state_dict())
    x = torch.randn(2, 3, 11, 9)
    torch.testing.assert_close(ours(x), theirs(x))


def test_one_step_up_completes_a_network_of_two_levels(reference):
    torch.manual_seed(0)
    network = unet(1, 2, depth=2, width=4).eval()
    step = reference["UpStep"](8, 4)
    step.up.load_state_dict(network.up_convolutions[0].state_dict())
    step.conv1.load_state_dict(network.up[0][0].state_dict())
    step.conv2.load_state_dict(network.up[0][2].state_dict())
    image = torch.randn(1, 1, 20, 24)
    with torch.no_grad():
        copied = network.down[0](image)
        x = network.down[1](nn.MaxPool2d(2)(copied))
        torch.testing.assert_close(network.scores(step(x, copied)), network(image))


@given(
    height=st.integers(6, 12),
    width=st.integers(6, 12),
    size=st.integers(1, 4),
    margin=st.integers(0, 5),
    data=st.data(),
)
def test_tile_is_a_cut_from_the_mirrored_image(reference_of, height, width, size, margin, data):
    top, left = data.draw(st.integers(0, height - size)), data.draw(st.integers(0, width - size))
    image = torch.randn(2, height, width)
    mirrored = F.pad(image[None], (margin,) * 4, mode="reflect")[0]
    side = size + 2 * margin
    tile = reference_of("ps07-unet")["input_tile"](image, top, left, size, margin)
    torch.testing.assert_close(tile, mirrored[:, top : top + side, left : left + side], rtol=0, atol=0)


def test_tile_beyond_the_image_is_that_of_numpy(reference):
    image = np.random.default_rng(0).normal(size=(1, 9, 7))
    tile = reference["input_tile"](torch.from_numpy(image), 6, 4, 5, 2)  # rows 4 to 12, columns 2 to 10
    mirrored = np.pad(image, ((0, 0), (4, 4), (4, 4)), mode="reflect")
    np.testing.assert_array_equal(tile, mirrored[:, 8:17, 6:15])


def crowd(seed: int) -> np.ndarray:
    """Labels (24, 28), most of which touch."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 5, (6, 7)) * rng.integers(1, 40, (6, 7))
    return np.kron(coarse, np.ones((4, 4), np.int64))


@pytest.mark.parametrize("seed", range(3))
def test_separated_cells_lie_apart_and_the_rest_stays(reference, seed):
    instances = crowd(seed)
    separated = reference["separate"](torch.from_numpy(instances)).numpy()
    # The greatest label around a pixel, and the least but the background's.
    highest = ndimage.maximum_filter(instances, 3, mode="constant")
    lowest = ndimage.minimum_filter(np.where(instances > 0, instances, 10**6), 3, mode="constant", cval=10**6)
    np.testing.assert_array_equal(separated, np.where(highest == lowest, instances, 0))


@pytest.mark.parametrize("seed", range(3))
def test_border_weights_are_those_of_distance_transforms(reference, seed):
    instances = crowd(seed)
    labels = np.unique(instances[instances > 0])
    distances = np.sort([ndimage.distance_transform_edt(instances != label) for label in labels], axis=0)
    expected = 2 + 6 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * 3**2)) * (instances == 0) - (instances > 0)
    weights = reference["border_weights"](torch.from_numpy(instances), (2.0, 1.0), 6.0, 3.0)
    np.testing.assert_allclose(weights, expected, atol=1e-5)


@pytest.mark.parametrize("scale", [1, 1000])
def test_loss_is_that_of_torch(reference, scale):
    torch.manual_seed(0)
    logits, target = scale * torch.randn(2, 5, 6, 7), torch.randint(0, 5, (2, 6, 7))
    weights = 10 * torch.rand(2, 6, 7)
    theirs = (nn.CrossEntropyLoss(reduction="none")(logits, target) * weights).mean()
    torch.testing.assert_close(reference["weighted_cross_entropy"](logits, target, weights), theirs)


def sizes_by_recursion(size, depth=5):
    size -= 4
    if depth > 1:
        if size % 2:
            raise ValueError("odd")
        size = 2 * sizes_by_recursion(size // 2, depth - 1) - 4
    if size < 1:
        raise ValueError("nothing left")
    return float(size)


def joined_by_indices(copied, x):
    rows, columns = (torch.arange(n) + (N - n) // 2 for n, N in zip(x.shape[2:], copied.shape[2:], strict=True))
    return torch.cat((copied[:, :, rows][..., columns], x), dim=1)


def tile_of_flips(image, top, left, size, margin):
    def with_mirrors(x, axis):
        n = x.shape[axis]
        turned = x.flip(axis)
        return torch.cat([turned.narrow(axis, 0, n - 1), x, turned.narrow(axis, 1, n - 1)], dim=axis)

    whole, side = with_mirrors(with_mirrors(image, 1), 2), size + 2 * margin
    row, column = top - margin + image.shape[1] - 1, left - margin + image.shape[2] - 1
    return whole[:, row : row + side, column : column + side]


def separated_by_pooling(instances):
    """The greatest and the least number around each pixel, background left out, must be its own."""
    x = instances[None, None].double()
    greatest = F.max_pool2d(x, 3, 1, padding=1)
    least = -F.max_pool2d(torch.where(x > 0, -x, -torch.inf), 3, 1, padding=1)
    return torch.where((x > 0) & (greatest == x) & (least == x), x, 0)[0, 0].long().numpy()


def weights_by_broadcasting(instances, class_weights=(1.0, 1.0), w0=10.0, sigma=5.0):
    y, x = torch.meshgrid(*(torch.arange(n) for n in instances.shape), indexing="ij")
    weights = torch.full(instances.shape, class_weights[0], dtype=torch.float64)
    weights[instances > 0] = class_weights[1]
    distances = []
    for number in set(instances.flatten().tolist()) - {0}:
        rows, columns = torch.where(instances == number)
        distances.append(torch.hypot((y[..., None] - rows).double(), (x[..., None] - columns).double()).amin(dim=-1))
    if len(distances) < 2:
        return weights
    two = torch.stack(distances).topk(2, dim=0, largest=False).values.sum(dim=0)
    return weights + (instances == 0) * w0 * torch.exp(-(two**2) / (2 * sigma**2))


def loss_of_one_hot(logits, target, weights):
    truth = target[:, None] == torch.arange(logits.shape[1])[:, None, None]
    return float((-(logits.log_softmax(dim=1) * truth).sum(dim=1) * weights).sum() / target.numel())


@pytest.mark.parametrize(
    ("cell", "name", "function"),
    [
        ("sizes", "output_size", sizes_by_recursion),
        ("join", "crop_and_concatenate", joined_by_indices),
        ("tile", "input_tile", tile_of_flips),
        ("separate", "separate", separated_by_pooling),
        ("weights", "border_weights", weights_by_broadcasting),
        ("loss", "weighted_cross_entropy", loss_of_one_hot),
    ],
)
def test_other_ways_to_be_right_get_all_points(cell, name, function):
    """Recursion, flips, poolings, NumPy arrays and plain numbers: none of it is the reference's way."""
    suite = suite_path("ps07-unet")
    found = []
    student = NotebookStudent({name: function}, load_suite(suite)[0])
    run_suite(suite, [Job(student, "another", cell)], lambda _, results: found.extend(results))
    assert found
    assert not [test.message for test in found if not test.passed]
