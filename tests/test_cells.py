"""The task of telling cells apart, its views and its measures: against SciPy, NumPy, and cases worked by hand."""

import math

import numpy as np
import pytest
import torch
from local_data import DATA, need
from scipy import ndimage, special
from torch import nn
from torchvision import tv_tensors

from segedu.losses import border_weights
from segedu.models import unet
from segedu.training import load_model, load_recipe, train
from segedu.training.cell_evaluation import cell_probability, cell_scores, evaluate_cells, stretch
from segedu.training.recipe import parse_recipe
from segedu.training.tasks import build_task, cells, task_class
from segedu.training.warp import RandomWarp

CPU = torch.device("cpu")


def plainly(items, description):
    return items


class Fake(list):
    """A data set of a few images."""

    classes = ("background", "nucleus")
    ignore_index = None


class Grey(nn.Module):
    """A network that takes bright for cell: logits of 0 and 20 (x - 1/2)."""

    def forward(self, images):
        return torch.cat([torch.zeros_like(images), 20 * (images - 0.5)], dim=1)


def discs(size, *circles):
    """Numbered discs (row, column, radius)."""
    y, x = np.mgrid[: size[0], : size[1]]
    target = np.zeros(size, np.int32)
    for number, (row, column, radius) in enumerate(circles, 1):
        target[np.hypot(y - row, x - column) <= radius] = number
    return target


def sample_of(target):
    return tv_tensors.Image(torch.from_numpy(target > 0)[None] * 200).to(torch.uint8), tv_tensors.Mask(
        torch.from_numpy(target)
    )


TOUCHING = discs((48, 64), (20, 15, 9), (20, 34, 9), (38, 52, 7))


@pytest.fixture
def fake(monkeypatch):
    dataset = Fake([sample_of(TOUCHING), sample_of(TOUCHING[::-1].copy())])
    monkeypatch.setattr(cells, "open_dataset", lambda name, split, data=None, **_: dataset)
    return dataset


# Recipes


def test_the_recipes_with_and_without_borders_differ_in_nothing_else():
    one, other = load_recipe("nuclei-unet"), load_recipe("nuclei-unet-no-border")
    assert (one.task.pop("w0"), other.task.pop("w0")) == (10, 0)
    assert (one.model, one.task, one.training, one.seed) == (other.model, other.task, other.training, other.seed)


@pytest.mark.parametrize("name", ["nuclei-unet", "nuclei-unet-no-border", "isbi-unet"])
def test_the_recipes_fit_the_task(name, fake, monkeypatch):
    monkeypatch.setattr(fake, "classes", ("membrane", "cell"), raising=False)
    task = build_task(**load_recipe(name).task)
    image, target, weights = task.sample(0)
    crop = load_recipe(name).task["crop"]
    assert image.shape == (1, crop, crop)
    assert target.shape == weights.shape == (crop, crop)


# Samples


def test_a_sample_depends_on_torchs_generator_alone(fake):
    task = build_task("cells", dataset="fake", crop=40, scale=[0.8, 1.2], gamma=0.5, invert=0.5)
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(task.sample(1))
    assert all(torch.equal(one, other) for one, other in zip(*draws[:2], strict=True))
    assert not torch.equal(draws[0][0], draws[2][0])


def test_cells_come_apart_and_borders_weigh_more(fake):
    task = build_task("cells", dataset="fake", crop=48, bend=3, class_weights=False)
    plain = build_task("cells", dataset="fake", crop=48, bend=3, class_weights=False, w0=0)
    for seed in range(5):
        torch.manual_seed(seed)
        image, target, weights = task.sample(0)
        torch.manual_seed(seed)
        same_image, same_target, ones = plain.sample(0)
        assert torch.equal(image, same_image)
        assert torch.equal(target, same_target)
        assert (ones == 1).all()
        assert (weights[target > 0] == 1).all()
        numbers, count = ndimage.label(target, np.ones((3, 3)))
        torch.testing.assert_close(
            weights, torch.from_numpy(border_weights(numbers, class_weights=(1.0, 1.0))), rtol=0, atol=1e-6
        )
        # The two discs that touch never fill the view, so each is a piece of its own.
        assert all((numbers == n).sum() < 400 for n in range(1, count + 1))


def test_class_weights_balance_cells_and_background(fake):
    task = build_task("cells", dataset="fake", crop=32)
    share = (TOUCHING > 0).mean()
    np.testing.assert_allclose(task.class_weights, [0.5 / (1 - share), 0.5 / share], rtol=1e-6)


def test_a_negative_is_one_minus_the_image(fake):
    draws = []
    for invert in (0, 1):
        torch.manual_seed(3)
        draws.append(build_task("cells", dataset="fake", crop=32, invert=invert).sample(0))
    torch.testing.assert_close(draws[0][0], 1 - draws[1][0])
    assert torch.equal(draws[0][1], draws[1][1])


def test_loss_by_weight_is_the_weighted_mean(fake):
    task = build_task("cells", dataset="fake", crop=40)
    torch.manual_seed(0)
    images, target, weights = batch = task.collate([task.sample(n) for n in (0, 1, 0)])
    model = unet(1, 2, depth=2, width=4, padded=True).eval()
    with torch.no_grad():
        logits = model(images).double().numpy()
        ours = task.loss(model, batch) / task.weight(batch)
    surprise = special.logsumexp(logits, axis=1) - np.where(target, logits[:, 1], logits[:, 0])
    assert ours.item() == pytest.approx(np.average(surprise, weights=weights), rel=1e-5)


def test_the_loop_trains_it(fake, tmp_path):
    recipe = {
        "name": "tiny",
        "model": {"name": "unet", "depth": 2, "width": 4, "padded": True, "batch_norm": True},
        "task": {"kind": "cells", "dataset": "fake", "crop": 32},
        "training": {"steps": 3, "batch": 2, "learning_rate": 0.01},
    }
    model, description = load_model(train(parse_recipe(recipe, "tiny"), tmp_path))
    assert description["measures"]["cells"] == 6
    assert task_class("cells").measure(model, fake, CPU, plainly)["touching_pairs"] == 2


# Views


def test_a_view_is_what_scipy_interpolates():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 37, 52, generator=generator)
    mask = torch.randint(0, 9, (37, 52), generator=generator).float()
    warp = RandomWarp(24, (0.7, 1.4), bend=4)
    for seed in range(6):
        torch.manual_seed(seed)
        points = warp.make_params([tv_tensors.Image(image)])["points"]
        torch.manual_seed(seed)
        seen, labels = warp(tv_tensors.Image(image), tv_tensors.Mask(mask))
        where = points[..., ::-1].transpose(2, 0, 1).astype(np.float64)
        theirs = ndimage.map_coordinates(image[0].numpy(), where, order=1, mode="mirror")
        # OpenCV rounds positions to a 32nd of a pixel.
        np.testing.assert_allclose(seen[0], theirs, atol=2.5 / 32)
        settled = (np.abs(where % 1 - 0.5) > 1 / 16).all(0)
        nearest = ndimage.map_coordinates(mask.numpy(), where, order=0, mode="mirror")
        assert settled.mean() > 0.5
        np.testing.assert_array_equal(labels.numpy()[settled], nearest[settled])


def test_without_bending_a_view_keeps_distances_and_stays_in_the_image():
    image = tv_tensors.Image(torch.zeros(1, 200, 90))
    handedness = set()
    for seed in range(12):
        torch.manual_seed(seed)
        points = RandomWarp(31, bend=0).make_params([image])["points"]
        across, down = points[0, 30] - points[0, 0], points[30, 0] - points[0, 0]
        assert np.hypot(*across) == pytest.approx(30, rel=1e-5)
        assert np.hypot(*down) == pytest.approx(30, rel=1e-5)
        assert across @ down == pytest.approx(0, abs=1e-2)
        handedness.add(np.sign(across[0] * down[1] - across[1] * down[0]))
        middle = points[15, 15]
        assert (middle >= 15 - 1e-3).all()
        assert (middle <= [90 - 16 + 1e-3, 200 - 16 + 1e-3]).all()
    assert handedness == {-1, 1}


def test_scale_enlarges():
    image = tv_tensors.Image(torch.zeros(1, 90, 90))
    points = RandomWarp(31, (2, 2), bend=0).make_params([image])["points"]
    assert np.hypot(*(points[0, 30] - points[0, 0])) == pytest.approx(15, rel=1e-5)


@pytest.mark.parametrize("wrong", [{"size": 1}, {"scale": (1.2, 0.8)}, {"scale": (0, 1)}, {"bend": -1}])
def test_a_warp_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="size must be at least 2"):
        RandomWarp(**{"size": 32, **wrong})


# What a trained model makes of images


def test_stretching_is_by_numpys_percentiles():
    generator = np.random.default_rng(0)
    image = generator.gamma(2.0, 12.0, (50, 60)).clip(0, 255).astype(np.uint8)
    dark, light = np.percentile(image, [1, 99.8], method="inverted_cdf")
    expected = (image.astype(float) - dark) / (light - dark)
    np.testing.assert_allclose(stretch(torch.from_numpy(image)[None])[0], expected, rtol=1e-5, atol=1e-6)


def test_stretching_undoes_exposure():
    image = torch.arange(0, 120).to(torch.uint8).reshape(1, 10, 12)
    torch.testing.assert_close(stretch(image * 2), stretch(image))
    torch.testing.assert_close(stretch(image.expand(3, 10, 12)), stretch(image))
    assert (stretch(torch.full((1, 4, 4), 9, dtype=torch.uint8)) == 0).all()


@pytest.mark.parametrize("size", [(5, 7), (256, 256), (300, 530)])
def test_images_of_any_size_are_predicted(size):
    image = torch.randint(0, 255, (1, *size), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    probability = cell_probability(Grey(), image)
    torch.testing.assert_close(probability, torch.sigmoid(20 * (stretch(image)[0] - 0.5)))
    network = unet(1, 2, depth=3, width=2, padded=True, batch_norm=True).eval()
    assert cell_probability(network, image).shape == size


def test_measures_by_hand():
    # All pixels are right, but the two discs that touch look like one to the first step.
    found = evaluate_cells(Grey(), Fake([sample_of(TOUCHING)]), CPU, plainly)
    assert (found["cells"], found["touching_pairs"], found["cell_iou"]) == (3, 1, 1.0)
    assert found["components/touching_apart"] == 0
    assert found["components/merges"] == 1
    # The region of two has an IoU of 1/2 with each, which finds none.
    assert found["components/F1"] == pytest.approx(2 * 1 / (3 + 2))
    assert found["watershed/touching_apart"] == found["watershed/AP50"] == found["watershed/F1"] == 1
    assert found["watershed/merges"] == found["watershed/splits"] == 0


def test_measures_of_images_of_several_sizes_add_up():
    far = discs((30, 70), (14, 14, 8), (14, 50, 8))
    found = evaluate_cells(Grey(), Fake([sample_of(TOUCHING), sample_of(far)]), CPU, plainly)
    assert (found["cells"], found["touching_pairs"]) == (5, 1)
    assert found["components/F1"] == pytest.approx(2 * 3 / (5 + 4))


def test_an_image_without_cells_is_no_error():
    nothing = (
        tv_tensors.Image(torch.zeros(1, 20, 20, dtype=torch.uint8)),
        tv_tensors.Mask(torch.zeros(20, 20, dtype=torch.int32)),
    )
    found = evaluate_cells(Grey(), Fake([nothing]), CPU, plainly)
    assert found["cells"] == 0
    assert math.isnan(found["components/touching_apart"])


def test_membranes_by_hand():
    # Two cells with a membrane of 2 x 8 pixels between; in the image it has a gap of one pixel.
    target = np.ones((8, 12), np.uint8)
    target[:, 5:7] = 0
    image = target.copy()
    image[3, 5:7] = 1
    dataset = Fake([(tv_tensors.Image(torch.from_numpy(image)[None] * 200), tv_tensors.Mask(torch.from_numpy(target)))])
    dataset.classes = ("membrane", "cell")
    found = evaluate_cells(Grey(), dataset, CPU, plainly, separate="components")
    membrane, cell = 14 / 16, 80 / 82
    assert (found["membrane_iou"], found["cell_iou"]) == pytest.approx((membrane, cell))
    assert found["mean_iou"] == pytest.approx((membrane + cell) / 2)
    # All 80 pixels of cells are one region: with each, 39 of the 79 others are truly together; none is torn apart.
    assert found["rand_f1"] == pytest.approx(2 * 1 * (39 / 79) / (1 + 39 / 79))


def test_scores_are_mean_probabilities():
    probability = np.random.default_rng(0).random((5, 8))
    numbers = np.repeat([[0, 1, 1, 2, 2, 2, 3, 0]], 5, axis=0)
    expected = ndimage.mean(probability, numbers, [1, 2, 3])
    np.testing.assert_allclose(cell_scores(numbers, probability), expected)
    assert cell_scores(np.zeros((5, 8), int), probability) == []


def test_segments_are_the_cells():
    image = np.repeat(sample_of(TOUCHING)[0].permute(1, 2, 0).numpy(), 3, axis=2)

    class Parametrised(Grey):
        def __init__(self):
            super().__init__()
            self.nothing = nn.Parameter(torch.zeros(()))

    found = task_class("cells").segment(Parametrised(), image)
    assert len(found.masks) == len(found.scores) == len(found.categories) == found.labels.max() == 3
    np.testing.assert_array_equal(found.masks.any(0), TOUCHING > 0)
    assert all(score > 0.99 for score in found.scores)


def test_real_nuclei_and_membranes_are_read():
    for folder in ("dsb2018", "isbi2012"):
        need(folder)
    for name in ("nuclei-unet", "isbi-unet"):
        recipe = load_recipe(name)
        task = build_task(data=DATA, **recipe.task)
        torch.manual_seed(0)
        images, target, weights = task.collate([task.sample(index) for index in range(6)])
        assert 0.02 < target.float().mean() < 0.9
        assert weights[target == 0].max() > 2 * weights[target == 0].min()
        assert -0.5 < images.mean() < 1
