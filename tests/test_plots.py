"""Pictures: the palette under simulated colour blindness, and what overlays, difference maps and panels show."""

import matplotlib
import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.segmentation import find_boundaries

from segedu.datasets.shapes import make_scene
from segedu.plots import DIFFERENCE_COLOURS, PALETTE, VOID, colorize, difference, legend, overlay, panel, to_rgb

matplotlib.use("agg")

# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency" (2009),
# severity 1.0; the matrices act on linear RGB.
COLOUR_VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def least_distance(colours, vision):
    """CIEDE2000 between the two most similar of some sRGB colours, as seen with a kind of colour vision."""
    srgb = np.asarray(colours) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(COLOUR_VISION[vision]), 0, 1)
    lab = rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))
    distances = deltaE_ciede2000(lab[:, None], lab[None])
    return distances[np.triu_indices(len(colours), 1)].min()


def test_colours_of_a_difference_differ_in_grey():
    colours = np.array([*DIFFERENCE_COLOURS.values(), VOID], np.uint8)
    lightness = np.sort(rgb2lab(colours[None] / 255)[0, :, 0])
    assert np.diff(lightness).min() > 15


@pytest.mark.parametrize("vision", COLOUR_VISION)
def test_no_two_colours_look_alike_to_any_reader(vision):
    # A difference of about 2.3 is just noticeable side by side; a legend needs several times that.
    assert least_distance(PALETTE[:8], vision) > 10
    assert least_distance([*PALETTE, VOID], vision) > 8
    assert least_distance([*DIFFERENCE_COLOURS.values(), VOID], vision) > 19


def test_simulation_confuses_what_colour_blind_readers_confuse():
    red_and_green = [(200, 60, 40), (110, 120, 30)]
    assert least_distance(red_and_green, "normal") > 40
    assert least_distance(red_and_green, "deuteranopia") < 15


def test_colorize_paints_labels_void_and_what_lies_beyond_the_palette():
    labels = np.array([[0, 1, 7], [23, 24, 255]], np.uint8)
    picture = colorize(labels)
    assert picture.shape == (2, 3, 3) and picture.dtype == np.uint8
    expected = [*PALETTE[[0, 1, 7, 23, 1]], VOID]  # label 24 starts again, but not at the background's colour
    assert picture.reshape(6, 3).tolist() == np.array(expected).tolist()
    assert (colorize(labels, ignore_index=None)[1, 2] != VOID).any()
    assert colorize(labels == 0, palette=[(1, 2, 3), (4, 5, 6)])[0, 0].tolist() == [4, 5, 6]


def test_colorize_takes_tensors_and_panoptic_maps():
    labels = np.array([[0, 3], [5, 255]])
    assert np.array_equal(colorize(torch.as_tensor(labels)), colorize(labels))
    assert np.array_equal(colorize(np.stack([labels, labels * 0], axis=-1)), colorize(labels))


def test_labels_that_cannot_be_painted_are_refused():
    with pytest.raises(ValueError, match=r"got -1"):
        colorize(np.array([[-1, 0]]))
    assert colorize(np.array([[-1, 0]]), ignore_index=-1)[0, 0].tolist() == list(VOID)
    with pytest.raises(ValueError, match="integer"):
        colorize(np.zeros((4, 4)))


def test_legend_names_the_labels_that_occur():
    labels = np.array([[2, 0], [255, 2]], np.uint8)
    assert legend(labels, ["a", "b", "c"]) == {"a": tuple(PALETTE[0]), "c": tuple(PALETTE[2]), "void": VOID}
    assert list(legend(labels[:1], ["a", "b", "c"])) == ["a", "c"]
    with pytest.raises(ValueError, match="a name for label 2"):
        legend(labels, ["a", "b"])


def test_overlay_mixes_by_alpha_and_leaves_ignored_pixels():
    image = np.full((4, 6, 3), 100, np.uint8)
    labels = np.full((4, 6), 1)
    labels[:, 3:] = 255
    picture = overlay(image, labels, alpha=0.25, outline=False)
    assert picture[0, 0].tolist() == np.rint(0.75 * 100 + 0.25 * PALETTE[1]).tolist()
    assert (picture[:, 3:] == 100).all()
    assert (overlay(image, labels, alpha=0, outline=False) == image).all()
    assert (overlay(image, labels, alpha=1, outline=False)[:, :3] == PALETTE[1]).all()


def test_outline_parts_instances_of_one_class_that_touch():
    image = np.full((8, 10, 3), 60, np.uint8)
    panoptic = np.zeros((8, 10, 2), np.int32)
    panoptic[2:6, 2:8, 0] = 3
    panoptic[2:6, 2:5, 1] = 1
    panoptic[2:6, 5:8, 1] = 2
    picture = overlay(image, panoptic, ignore_index=0)
    assert (picture[2:6, 4:6] == 255).all(), "both sides of the common border are outlined"
    assert (picture[3:5, 3] != 255).any() and (picture[:, :2] == 60).all()
    masks = np.stack([panoptic[..., 1] == 1, panoptic[..., 1] == 2])
    assert (overlay(image, masks)[2:6, 4:6] == 255).all()
    assert (overlay(image, panoptic[..., 0], ignore_index=0)[3:5, 4:6] != 255).all(), "one class has no border inside"


def test_outline_is_where_skimage_finds_borders():
    scene = make_scene(4, (64, 80), objects=9, overlap=0.9)
    image = np.zeros((64, 80, 3), np.uint8)
    white = (overlay(image, scene.panoptic, alpha=0.4) == 255).all(axis=-1)
    segments = scene.panoptic[..., 0] + 100 * scene.panoptic[..., 1]
    assert np.array_equal(white, find_boundaries(segments, connectivity=1, mode="thick"))


def test_overlay_takes_every_form_of_image():
    labels = np.ones((5, 7), int)
    grey = np.full((5, 7), 51, np.uint8)
    forms = [grey, grey / 255, np.stack([grey] * 3, axis=-1), torch.as_tensor(grey)[None], torch.full((3, 5, 7), 0.2)]
    pictures = [overlay(form, labels) for form in forms]
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)
    assert np.array_equal(overlay(grey, labels > 0), pictures[0])
    with pytest.raises(ValueError, match="make them equal"):
        overlay(grey, labels.T)
    with pytest.raises(ValueError, match="scale it first"):
        overlay(grey.astype(float), labels)
    with pytest.raises(ValueError, match="one at a time"):
        to_rgb(np.zeros((2, 3, 5, 7)))


def test_inputs_stay_as_they_were():
    image, labels = np.full((5, 5, 3), 9, np.uint8), np.eye(5, dtype=np.uint8)
    overlay(image, labels), colorize(labels), to_rgb(image)
    assert (image == 9).all() and np.array_equal(labels, np.eye(5))


def test_difference_names_all_four_cases_and_void():
    pred = np.array([[1, 1, 0, 0, 1]], bool)
    target = np.array([[1, 0, 1, 0, 255]], np.uint8)
    colours = [tuple(c) for c in difference(pred, target)[0].tolist()]
    assert colours == [*DIFFERENCE_COLOURS.values(), VOID]
    with pytest.raises(ValueError, match="0 and 1 only"):
        difference(pred, target + np.uint8(3))
    with pytest.raises(ValueError, match="both be"):
        difference(pred, target.T)


def test_panel_shows_pictures_titles_and_legend(tmp_path):
    scene = make_scene(1, (64, 96))
    figure = panel(
        [scene.image, colorize(scene.semantic), scene.instances[0], scene.image.mean(axis=2), scene.image],
        ["image", "labels", "mask", "grey", "again"],
        legend=scene.categories,
    )
    drawn = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in drawn] == ["image", "labels", "mask", "grey", "again"]
    assert all(axis.images[0].get_interpolation() == "nearest" and not axis.axison for axis in drawn)
    entries = figure.legends[0]
    assert tuple(text.get_text() for text in entries.get_texts()) == scene.categories
    for label, patch in enumerate(entries.get_patches()):
        assert np.allclose(patch.get_facecolor()[:3], PALETTE[label] / 255)
    figure.savefig(tmp_path / "panel.png")
    import matplotlib.pyplot as plt

    assert not plt.get_fignums(), "an open figure would be shown twice"
    with pytest.raises(ValueError, match="2 titles for 1 images"):
        panel([scene.image], ["a", "b"])
    with pytest.raises(ValueError, match="got none"):
        panel([])
