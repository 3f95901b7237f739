"""COCO in FiftyOne, against a real MongoDB: what comes there, and what FiftyOne's numbers and ours have in common."""

import base64
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from local_data import need
from myst_nb.core.read import read_myst_markdown_notebook
from nbclient import NotebookClient
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from typer.testing import CliRunner

from segedu.cli import app
from segedu.datasets import voxel51
from segedu.datasets.coco_subset import group_results, open_subset, read_results, results_of_arrays
from segedu.datasets.shapes import make_scene, to_coco, to_coco_panoptic
from segedu.datasets.voxel51 import add_label_maps, add_predictions, connect, in_use, to_fiftyone
from segedu.datasets.voxel51_scores import score_label_maps, score_objects
from segedu.masks import mask_to_polygons, rle_encode

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SIZE = (48, 64)
OBJECTS = (4, 0, 6, 3)  # of each image
SCENES = [make_scene(seed, SIZE, objects, scale=0.15) for seed, objects in enumerate(OBJECTS)]
ROUNDING = 1e-12


def png(pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


@pytest.fixture
def coco(tmp_path):
    """COCO in small, both kinds of truth: no info, no licences, an image without objects, polygons, a crowd, void."""
    folder = tmp_path / "coco"
    instances = to_coco(SCENES)
    instances = {key: instances[key] for key in ("images", "annotations", "categories")}
    masks = [mask for scene in SCENES for mask in scene.instances]
    instances["annotations"][0]["segmentation"] = mask_to_polygons(masks[0])
    instances["annotations"][-1] |= {"segmentation": rle_encode(masks[-1], compressed=False), "iscrowd": 1}
    panoptic, maps = to_coco_panoptic(SCENES)
    write(folder / "annotations" / "instances_val2017.json", instances)
    write(folder / "annotations" / "panoptic_val2017.json", panoptic)
    for record, annotation, scene, ids in zip(instances["images"], panoptic["annotations"], SCENES, maps, strict=True):
        ids[:3, :3] = 0
        write(folder / "val2017" / record["file_name"], png(scene.image))
        write(folder / "annotations" / "panoptic_val2017" / annotation["file_name"], png(ids))
    return folder


def real(images=None):
    return open_subset(need("coco_tiny160"), "val", images)


def without_crowds(subset, count=None):
    clean = [image for image in subset.images if not subset.objects(image)["crowd"].any()]
    return replace(subset, images=clean[:count])


def perturbed(subset, seed=0):
    """What a middling model might find: objects twice or never, grown or shrunk, moved, some of another class."""
    rng = np.random.default_rng(seed)
    found = []
    for image in subset.images:
        truth = subset.objects(image)
        for mask, label in zip(truth["masks"], truth["labels"], strict=True):
            for _ in range(rng.integers(0, 3)):
                change = cv2.erode if rng.random() < 0.3 else cv2.dilate
                width = int(rng.integers(1, 9))
                guess = change(mask.astype(np.uint8), np.ones((width, width), np.uint8)).astype(bool)
                guess = np.roll(guess, rng.integers(-4, 5, 2), (0, 1))
                if rng.random() < 0.15:
                    label = int(rng.integers(len(subset.instances.names)))
                if guess.any():
                    found += results_of_arrays(subset, image, guess[None], [label], [rng.random()])
    return group_results(found, subset)


def pycocotools(subset, found):
    """AP, AP50, AP75 and AR100 by COCO's own program."""
    truth = COCO()
    truth.dataset = json.loads(json.dumps(subset.truth()))
    truth.createIndex()
    results = [dict(one) for records in found.values() for one in records]  # loadRes writes into them
    evaluation = COCOeval(truth, truth.loadRes(results), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return dict(zip(("AP", "AP50", "AP75", "AR100"), evaluation.stats[[0, 1, 2, 8]].tolist(), strict=True))


def compared(subset, found, name="compared"):
    """Ours and FiftyOne's, where it has the number, and the data set."""
    dataset = to_fiftyone(subset, name)
    add_predictions(dataset, subset, found)
    scores = score_objects(dataset, subset, found)
    both = {metric: pair for metric, pair in scores.items() if pair[1] is not None}
    assert set(both) == {"AP", "AP50", "AP75", "AR100"}
    return {metric: ours for metric, (ours, _) in both.items()}, {m: theirs for m, (_, theirs) in both.items()}, dataset


# --------------------------------------------------------------------------------------------------- what comes there


def test_objects_come_with_their_masks_and_what_is_known_of_them(fiftyone, coco):
    subset = open_subset(coco)
    dataset = to_fiftyone(subset, "objects")
    assert len(dataset) == len(SCENES) and not dataset.persistent
    for sample, scene, record in zip(dataset, SCENES, subset.images, strict=True):
        assert Path(sample.filepath) == coco / "val2017" / record["file_name"]
        assert (sample.image_id, sample.objects) == (record["id"], len(scene.instances))
        assert (sample.metadata.height, sample.metadata.width) == SIZE
        for object, mask, label in zip(
            sample.ground_truth.detections, scene.instances, scene.instance_categories, strict=True
        ):
            drawn = object.to_segmentation(frame_size=SIZE[::-1]).mask  # FiftyOne's way back to the whole image
            np.testing.assert_array_equal(drawn > 0, mask)
            assert object.label == scene.categories[label]
            assert object.area == mask.sum()
    assert dataset.count_values("tags") == {"val": 4, "crowd": 1, "no objects": 1}
    assert dataset.count_values("ground_truth.detections.iscrowd") == {False: 12, True: 1}
    assert len(dataset.match_tags("no objects").first().ground_truth.detections) == 0


def test_label_maps_come_shifted_by_one_with_void_as_0(fiftyone, coco):
    dataset = to_fiftyone(open_subset(coco), "maps")
    for sample, scene in zip(dataset, SCENES, strict=True):
        want = scene.semantic + 1
        want[:3, :3] = 0
        np.testing.assert_array_equal(sample.semantic.mask, want)
    names = dataset.mask_targets["semantic"]
    assert names == dict(enumerate(SCENES[0].categories, start=1))


def test_real_objects_are_those_of_pycocotools(fiftyone):
    subset = real(10)
    dataset = to_fiftyone(subset, "real")
    index = COCO(need("coco_tiny160") / "annotations" / "instances_val2017.json")
    for sample in dataset:
        annotations = index.loadAnns(index.getAnnIds(sample.image_id))
        size = sample.metadata.width, sample.metadata.height
        assert len(annotations) == len(sample.ground_truth.detections) > 0
        for object, annotation in zip(sample.ground_truth.detections, annotations, strict=True):
            np.testing.assert_array_equal(
                object.to_segmentation(frame_size=size).mask > 0, index.annToMask(annotation) > 0
            )
            assert object.label == index.cats[annotation["category_id"]]["name"]
            assert (object.iscrowd, object.area) == (bool(annotation["iscrowd"]), annotation["area"])


def test_polygon_without_a_pixel_is_an_object_that_nothing_matches(fiftyone, coco):
    subset = replace(open_subset(coco), panoptic=None)
    image = subset.images[0]
    speck = {**subset.instances.annotations[image["id"]][0], "segmentation": [[9.1, 9.1, 9.2, 9.1, 9.2, 9.2]]}
    subset.instances.annotations[image["id"]][:] = [speck]
    subset = replace(subset, images=[image])
    found = group_results(results_of_arrays(subset, image, np.ones((1, *SIZE)), [0], [0.9]), subset)
    found[image["id"]][0]["category_id"] = speck["category_id"]
    ours, theirs, dataset = compared(subset, found)
    assert ours["AP"] == theirs["AP"] == 0
    assert dataset.first().eval_fn == dataset.first().eval_fp == 1


# -------------------------------------------------------------------------------------------- its numbers beside ours


def test_perfect_predictions_are_all_right(fiftyone, coco):
    subset = without_crowds(open_subset(coco))
    found = []
    for image in subset.images:
        truth = subset.objects(image)
        found += results_of_arrays(subset, image, truth["masks"], truth["labels"], np.full(len(truth["labels"]), 0.5))
    ours, theirs, dataset = compared(subset, group_results(found, subset))
    assert set(ours.values()) == set(theirs.values()) == {1.0}
    assert dataset.values("eval_tp") == [4, 0, 6] and dataset.values("eval_fp") == [0, 0, 0]
    assert dataset.count_values("predictions.detections.eval") == {"tp": 10}
    assert dataset.bounds("predictions.detections.eval_iou") == (1.0, 1.0)
    assert dataset.values("AP") == [1.0, None, 1.0]
    assert dataset.list_evaluations() == ["eval"]


def test_average_precision_is_that_of_cocos_own_program(fiftyone):
    """On real objects. What remains is the rounding of float64."""
    subset = without_crowds(real(), 8)
    found = perturbed(subset)
    ours, theirs, dataset = compared(subset, found)
    assert 0.05 < ours["AP"] < 0.95
    assert theirs == pytest.approx(ours, abs=ROUNDING)
    assert theirs == pytest.approx(pycocotools(subset, found), abs=ROUNDING)
    first = subset.images[0]["id"]
    alone = pycocotools(replace(subset, images=subset.images[:1]), {first: found[first]})
    assert dataset.first()["AP"] == pytest.approx(alone["AP"], abs=ROUNDING)


@pytest.mark.slow  # minutes, on 80 images with 815 objects
def test_average_precision_differs_by_crowds_only(fiftyone):
    subset = real()
    found = perturbed(subset)
    ours, theirs, _ = compared(subset, found)
    assert ours == pytest.approx(pycocotools(subset, found), abs=ROUNDING)
    assert theirs == pytest.approx(ours, abs=0.005)
    assert theirs["AP"] < ours["AP"]
    clean = without_crowds(subset)
    assert len(clean.images) < len(subset.images)
    ours, theirs, _ = compared(clean, {image["id"]: found[image["id"]] for image in clean.images})
    assert theirs == pytest.approx(ours, abs=ROUNDING)


def test_predictions_within_a_crowd_count_as_wrong_in_fiftyone_alone(fiftyone, coco):
    """By hand: an object and a crowd; a first prediction is a small part of the crowd, a second the object itself.

    COCO leaves the first out: AP is 1. In FiftyOne it is wrong: precision is 1/2 at all recalls.
    """
    subset = replace(open_subset(coco, images=1), panoptic=None)
    image = subset.images[0]
    masks = np.zeros((3, *SIZE), bool)
    masks[0, 4:14, 4:14] = masks[1, 20:40, 20:50] = masks[2, 22:28, 22:28] = True
    one = subset.instances.annotations[image["id"]][0]
    subset.instances.annotations[image["id"]][:] = [
        {**one, "id": number, "segmentation": rle_encode(mask), "iscrowd": number - 1}
        for number, mask in enumerate(masks[:2], start=1)
    ]
    label = subset.instances.label_of[one["category_id"]]
    found = group_results(results_of_arrays(subset, image, masks[[2, 0]], [label, label], [0.9, 0.8]), subset)
    ours, theirs, _ = compared(subset, found)
    assert ours["AP"] == pytest.approx(1) and pycocotools(subset, found)["AP"] == pytest.approx(1)
    assert theirs["AP"] == pytest.approx(0.5)
    assert theirs["AR100"] == ours["AR100"] == 1


@pytest.mark.slow
def test_both_look_at_100_predictions_of_a_class_and_an_image(fiftyone, coco):
    """The right one comes as the 101st, and is not seen."""
    subset = without_crowds(replace(open_subset(coco, images=1), panoptic=None))
    image = subset.images[0]
    truth = subset.objects(image)
    masks = np.zeros((101, *SIZE), bool)
    masks[:100, -1, -1] = True
    masks[100] = truth["masks"][0]
    labels = [truth["labels"][0]] * 101
    for last, right in ((0.001, False), (0.9999, True)):
        scores = np.append(np.linspace(0.9, 0.1, 100), last)
        found = group_results(results_of_arrays(subset, image, masks, labels, scores), subset)
        ours, theirs, _ = compared(subset, found)
        assert theirs == pytest.approx(ours, abs=ROUNDING)
        assert (theirs["AR100"] > 0) is right


def test_pixels_are_counted_alike(fiftyone, coco):
    subset = open_subset(coco)
    rng = np.random.default_rng(0)
    classes = len(SCENES[0].categories)
    maps, by_hand = {}, np.zeros((classes, classes), int)
    for image, scene in zip(subset.images, SCENES, strict=True):
        wrong = rng.random(SIZE) < 0.3
        maps[image["id"]] = np.where(wrong, rng.integers(classes, size=SIZE), scene.semantic)
        known = np.ones(SIZE, bool)
        known[:3, :3] = False
        np.add.at(by_hand, (scene.semantic[known], maps[image["id"]][known]), 1)
    dataset = to_fiftyone(subset, "pixels")
    add_label_maps(dataset, subset, maps)
    scores = score_label_maps(dataset, subset, maps)
    results = dataset.load_evaluation_results("eval_semantic")
    np.testing.assert_array_equal(results.pixel_confusion_matrix, by_hand)
    assert scores["pixel_accuracy"][0] == pytest.approx(np.trace(by_hand) / by_hand.sum(), abs=ROUNDING)
    assert all(ours == theirs for ours, theirs in scores.values())
    assert results.metrics()["accuracy"] == pytest.approx(scores["pixel_accuracy"][0], abs=ROUNDING)
    for sample, image, scene in zip(dataset, subset.images, SCENES, strict=True):
        right = (maps[image["id"]] == scene.semantic)[known].mean()
        assert sample.eval_semantic_accuracy == pytest.approx(right, abs=ROUNDING)
        assert 0 < sample.mean_iou < 1


def test_real_label_maps_are_those_of_their_pngs_and_count_alike(fiftyone):
    """COCO's own panoptic PNG files, read by hand; predictions are the truth, moved, with noise."""
    folder = need("coco_panoptic200")
    subset = open_subset(folder, "val", 12)
    document = json.loads((folder / "panoptic_val2017.json").read_bytes())
    label_of = {one["id"]: label for label, one in enumerate(sorted(document["categories"], key=lambda one: one["id"]))}
    annotation_of = {one["image_id"]: one for one in document["annotations"]}
    dataset = to_fiftyone(subset, "panoptic")
    rng = np.random.default_rng(0)
    maps, accurate, by_hand = {}, {}, np.zeros((133, 133), int)
    for sample in dataset:
        annotation = annotation_of[sample.image_id]
        ids = np.array(Image.open(folder / "panoptic_val2017" / annotation["file_name"])).astype(int) @ (1, 256, 256**2)
        truth = np.full(ids.shape, 255)
        for segment in annotation["segments_info"]:
            truth[ids == segment["id"]] = label_of[segment["category_id"]]
        np.testing.assert_array_equal(sample.semantic.mask, np.where(truth == 255, 0, truth + 1))
        guess = np.roll(np.where(truth == 255, 0, truth), (5, 9), (0, 1))
        guess = np.where(rng.random(ids.shape) < 0.1, rng.integers(133, size=ids.shape), guess)
        maps[sample.image_id], known = guess, truth != 255
        np.add.at(by_hand, (truth[known], guess[known]), 1)
        accurate[sample.image_id] = (truth == guess)[known].mean()
    add_label_maps(dataset, subset, maps)
    scores = score_label_maps(dataset, subset, maps)
    np.testing.assert_array_equal(dataset.load_evaluation_results("eval_semantic").pixel_confusion_matrix, by_hand)
    hits, true = np.diag(by_hand), by_hand.sum(1)
    union = true + by_hand.sum(0) - hits
    expected = {
        "pixel_accuracy": hits.sum() / true.sum(),
        "mean_accuracy": (hits[true > 0] / true[true > 0]).mean(),
        "mean_iou": (hits[union > 0] / union[union > 0]).mean(),
        "frequency_weighted_iou": (true[union > 0] * hits[union > 0] / union[union > 0]).sum() / true.sum(),
    }
    assert 0.1 < expected["mean_iou"] < 0.9
    assert scores == {name: pytest.approx((value, value), abs=ROUNDING) for name, value in expected.items()}
    for sample in dataset:
        assert sample.eval_semantic_accuracy == pytest.approx(accurate[sample.image_id], abs=ROUNDING)


# ------------------------------------------------------------------------------------------------- what can go wrong


def test_missing_images_are_named(coco):
    for name in ("scene-000001.png", "scene-000003.png"):
        (coco / "val2017" / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks 2 of 4 images: scene-000001.png, scene-000003.png; go on"):
        open_subset(coco)
    assert len(open_subset(coco, images=1).images) == 1, "the first is there"
    Image.new("RGB", (9, 9)).save(coco / "val2017" / "scene-000000.png")
    with pytest.raises(ValueError, match="must be 64 x 48 pixels, got 9 x 9"):
        open_subset(coco, images=1)


def test_what_there_is_not_is_said(coco, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"instances_train2017\.json must be there"):
        open_subset(coco, "train")
    with pytest.raises(ValueError, match=r"split must be one of train, val, one at a time, got 'train\+val'"):
        open_subset(coco, "train+val")
    with pytest.raises(FileNotFoundError, match="segedu data get coco-instances; or with FiftyOne: fiftyone zoo"):
        open_subset(tmp_path / "empty")
    with pytest.raises(ValueError, match="categories must be of"):
        open_subset(coco, categories=["unicorn"])


FOUND = {"image_id": 1, "category_id": 5, "score": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[", "must be JSON"),
        ({"annotations": []}, "must be a list of objects, as COCO's results are, got dict"),
        (None, "must be a list of objects, as COCO's results are, got NoneType"),
        (["a"], "number 0 must be an object, got 'a'"),
        ([{"image_id": 99}], "for another split"),
        ([{"image_id": "1"}], "number 0 must have an image_id, an integer, got '1'"),
        ([{"image_id": [1]}], "an integer, got"),
        ([{"image_id": 1, "category_id": 5}], "number 0 must have a finite score, got None"),
        ([{"image_id": 1, "category_id": 5, "score": True}], "a finite score, got True"),
        ([{"image_id": 1, "category_id": 5, "score": float("nan")}], "a finite score, got nan"),
        ([{"image_id": 1, "category_id": 5, "score": 10**400}], "a finite score, got 1000"),
        ([{"image_id": 1, "category_id": 999, "score": 1}], "got 999"),
        ([{"image_id": 1, "category_id": 5, "score": 1, "bbox": [0, 0, 2, 2]}], "must have a segmentation"),
        ([{**FOUND, "segmentation": {"size": [64, 48], "counts": "0"}}], "number 0 is broken: its size must be"),
        ([{**FOUND, "segmentation": {"size": [48, 64], "counts": "o"}}], "number 0 is broken: .* cut short"),
        ([{**FOUND, "segmentation": [[1, 2, 3, 4]]}], "number 0 is broken: a polygon must be"),
        ([{**FOUND, "bbox": "x"}], "number 0 is broken: bbox must be"),
    ],
)
def test_broken_results_are_refused(coco, tmp_path, content, words):
    subset = open_subset(coco)
    for record in content if isinstance(content, list) else ():
        if isinstance(record, dict) and record.get("category_id") == 5:
            record["category_id"] = subset.instances.categories[0]["id"]
    write(tmp_path / "results.json", content)
    with pytest.raises(ValueError, match=words):
        read_results(tmp_path / "results.json", subset)


def test_broken_predictions_leave_no_half_of_a_data_set(fiftyone, coco):
    subset = open_subset(coco)
    subset.instances.annotations[3][0]["segmentation"] = [[1, 2]]
    with pytest.raises(ValueError, match=r"scene-000002\.png is broken"):
        to_fiftyone(subset, "broken")
    assert not fiftyone.dataset_exists("broken")


def test_what_a_result_holds_beside_its_mask_does_not_matter(coco, tmp_path):
    subset = open_subset(coco, images=1)
    image = subset.images[0]
    record = {**FOUND, "category_id": subset.instances.categories[0]["id"]}
    write(tmp_path / "results.json", [{**record, "id": "x", "iscrowd": "no", "area": None, "bbox": [1, 1, 8, 8]}])
    found = read_results(tmp_path / "results.json", subset)
    plain = subset.objects(image, [record])
    assert all(np.array_equal(value, plain[key]) for key, value in subset.objects(image, found[image["id"]]).items())


@pytest.mark.parametrize("area", [None, "12", float("nan"), 10**400, True])
def test_areas_must_be_numbers(fiftyone, coco, area):
    subset = open_subset(coco, images=1)
    subset.instances.annotations[1][1]["area"] = area
    with pytest.raises(ValueError, match="annotation 2 of image 1 is broken: area must be a number, got"):
        to_fiftyone(subset, "areas")
    assert not fiftyone.dataset_exists("areas")


def test_an_image_that_was_cut_off_is_not_shown(fiftyone, coco):
    photo = coco / "val2017" / "scene-000000.png"
    photo.write_bytes(photo.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"scene-000000\.png must be a whole image file"):
        to_fiftyone(open_subset(coco), "cut off")
    assert not fiftyone.dataset_exists("cut off")


def test_measures_of_nothing_are_none(fiftyone, coco):
    """Of no object there is no average precision, and of void alone no IoU; FiftyOne cannot guess the kind of None."""
    subset = open_subset(coco, images=1)
    found = perturbed(subset)
    subset.instances.annotations[1].clear()
    ours, theirs, dataset = compared(subset, found, "nothing")
    assert set(ours.values()) == set(theirs.values()) == {-1}
    assert dataset.values("AP") == [None]
    ids = coco / "annotations" / "panoptic_val2017" / subset.panoptic.annotations[1][0]["file_name"]
    write(ids, png(np.zeros((*SIZE, 3), np.uint8)))
    subset.panoptic.annotations[1][0]["segments_info"].clear()
    maps = {1: np.zeros(SIZE, int)}
    dataset = to_fiftyone(subset, "void")
    add_label_maps(dataset, subset, maps)
    score_label_maps(dataset, subset, maps)
    assert dataset.values("mean_iou") == [None]


def test_what_is_kept_is_not_replaced(fiftyone, coco):
    subset = open_subset(coco, images=1)
    to_fiftyone(subset, "replaced")
    assert not to_fiftyone(subset, "replaced", persistent=True).match_tags("crowd")
    with pytest.raises(ValueError, match="keeps a data set 'replaced' already"):
        to_fiftyone(subset, "replaced")


def test_without_mongodb_it_says_what_to_do(fiftyone, monkeypatch):
    monkeypatch.setattr(voxel51, "ANSWERS_WITHIN", 0.2)
    monkeypatch.setattr(fiftyone.config, "database_uri", "mongodb://ada:secret@127.0.0.1:1/?appName=x")
    with pytest.raises(ConnectionError) as caught:
        connect()
    for words in ("127.0.0.1:1 ", "Connection refused)", "FIFTYONE_DATABASE_URI", "python tests/mongodb.py"):
        assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    monkeypatch.setattr(fiftyone.config, "database_uri", "mongodb://127.0.0.1:99999")
    with pytest.raises(ConnectionError, match=r"at 127\.0\.0\.1:99999 \(Port must be an integer"):
        connect()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "constants.MONGODB_MIN_VERSION = Version('99')",
            r"mongod. version .*, but only 99 and higher are compatible\)",
        ),
        ("config.database_uri = None; constants.FIFTYONE_DB_BIN_DIR = '/nowhere'", r"found no MongoDB \(.*fiftyone_db"),
    ],
    ids=("old", "missing"),
)
def test_of_a_mongodb_that_is_old_or_missing_it_says_so(fiftyone, change, words):
    """In a process of its own: FiftyOne looks at its database once."""
    program = (
        "import fiftyone\nfrom fiftyone import config, constants\nfrom packaging.version import Version\n"
        f"from segedu.datasets.voxel51 import connect\n{change}\n"
        "try:\n    connect()\nexcept ConnectionError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True)
    assert re.search(words, done.stdout) and "python tests/mongodb.py" in done.stdout, done.stdout + done.stderr


def test_a_database_that_fails_on_the_way_keeps_no_half(fiftyone, coco, monkeypatch):
    """The data set cannot be deleted then; FiftyOne does so when it is back, unless the data set is persistent."""
    from pymongo.errors import AutoReconnect

    subset = open_subset(coco, images=1)

    def fail(*arguments, **options):
        raise AutoReconnect("localhost:1: connection closed (configured timeouts: 1 s), Timeout: 30s")

    monkeypatch.setattr(fiftyone.Dataset, "add_samples", fail)
    with pytest.raises(ConnectionError, match=r"failed on the way \(localhost:1: connection closed\)"), in_use():
        to_fiftyone(subset, "lost", persistent=True)
    assert not fiftyone.load_dataset("lost").persistent


def test_names_that_fiftyone_does_not_take(fiftyone, coco):
    with pytest.raises(ValueError, match=r"cannot call a data set '\.\.\.' .*: give another name"):
        to_fiftyone(open_subset(coco, images=1), "...")


def test_without_fiftyone_it_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'segedu\[eda\]'"):
        connect()


def test_fiftyone_tells_nobody_unless_the_user_wants_it(fiftyone, monkeypatch):
    assert fiftyone.config.do_not_track is True
    monkeypatch.setenv("FIFTYONE_DO_NOT_TRACK", "false")
    connect()
    assert os.environ["FIFTYONE_DO_NOT_TRACK"] == "false"


def test_folders_that_fiftyone_downloaded_are_read(fiftyone, coco, tmp_path):
    """FiftyOne's own code lays them out; all it would download is there already."""
    from fiftyone.utils.coco import download_coco_dataset_split

    zoo = tmp_path / "fiftyone"
    split = zoo / "coco-2017" / "validation"
    shutil.copytree(coco / "val2017", split / "data")
    (split / "data" / "scene-000001.png").unlink()  # what is downloaded in parts has some images only
    write(zoo / "coco-2017" / "raw" / "x", b"")
    shutil.copy(coco / "annotations" / "instances_val2017.json", zoo / "coco-2017" / "raw")
    download_coco_dataset_split(str(split), "validation", max_samples=3, raw_dir=str(zoo / "coco-2017" / "raw"))
    for place in ({"data": zoo}, {"data": zoo / "coco-2017"}, {"data": tmp_path / "nothing", "zoo": zoo}):
        subset = open_subset(**place)
        assert [image["file_name"] for image in subset.images] == [f"scene-00000{k}.png" for k in (0, 2, 3)]
        assert subset.photos == split / "data"
    assert len(to_fiftyone(subset, "zoo")) == 3


# -------------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def segedu(monkeypatch, tmp_path):
    """Run `segedu coco fiftyone ...`; return its code, and what it said."""
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments):
        done = CliRunner().invoke(app, ["coco", "fiftyone", *map(str, arguments)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return run


def test_command_loads_compares_and_keeps(fiftyone, coco, segedu, tmp_path):
    subset = open_subset(coco)
    image = subset.images[3]
    crowd = subset.objects(image)
    part = np.zeros((1, *SIZE), bool)
    part[0, *np.argwhere(crowd["masks"][-1])[0]] = True
    found = results_of_arrays(subset, image, part, crowd["labels"][-1:], [1])
    write(tmp_path / "results.json", [one for records in perturbed(subset).values() for one in records] + found)
    code, said = segedu(
        "--data", coco, "--predictions", tmp_path / "results.json", "--no-app", "--name", "kept", "--images", 0
    )
    assert code == 0, said
    assert "kept: 4 images of val with objects and label maps" in said
    assert "segedu" in said and "FiftyOne" in said and "AR100" in said
    assert "within crowds" in said and "fiftyone app launch kept" in said
    dataset = fiftyone.load_dataset("kept")
    assert dataset.persistent and dataset.list_evaluations() == ["eval"]
    code, said = segedu("--data", coco, "--no-app", "--name", "kept")
    assert code == 2 and "give another name" in said


def test_command_says_how_much_was_compared_and_what_there_is_not(fiftyone, coco, segedu, tmp_path):
    found = perturbed(open_subset(coco, images=1))[1]
    write(tmp_path / "results.json", [*found, {**found[0], "image_id": 99}])
    path = coco / "annotations" / "instances_val2017.json"
    write(path, {**json.loads(path.read_bytes()), "annotations": []})
    said = segedu("--data", coco, "--predictions", tmp_path / "results.json", "--no-app", "--name", "b [c]")[1]
    assert f"Predictions: {len(found)} objects in 1 of the 4 images" in said and said.count("none there") == 16
    assert "b [c]: 4 images" in said and "fiftyone app launch 'b [c]'" in said


def test_command_keeps_nothing_where_predictions_are_broken(fiftyone, coco, segedu, tmp_path):
    found = perturbed(open_subset(coco, images=1))[1]
    for number, change in enumerate(({"score": "1"}, {"segmentation": {"size": [48, 64], "counts": "o"}})):
        write(tmp_path / "results.json", [*found, {**found[0], **change}])
        code, said = segedu(
            "--data", coco, "--predictions", tmp_path / "results.json", "--no-app", "--name", f"half {number}"
        )
        assert code == 2 and f"results.json: number {len(found)} " in said
        assert not fiftyone.dataset_exists(f"half {number}")


def test_command_compares_label_maps(fiftyone, coco, segedu, tmp_path):
    for number, scene in enumerate(SCENES):
        write(tmp_path / "maps" / f"scene-00000{number}.png", png(scene.semantic))
    code, said = segedu("--data", coco, "--predictions", tmp_path / "maps", "--no-app")
    assert code == 0, said
    assert said.count("1.0000") == 8
    for wrong, words in ((np.full(SIZE, 255, np.uint8), "uint8 (48, 64) from 255 to 255"), (np.eye(*SIZE) > 0, "bool")):
        write(tmp_path / "maps" / "scene-000000.png", png(wrong))
        code, said = segedu("--data", coco, "--predictions", tmp_path / "maps", "--no-app")
        assert code == 2 and f"labels, integers from 0 to 6, got {words}" in said


def test_command_says_what_is_wrong(fiftyone, coco, segedu, tmp_path):
    code, said = segedu("--data", coco, "--predictions", tmp_path / "nothing.json", "--no-app")
    assert code == 2 and "nothing.json, which is not there" in said
    code, said = segedu("--data", coco, "--predictions", tmp_path, "--no-app", "--name", "")
    assert code == 2 and "--name must not be empty" in said
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = segedu("--data", coco, "--port", taken.getsockname()[1])
        assert code == 2 and "give another --port" in said
    assert segedu("--data", tmp_path / "empty", "--no-app")[0] == 2
    code, said = segedu("--help")
    assert code == 0 and "segedu coco fiftyone --images 50" in said


@pytest.fixture
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install -e '.[dev]'")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        browser.close()


def pictures(page, count, unlike=None):
    """What the App draws of each image, uint8 (H, W, 3), as soon as it draws no more, and something else than that."""
    read = "[...document.querySelectorAll('[data-cy=looker] canvas')].map(canvas => canvas.toDataURL())"
    end, before = time.monotonic() + 60, None
    while time.monotonic() < end:
        now = page.evaluate(read)
        if len(now) == count and now == before:
            files = [io.BytesIO(base64.b64decode(url.partition(",")[2])) for url in now]
            drawn = [np.asarray(Image.open(file).convert("RGB")) for file in files]
            if all(one.any() for one in drawn) and (unlike is None or not np.array_equal(drawn[0], unlike[0])):
                return drawn
        before = now
        time.sleep(0.5)
    pytest.fail(f"the App draws no {count} images")


@pytest.mark.slow  # a minute, on a busy machine more
def test_app_shows_the_masks_and_asks_nobody_for_more_than_fonts(fiftyone, coco, browser, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "segedu", "coco", "fiftyone", "--data", coco, "--port", str(port)]
    environment = os.environ | {"BROWSER": "true"}  # the program, which opens nothing
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=environment, **both) as segedu:
        try:
            said = ""
            while "The App is at" not in said:
                said += (line := segedu.stdout.readline())
                if "did not start in a minute" in line:
                    pytest.skip("this machine is too busy: FiftyOne's App gives itself a minute to start")
                assert line, said
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            asked = []
            page.on("request", lambda request: asked.append(request.url))
            page.goto(f"http://127.0.0.1:{port}")
            page.locator("[data-cy=looker] canvas").first.wait_for(timeout=120_000)
            objects = pictures(page, len(SCENES))
            page.screenshot(path=tmp_path / "objects.png")
            advertisement = page.get_by_role("button", name="Dismiss")
            page.add_locator_handler(advertisement, lambda button: button.click())
            page.locator("[data-cy=checkbox-ground_truth] input").click()
            plain = pictures(page, len(SCENES), unlike=objects)
            page.locator("[data-cy=checkbox-semantic] input").click()
            label_maps = pictures(page, len(SCENES), unlike=plain)
            page.screenshot(path=tmp_path / "label-maps.png")
        finally:
            segedu.send_signal(signal.SIGINT)
            segedu.communicate(timeout=120)
    assert segedu.returncode == 0
    for scene, before, after in zip(SCENES, objects, plain, strict=True):
        changed = (before != after).any(-1)
        inside = cv2.resize(scene.instances.any(0).astype(np.uint8), changed.shape[::-1], interpolation=cv2.INTER_AREA)
        if len(scene.instances):
            assert changed[inside > 0].mean() > 0.9, "masks are painted"
        assert changed[inside == 0].mean() < 0.4, "and beside them only boxes"
    assert all((one != other).any(-1).mean() > 0.8 for one, other in zip(label_maps, plain, strict=True))
    here = (f"http://127.0.0.1:{port}/", "data:", "blob:")
    assert {url.split("/")[2] for url in asked if not url.startswith(here)} <= {"fonts.googleapis.com"}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()


@pytest.mark.slow  # it waits for a server to start and to stop
def test_server_of_the_tests_stops_when_they_are_killed(fiftyone, monkeypatch):
    monkeypatch.delenv("FIFTYONE_DATABASE_URI")
    program = (
        "import os, signal, mongodb\nwith mongodb.running() as uri:\n"
        "    print(uri, flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL
    port = int(killed.stdout.strip().rpartition(":")[2])
    end = time.monotonic() + 60
    with pytest.raises(ConnectionRefusedError):
        while time.monotonic() < end:
            socket.create_connection(("127.0.0.1", port)).close()
            time.sleep(0.2)


@pytest.mark.slow  # a minute
def test_the_chapter_on_exploring_runs_against_the_database(fiftyone):
    chapter = Path(__file__).parents[1] / "book" / "chapters" / "exploring-coco.md"
    notebook = read_myst_markdown_notebook(chapter.read_text(encoding="utf-8"), path=chapter.parent)
    place = {"metadata": {"path": str(chapter.parent)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
    (answers,) = (cell for cell in notebook.cells if "answers.get(" in cell.source)
    rows = re.findall(r"<th[^>]*>([^<]*)</th><td>(\d+)</td><td>(\d+)</td>", str(answers.outputs))
    assert [name for name, theirs, ours in rows if theirs != ours] == ["small objects"]  # as the chapter says, and why
    assert len(rows) == 5
