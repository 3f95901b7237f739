"""Panoptic quality against panopticapi's rules written out, torchmetrics, and cases worked by hand."""

import doctest
import json
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from local_data import need
from PIL import Image
from torchmetrics.detection import PanopticQuality as TorchmetricsPanopticQuality

import segedu.metrics.panoptic
from segedu.datasets import photos
from segedu.datasets.shapes import STUFF, THINGS, make_scene
from segedu.masks import rgb_to_ids
from segedu.metrics import PanopticQuality, panoptic_quality

VOID = 255

sizes = st.tuples(st.integers(1, 6), st.integers(1, 9))


def maps(categories: tuple[int, ...]):
    """Two panoptic maps with few instances, so that segments match now and then, and a map of crowds."""
    return sizes.flatmap(
        lambda size: st.tuples(
            hnp.arrays(np.int32, (2, *size), elements=st.sampled_from(categories)),
            hnp.arrays(np.int32, (2, *size), elements=st.integers(0, 1)),
            hnp.arrays(bool, size),
        )
    ).map(lambda parts: (np.stack(parts[:2], -1), parts[2]))


def by_the_rules(pred, target, things, crowd=None, void=VOID) -> dict[int, tuple[int, int, int, float]]:
    """The rules of panopticapi's `pq_compute_single_core` with sets of pixels: TP, FP, FN, sum of IoU by category."""

    def segments(panoptic, crowd):
        found = {}
        for place in np.ndindex(panoptic.shape[:2]):
            category, instance = panoptic[place].tolist()
            key = (category, instance if category in things else 0, bool(crowd[place]))
            found.setdefault((*key[:1], None, True) if key[2] else key, set()).add(place)
        return found

    nowhere = np.zeros(pred.shape[:2], bool)
    crowd = nowhere if crowd is None else crowd & (target[..., 0] != void)
    truth, guesses = segments(target, crowd), segments(pred, nowhere)
    unlabelled = set().union(*(pixels for (category, _, _), pixels in truth.items() if category == void))
    tp, fp, fn, iou = Counter(), Counter(), Counter(), Counter()
    matched = set()
    for t, true_pixels in truth.items():
        for p, pixels in guesses.items():
            if t[0] != p[0] or t[0] == void or t[2]:
                continue
            overlap = len(true_pixels & pixels) / len((true_pixels | pixels) - (unlabelled & pixels))
            if overlap > 0.5:
                tp[t[0]] += 1
                iou[t[0]] += overlap
                matched |= {("true", t), ("guess", p)}
    for t in truth:
        if ("true", t) not in matched and t[0] != void and not t[2]:
            fn[t[0]] += 1
    for p, pixels in guesses.items():
        if ("guess", p) in matched or p[0] == void:
            continue
        own_crowd = truth.get((p[0], None, True), set())
        if len(pixels & (unlabelled | own_crowd)) / len(pixels) <= 0.5:
            fp[p[0]] += 1
    return {c: (tp[c], fp[c], fn[c], iou[c]) for c in {*tp, *fp, *fn}}


def counted(result) -> dict[int, tuple[int, int, int, float]]:
    """The classes of a result that are in either map."""
    return {
        category: (q.tp, q.fp, q.fn, pytest.approx(q.iou))
        for category, q in result.per_class.items()
        if q.tp + q.fp + q.fn
    }


def moved(panoptic: np.ndarray, by: tuple[int, int]) -> np.ndarray:
    return np.roll(panoptic, by, (0, 1))


def test_the_docstring_example():
    results = doctest.testmod(segedu.metrics.panoptic, extraglobs={"np": np})
    assert results.attempted > 0 and results.failed == 0


def test_a_scene_worked_by_hand():
    # Ten pixels. Thing 1: instance 1 has 4 pixels, of which 3 are found and one more is claimed (IoU 3/5); instance 2
    # has 2 pixels, of which 1 is found (IoU 1/2: no match). Stuff 0 has 4 pixels, all found, and one is made up.
    target = np.array([[[0, 0], [0, 0], [0, 0], [0, 0], [1, 1], [1, 1], [1, 1], [1, 1], [1, 2], [1, 2]]])
    pred = np.array([[[0, 5], [0, 6], [0, 7], [1, 9], [1, 9], [1, 9], [1, 9], [0, 0], [0, 0], [1, 8]]])
    result = panoptic_quality(pred, target, things=[1], stuff=[0])
    # Stuff: instances do not matter; 3 of 4 found, 2 made up: IoU 3/6, which is not above 1/2.
    assert counted(result) == {0: (0, 1, 1, 0.0), 1: (1, 1, 1, 3 / 5)}
    assert result.per_class[1].sq == pytest.approx(3 / 5) and result.per_class[1].rq == 1 / 2
    assert result.things.pq == pytest.approx(3 / 10) and result.stuff.pq == result.stuff.sq == result.stuff.rq == 0
    assert (result.pq, result.sq, result.rq) == pytest.approx((3 / 20, 3 / 10, 1 / 4))


def test_the_averages_are_not_a_product():
    target = np.array([[[1, 1]] * 4 + [[2, 1], [2, 2], [2, 3], [2, 4]]])
    pred = np.array([[[1, 1]] * 3 + [[255, 0]] + [[2, 1], [255, 0], [255, 0], [255, 0]]])
    result = panoptic_quality(pred, target, things=[1, 2], stuff=[])
    assert result.pq == pytest.approx((0.75 + 0.4) / 2)
    assert result.sq == pytest.approx((0.75 + 1) / 2) and result.rq == pytest.approx((1 + 0.4) / 2)
    assert result.pq != pytest.approx(result.sq * result.rq, abs=0.01)


def test_void_and_crowd_worked_by_hand():
    void, crowd = [VOID, 0], [1, 1]
    target = np.array([[void, void, [1, 2], [1, 2], crowd, crowd, crowd, [0, 0]]])
    crowds = np.array([[0, 0, 0, 0, 1, 1, 1, 0]], bool)

    def count(*labels):
        result = panoptic_quality(np.array([labels]), target, things=[1], stuff=[0], crowd=crowds)
        return counted(result)

    nothing = [VOID, 0]
    # The void pixel in the prediction does not count for the union: IoU 2/2.
    assert count(nothing, [1, 1], [1, 1], [1, 1], *[nothing] * 4) == {0: (0, 0, 1, 0.0), 1: (1, 0, 0, 1.0)}
    # Half in void: made up. More than half in void, or in the crowd of its own class: neither good nor bad.
    assert count([0, 0], [0, 0], [0, 0], [0, 0], *[nothing] * 4)[0] == (0, 1, 1, 0.0)
    assert count([1, 3], [1, 3], [1, 3], nothing, *[nothing] * 4)[1] == (0, 0, 1, 0.0)
    assert count(*[nothing] * 4, [1, 3], [1, 3], [1, 3], nothing)[1] == (0, 0, 1, 0.0)
    assert count(*[nothing] * 4, [1, 3], nothing, nothing, [1, 3])[1] == (0, 1, 1, 0.0)
    # In the crowd of another class: made up.
    assert count(*[nothing] * 4, [0, 3], [0, 3], [0, 3], nothing)[0] == (0, 1, 1, 0.0)


@given(maps((0, 1, 2, 3, VOID)))
def test_everything_equals_the_rules_of_panopticapi(drawn):
    (pred, target), crowd = drawn
    for crowds in (None, crowd):
        result = panoptic_quality(pred, target, things=[1, 3], stuff=[0, 2], crowd=crowds)
        assert counted(result) == by_the_rules(pred, target, {1, 3}, crowds)


@given(maps((0, 1, 2, 3)))
def test_without_void_everything_equals_torchmetrics(drawn):
    (pred, target), _ = drawn
    theirs = TorchmetricsPanopticQuality(things={1, 3}, stuffs={0, 2}, return_per_class=True, return_sq_and_rq=True)
    theirs.update(torch.from_numpy(pred)[None], torch.from_numpy(target)[None])
    per_class = theirs.compute().numpy()
    names = [1, 3, 0, 2]  # things, then stuff
    result = panoptic_quality(pred, target, things=[1, 3], stuff=[0, 2])
    there = counted(result)
    for category, values in zip(names, per_class, strict=True):
        if category in there:
            quality = result.per_class[category]
            assert (quality.pq, quality.sq, quality.rq) == pytest.approx(values.tolist())
    whole = np.mean([per_class[names.index(category)] for category in there], axis=0)
    assert (result.pq, result.sq, result.rq) == pytest.approx(whole.tolist())


@given(maps((0, 1, 2, 3, VOID)))
def test_the_path_for_other_devices_counts_the_same(drawn):
    maps, _ = drawn
    pred, target = (one.reshape(-1, 2) for one in maps)
    there = segedu.metrics.panoptic._unique_pairs(torch.from_numpy(pred), torch.from_numpy(target))
    here = segedu.metrics.panoptic._count_pairs(pred, target)
    first, second = (
        dict(zip(map(tuple, labels.T.tolist()), pixels.tolist(), strict=True)) for labels, pixels in (here, there)
    )
    assert first == second and sum(first.values()) == len(pred)


def test_crowds_in_tensors():
    target = np.array([[[1, 1], [1, 2], [0, 0], [0, 0]]])
    crowd = np.array([[True, True, False, False]])
    for dtype in (torch.uint8, torch.int16, torch.int64):
        maps = torch.from_numpy(target).to(dtype)
        assert counted(panoptic_quality(maps, maps, [1], [0], torch.from_numpy(crowd))) == {0: (1, 0, 0, 1.0)}


def test_photographs_and_scenes_against_torchmetrics():
    photo = photos.load("coins")
    scenes = [make_scene(seed) for seed in range(3)]
    cases = [(moved(photo.panoptic, (4, 3)), photo.panoptic, photo.things, photo.stuff)]
    cases += [(moved(scene.panoptic, (9, 9)), scene.panoptic, THINGS, STUFF) for scene in scenes]
    for pred, target, things, stuff in cases:
        ours = panoptic_quality(pred, target, things, stuff)
        there = [c for c, q in ours.per_class.items() if q.tp + q.fp + q.fn]
        theirs = TorchmetricsPanopticQuality(
            things={c for c in there if c in things},
            stuffs={c for c in there if c in stuff},
            return_sq_and_rq=True,
        )
        theirs.update(torch.from_numpy(pred)[None], torch.from_numpy(target)[None])
        assert (ours.pq, ours.sq, ours.rq) == pytest.approx(theirs.compute().tolist())


def test_more_segments_than_the_table_first_holds():
    rng = np.random.default_rng(0)
    pred = np.stack([np.ones(13_000, np.int64), rng.permutation(2**20)[:13_000]], -1).reshape(130, 100, 2)
    target = pred.copy()
    target[:40, :, 0] = 2
    result = panoptic_quality(pred, target, things=[1, 2], stuff=[])
    assert counted(result) == {1: (9000, 4000, 0, 9000.0), 2: (0, 0, 4000, 0.0)}


def test_batches_merged_sets_and_one_shot_agree():
    scenes = [make_scene(seed, size=(64, 80), scale=0.2) for seed in range(6)]
    target = np.stack([scene.panoptic for scene in scenes])
    pred = np.roll(target, 3, 2)
    whole = panoptic_quality(pred, target, THINGS, STUFF)
    assert (
        panoptic_quality(pred.reshape(2, 3, *pred.shape[1:]), target.reshape(2, 3, *pred.shape[1:]), THINGS, STUFF)
        == whole
    )
    streamed, first, second = (PanopticQuality(THINGS, STUFF) for _ in range(3))
    for p, t in zip(pred, target, strict=True):
        streamed.update(p, t)
    first.update(pred[:2], target[:2])
    second.update(torch.from_numpy(pred[2:]), torch.from_numpy(target[2:]))
    first.merge(second)
    for quality in (streamed, first):
        assert counted(quality.result()) == {c: (q[0], q[1], q[2], q[3].expected) for c, q in counted(whole).items()}
    streamed.reset()
    assert np.isnan(streamed.result().pq) and not counted(streamed.result())


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "int64", "uint64", ">i4"])
def test_integers_of_any_type_views_and_read_only_arrays(dtype):
    target = make_scene(1, size=(40, 50)).panoptic
    pred = moved(target, (2, 2))
    expected = panoptic_quality(pred, target, THINGS, STUFF, void=99)
    converted = [one.astype(dtype) for one in (pred, target)]
    for one in converted:
        one.flags.writeable = False
    assert panoptic_quality(*converted, THINGS, STUFF, void=99) == expected
    assert panoptic_quality(converted[0], target, THINGS, STUFF, void=99) == expected
    turned = [one.transpose(1, 0, 2)[::-1] for one in converted]
    assert counted(panoptic_quality(*turned, THINGS, STUFF, void=99)) == counted(expected)


def test_classes_in_neither_map_are_left_out():
    one = np.array([[[1, 1], [0, 0]]])
    result = panoptic_quality(one, one, things=[1, 3], stuff=[0, 2])
    assert (result.pq, result.sq, result.rq) == (1, 1, 1)
    for absent in (2, 3):
        assert all(np.isnan([result.per_class[absent].pq, result.per_class[absent].sq, result.per_class[absent].rq]))


def test_errors_name_what_was_expected_and_nothing_is_counted():
    good = np.zeros((2, 3, 2), np.int64)
    quality = PanopticQuality(things=[1], stuff=[0])
    batch = np.stack([good, good])
    batch[1, 0, 0] = 7, 0
    with pytest.raises(ValueError, match=r"target must hold things \[1\], stuff \[0\] or void 255, got category 7"):
        quality.update(np.stack([good, good]), batch)
    with pytest.raises(ValueError, match="pred must hold things"):
        quality.update(batch, np.stack([good, good]))
    negative = good.copy()
    negative[0, 0] = 1, -5
    with pytest.raises(ValueError, match=r"pred must hold instances from 0 to 2\^31 - 1, got -5"):
        quality.update(negative, good)
    with pytest.raises(ValueError, match=r"target must hold instances from 0 to 2\^31 - 1, got 4294967297"):
        quality.update(good, np.full_like(good, 1) + np.array([0, 2**32]))
    with pytest.raises(TypeError, match="pred must hold integers, got float64"):
        quality.update(good.astype(float), good)
    with pytest.raises(TypeError, match="all be NumPy arrays or all be PyTorch tensors, got ndarray, Tensor"):
        quality.update(good, torch.from_numpy(good))
    with pytest.raises(ValueError, match=r"target must have shape \(\.\.\., H, W, 2\)"):
        quality.update(good, good[..., 0])
    with pytest.raises(ValueError, match=r"same shape, got \(2, 3, 2\) and \(2, 2, 2\)"):
        quality.update(good, good[:, 1:])
    with pytest.raises(ValueError, match=r"crowd must be bool of shape \(2, 3\), got uint8"):
        quality.update(good, good, np.zeros((2, 3), np.uint8))
    assert not counted(quality.result())
    with pytest.raises(ValueError, match=r"either thing or stuff, got both for \[1\]"):
        PanopticQuality(things=[1], stuff=[1])
    with pytest.raises(ValueError, match="void must not be a category, got 0"):
        PanopticQuality(things=[1], stuff=[0], void=0)
    with pytest.raises(ValueError, match="must be 0 or more, got -1"):
        PanopticQuality(things=[1], stuff=[0], void=-1)
    with pytest.raises(ValueError, match="agree in things, stuff and void"):
        quality.merge(PanopticQuality(things=[2], stuff=[0]))


def test_coco_panoptic_with_crowds_and_void():
    """Every truth of the COCO sample, moved, against the rules computed on sets of numbers."""
    folder = need("coco_panoptic200")
    document = json.loads((folder / "panoptic_val2017.json").read_text())
    things = {c["id"] for c in document["categories"] if c["isthing"]}
    stuff = {c["id"] for c in document["categories"]} - things
    quality = PanopticQuality(things, stuff, void=0)
    total: dict[int, np.ndarray] = {}
    crowds = 0
    for annotation in document["annotations"]:
        with Image.open(folder / "panoptic_val2017" / annotation["file_name"]) as image:
            ids = rgb_to_ids(np.asarray(image.convert("RGB")))[::4, ::4]
        numbers = np.unique(ids)
        segments = {segment["id"]: segment for segment in annotation["segments_info"]}
        category = np.array([segments[n]["category_id"] if n else 0 for n in numbers.tolist()])
        target = np.stack([category[np.searchsorted(numbers, ids)], np.searchsorted(numbers, ids)], -1)
        crowd = np.isin(ids, [number for number, segment in segments.items() if segment["iscrowd"]])
        crowds += crowd.any()
        pred = moved(target, (1, -2))
        quality.update(pred, target, crowd)
        for label, counts in by_the_rules(pred, target, things, crowd, void=0).items():
            total[label] = total.get(label, np.zeros(4)) + counts
    assert crowds > 0
    assert counted(quality.result()) == {label: tuple(row.tolist()) for label, row in total.items()}
