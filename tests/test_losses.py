"""Losses against torch's and torchvision's own, scikit-image's distances, and cases worked by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from scipy import ndimage
from skimage import segmentation
from torch._subclasses.fake_tensor import FakeTensorMode

from segedu import losses
from segedu.losses import (
    border_weights,
    dice_loss,
    focal_loss,
    mask_dice_loss,
    mask_focal_loss,
    separate_touching,
    weighted_cross_entropy,
)
from segedu.metrics import dice

LOGITS = torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(0))
TARGET = torch.randint(0, 5, (2, 6, 7), generator=torch.Generator().manual_seed(1))
HOLES = torch.where(torch.rand(2, 6, 7, generator=torch.Generator().manual_seed(2)) < 0.3, 255, TARGET)


def test_without_weights_it_is_torch_s_cross_entropy():
    torch.testing.assert_close(weighted_cross_entropy(LOGITS, HOLES), F.cross_entropy(LOGITS, HOLES, ignore_index=255))
    torch.testing.assert_close(focal_loss(LOGITS, HOLES, gamma=0), F.cross_entropy(LOGITS, HOLES, ignore_index=255))


def test_cross_entropy_by_hand():
    # Soft-max of (0, log 3) is (1/4, 3/4).
    logits = torch.tensor([0.0, math.log(3)])[None, :, None, None].expand(1, 2, 1, 2)
    target = torch.tensor([[[0, 1]]])
    weights = torch.tensor([[[2.0, 5.0]]])
    expected = (2 * math.log(4) + 5 * math.log(4 / 3)) / 2
    assert weighted_cross_entropy(logits, target, weights).item() == pytest.approx(expected)
    classes = weighted_cross_entropy(logits, target, class_weights=torch.tensor([2.0, 5.0]))
    assert classes.item() == pytest.approx(expected)


def test_focal_loss_by_hand():
    logits = torch.tensor([0.0, math.log(3)])[None, :, None, None]
    assert focal_loss(logits, torch.tensor([[[0]]])).item() == pytest.approx(0.75**2 * math.log(4))


def test_mask_focal_loss_is_torchvision_s():
    target = TARGET > 2
    for gamma, alpha in ((2.0, 0.25), (1.5, 0.6)):
        theirs = torchvision.ops.sigmoid_focal_loss(LOGITS[:, 0], target.float(), alpha, gamma, "none")
        torch.testing.assert_close(mask_focal_loss(LOGITS[:, 0], target, gamma=gamma, alpha=alpha), theirs.mean((1, 2)))


def test_dice_of_certain_guesses_is_dice():
    pred = TARGET.roll(1, -1)
    sure = 1000.0 * F.one_hot(pred, 5).movedim(-1, 1).float()
    expected = torch.stack([dice(pred == k, k == TARGET) for k in range(5)]).double()
    whole = torch.tensor([dice(pred.flatten()[None] == k, TARGET.flatten()[None] == k) for k in range(5)])
    assert dice_loss(sure, TARGET, smooth=0).item() == pytest.approx(1 - whole.mean().item(), abs=1e-6)
    masks = mask_dice_loss(torch.where(pred == 1, 1000.0, -1000.0), TARGET == 1, smooth=0)
    torch.testing.assert_close(masks.double(), 1 - expected[1], atol=1e-6, rtol=0)


def test_ignored_pixels_change_nothing():
    other = torch.where((HOLES == 255)[:, None], torch.randn(LOGITS.shape), LOGITS)
    for loss in (weighted_cross_entropy, focal_loss, dice_loss):
        torch.testing.assert_close(loss(other, HOLES), loss(LOGITS, HOLES))
        nothing = loss(LOGITS, torch.full_like(TARGET, 255))
        assert nothing.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", [weighted_cross_entropy, focal_loss, dice_loss])
def test_gradients_of_classes(loss):
    logits = LOGITS.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, HOLES), logits)


@pytest.mark.parametrize("loss", [mask_focal_loss, mask_dice_loss])
def test_gradients_of_masks(loss):
    logits = LOGITS[:, 0].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, TARGET > 2), logits)


@pytest.mark.parametrize("name", ["weighted_cross_entropy", "focal_loss", "dice_loss"])
def test_losses_run_on_other_devices_and_compile(name):
    loss = getattr(losses, name)
    with FakeTensorMode():
        on_gpu = loss(torch.rand(2, 5, 6, 7, device="cuda"), torch.zeros(2, 6, 7, dtype=torch.int64, device="cuda"))
        assert on_gpu.device.type == "cuda"
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(LOGITS, HOLES), loss(LOGITS, HOLES))


def test_wrong_shapes_and_types_are_named():
    with pytest.raises(ValueError, match=r"got \(2, 5, 6, 7\) and \(2, 7, 6\)"):
        dice_loss(LOGITS, TARGET.mT)
    with pytest.raises(TypeError, match=r"got torch\.float32"):
        focal_loss(LOGITS, TARGET.float())
    with pytest.raises(ValueError, match=r"shape of target, \(2, 6, 7\), got \(6, 7\)"):
        weighted_cross_entropy(LOGITS, TARGET, torch.ones(6, 7))
    with pytest.raises(TypeError, match="must be masks of dtype bool"):
        mask_dice_loss(LOGITS[:, 0], TARGET)
    with pytest.raises(ValueError, match="the same shape"):
        mask_focal_loss(LOGITS, TARGET > 2)
    with pytest.raises(TypeError, match="numbered by integers"):
        border_weights(torch.zeros(4, 4))
    with pytest.raises(ValueError, match=r"got \(0, 4\)"):
        separate_touching(np.zeros((0, 4), int))


# Border weights


def cells():
    """Two squares of 3 x 3, two columns of background between them."""
    instances = np.zeros((5, 10), int)
    instances[1:4, 1:4], instances[1:4, 6:9] = 1, 2
    return instances


def test_border_weights_by_hand():
    weights = border_weights(cells(), w0=10, sigma=5, class_weights=(1, 1))
    # Between the cells d1 = 1 and d2 = 2; in the corner they are sqrt(2) and sqrt(6^2 + 1).
    assert weights[2, 4] == weights[2, 5] == pytest.approx(1 + 10 * math.exp(-9 / 50))
    assert weights[0, 0] == pytest.approx(1 + 10 * math.exp(-((math.sqrt(2) + math.sqrt(37)) ** 2) / 50))
    assert (weights[cells() > 0] == 1).all()


def test_border_weights_are_the_formula_with_scipy_s_distances():
    rng = np.random.default_rng(0)
    instances = segmentation.watershed(ndimage.gaussian_filter(rng.random((60, 70)), 3), markers=9)
    instances = np.where(ndimage.gaussian_filter(rng.random((60, 70)), 2) > 0.5, instances, 0)
    labels = np.unique(instances)[1:]
    assert len(labels) > 4
    distances = np.sort([ndimage.distance_transform_edt(instances != label) for label in labels], axis=0)
    border = 7 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * 3**2))
    expected = np.where(instances > 0, 2.0, 0.5 + border)
    np.testing.assert_allclose(border_weights(instances, w0=7, sigma=3, class_weights=(0.5, 2)), expected, rtol=1e-5)


def test_classes_are_balanced_in_each_image():
    instances = np.stack([cells(), np.zeros_like(cells()), np.ones_like(cells()), (cells() == 1).astype(int)])
    weights = border_weights(instances, w0=0)
    np.testing.assert_allclose(weights.mean((1, 2)), 1, rtol=1e-6)
    for one, of in zip(weights, instances, strict=True):
        if 0 < (of > 0).mean() < 1:
            assert one[of > 0].sum() == pytest.approx(one[of == 0].sum())
    assert (weights[1:3] == 1).all()


def test_tensors_batches_and_nothing():
    both = torch.from_numpy(np.stack([cells(), cells().T[:5].repeat(2, 1)[:5, :10]]))
    weights = border_weights(both.reshape(1, 2, 5, 10))
    assert weights.shape == (1, 2, 5, 10)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights[0, 0], torch.from_numpy(border_weights(cells())))
    assert border_weights(torch.zeros(0, 5, 10, dtype=torch.int64)).shape == (0, 5, 10)


def test_touching_cells_come_apart_and_others_stay():
    instances = cells()
    np.testing.assert_array_equal(separate_touching(instances), instances)
    touching = np.array([[1, 1, 1, 2, 2], [1, 1, 1, 2, 2], [0, 0, 0, 0, 0], [3, 3, 3, 0, 4], [3, 3, 3, 0, 0]])
    expected = np.array([[1, 1, 0, 0, 2], [1, 1, 0, 0, 2], [0, 0, 0, 0, 0], [3, 3, 3, 0, 4], [3, 3, 3, 0, 0]])
    np.testing.assert_array_equal(separate_touching(touching), expected)


def test_touching_borders_are_scikit_image_s_where_all_is_cells():
    instances = segmentation.watershed(ndimage.gaussian_filter(np.random.default_rng(1).random((50, 60)), 3), markers=9)
    assert (instances > 0).all()
    thick = segmentation.find_boundaries(instances, connectivity=2, mode="thick")
    np.testing.assert_array_equal(separate_touching(instances) == 0, thick)
