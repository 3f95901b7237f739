"""Generated scenes: their truth agrees with itself, with geometry and with pycocotools."""

import contextlib
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from skimage.measure import label, regionprops

from segedu.datasets.shapes import CATEGORIES, STUFF, THINGS, make_scene, to_coco, to_coco_panoptic

DISC = CATEGORIES.index("disc")


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.tuples(st.integers(60, 90), st.integers(60, 90)),  # smaller ones may not hold eight objects
    objects=st.integers(0, 8),
    overlap=st.floats(0.3, 1),
)
def test_three_truths_tell_the_same_story(seed, size, objects, overlap):
    scene = make_scene(seed, size, objects, overlap=overlap)
    assert scene.image.shape == (*size, 3) and scene.image.dtype == np.uint8
    assert scene.semantic.dtype == np.uint8 and scene.semantic.max() < len(CATEGORIES)
    assert scene.instances.sum(axis=0).max(initial=0) <= 1, "instances must not share a pixel"
    assert np.array_equal(scene.panoptic[..., 0], scene.semantic)
    assert np.array_equal(scene.panoptic[..., 1] > 0, np.isin(scene.semantic, THINGS))
    assert len(scene.instances) == len(scene.instance_categories) <= objects
    for number, (mask, category) in enumerate(zip(scene.instances, scene.instance_categories, strict=True), start=1):
        assert mask.any()
        assert np.array_equal(mask, scene.panoptic[..., 1] == number)
        assert (scene.semantic[mask] == category).all()


def test_same_arguments_give_the_same_bits_and_seeds_differ():
    knobs = {"noise": 0.1, "texture": 0.1, "uneven_light": 0.5}
    one, again, other = make_scene(7, **knobs), make_scene(7, **knobs), make_scene(8, **knobs)
    assert np.array_equal(one.image, again.image) and np.array_equal(one.panoptic, again.panoptic)
    assert not np.array_equal(one.panoptic, other.panoptic)


def test_knobs_change_the_image_but_not_the_truth():
    plain = make_scene(3)
    for knob in ("noise", "texture", "uneven_light"):
        changed = make_scene(3, **{knob: 0.3})
        assert np.array_equal(changed.panoptic, plain.panoptic), knob
        assert not np.array_equal(changed.image, plain.image), knob


def test_noise_has_the_stated_deviation():
    plain, noisy = make_scene(3).image.astype(float), make_scene(3, noise=0.02).image.astype(float)
    unclipped = (plain > 40) & (plain < 215)
    assert (noisy - plain)[unclipped].std() == pytest.approx(0.02 * 255, rel=0.02)


def test_uneven_light_takes_the_stated_share_and_no_more():
    plain, dim = make_scene(3).image.astype(float), make_scene(3, uneven_light=0.6).image.astype(float)
    left = (dim / plain)[plain > 100]
    assert left.max() == pytest.approx(1, abs=0.02)
    assert left.min() == pytest.approx(0.4, abs=0.02)


def test_without_overlap_every_object_is_whole():
    scene = make_scene(11, (300, 400), objects=15, overlap=0)
    assert len(scene.instances) == 15
    for mask, category in zip(scene.instances, scene.instance_categories, strict=True):
        assert label(mask, connectivity=1).max() == 1
        if category == DISC:
            disc = regionprops(mask.astype(np.uint8))[0]
            assert disc.eccentricity < 0.2
            assert disc.area == pytest.approx(disc.area_bbox * np.pi / 4, rel=0.06)


def test_shapes_fill_the_share_of_their_circle_that_geometry_says():
    whole = {"disc": np.pi, "square": 2, "triangle": 3 * np.sqrt(3) / 4, "star": 5 * 0.5 * np.sin(np.pi / 5)}
    scene = make_scene(5, (600, 600), objects=24, overlap=0, scale=0.08)
    for mask, category in zip(scene.instances, scene.instance_categories, strict=True):
        y, x = np.nonzero(mask)
        radius = np.hypot(x - x.mean(), y - y.mean()).max() + 0.3  # the outermost centres lie just inside
        assert mask.sum() == pytest.approx(whole[CATEGORIES[category]] * radius**2, rel=0.07)


def test_occlusion_leaves_the_front_object_whole():
    alone = make_scene(21, objects=1, overlap=1)
    crowd = make_scene(21, objects=30, overlap=1)
    hidden_by_others = alone.instances[0] & ~crowd.instances[0]
    assert (crowd.panoptic[..., 1][hidden_by_others] > 1).all(), "only later objects may cover an earlier one"


def test_coco_json_loads_in_pycocotools_with_the_same_masks():
    scenes = [make_scene(seed, (70, 110), objects=8, overlap=0.8) for seed in range(4)]
    coco = COCO()
    coco.dataset = json.loads(json.dumps(to_coco(scenes)))
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    assert len(coco.getImgIds()) == 4 and coco.getCatIds() == list(THINGS)
    for image_id, scene in enumerate(scenes, start=1):
        annotations = coco.loadAnns(coco.getAnnIds(image_id))
        assert len(annotations) == len(scene.instances)
        for annotation, mask in zip(annotations, scene.instances, strict=True):
            assert np.array_equal(coco.annToMask(annotation).astype(bool), mask)
            rle = annotation["segmentation"]
            assert annotation["area"] == coco_mask.area(rle) == mask.sum()
            assert annotation["bbox"] == coco_mask.toBbox(rle).tolist()


def test_panoptic_json_lists_exactly_the_segments_of_its_png():
    scene = make_scene(2, (80, 80), objects=7)
    document, (png,) = to_coco_panoptic([scene])
    document = json.loads(json.dumps(document))
    ids = png.astype(np.int64) @ [1, 256, 256**2]
    segments = document["annotations"][0]["segments_info"]
    assert sorted(s["id"] for s in segments) == np.unique(ids).tolist()
    assert sum(s["area"] for s in segments) == ids.size
    isthing = {c["id"]: c["isthing"] for c in document["categories"]}
    assert set(isthing) == {*STUFF, *THINGS}
    for segment in segments:
        mask = ids == segment["id"]
        assert (scene.semantic[mask] == segment["category_id"]).all()
        assert (scene.panoptic[..., 1][mask] > 0).all() == bool(isthing[segment["category_id"]])
        assert segment["bbox"] == coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask))).tolist()


def test_what_cannot_be_drawn_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="noise must be from 0 to 1, got 30"):
        make_scene(0, noise=30)
    with pytest.raises(ValueError, match="size"):
        make_scene(0, (16, 200))
    with pytest.raises(ValueError, match="scale"):
        make_scene(0, scale=0)
    with pytest.raises(ValueError, match="objects must be"):
        make_scene(0, objects=256)
    with pytest.raises(ValueError, match="do not fit"):
        make_scene(0, (32, 32), objects=200, overlap=0)


def test_students_do_not_wait_for_torch():
    modules = "segedu.plots, segedu.datasets.shapes, segedu.datasets.photos"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
