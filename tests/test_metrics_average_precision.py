"""Average precision: COCO's 12 numbers against pycocotools, and cases worked by hand."""

import contextlib
import copy
import io
import json
import warnings

import numpy as np
import pytest
from local_data import need
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segedu.datasets.shapes import make_scene, to_coco
from segedu.masks import decompress_counts, mask_to_polygons, polygons_to_mask, rle_decode, rle_encode
from segedu.metrics import average_precision

NAMES = ["AP", "AP50", "AP75", "APsmall", "APmedium", "APlarge"]
NAMES += ["AR1", "AR10", "AR100", "ARsmall", "ARmedium", "ARlarge"]


def pycocotools(truth: dict, detections: list[dict], iou_type: str = "segm") -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = {"info": {}, **copy.deepcopy(truth)}
        ground_truth.createIndex()
        evaluation = COCOeval(ground_truth, ground_truth.loadRes(copy.deepcopy(detections)), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


def mask_of(segmentation, image: dict) -> np.ndarray:
    if isinstance(segmentation, list):
        return polygons_to_mask(segmentation, image["height"], image["width"])
    return rle_decode(segmentation)


def guesses(truth: dict, seed: int = 0, most: int = 12) -> list[dict]:
    """Detections that look like a network's: displaced, doubled, of a wrong category, missed; scores that tie."""
    rng = np.random.default_rng(seed)
    images = {image["id"]: image for image in truth["images"]}
    categories = [category["id"] for category in truth["categories"]]
    found = []
    for annotation in truth["annotations"]:
        mask = mask_of(annotation["segmentation"], images[annotation["image_id"]])
        for _ in range(rng.integers(0, most)):
            category = annotation["category_id"] if rng.random() < 0.8 else int(rng.choice(categories))
            moved = np.roll(mask, rng.integers(-7, 8, 2), (0, 1))
            found.append(
                {
                    "image_id": annotation["image_id"],
                    "category_id": category,
                    "score": round(rng.random(), 2),
                    "segmentation": rle_encode(moved),
                }
            )
    return found


def boxed(detections: list[dict], seed: int = 0) -> list[dict]:
    rng = np.random.default_rng(seed)
    found = []
    for detection in detections:
        rows, columns = np.nonzero(rle_decode(detection["segmentation"]))
        if rows.size:
            corner = np.array([columns.min(), rows.min()]) + rng.uniform(-3, 3, 2)
            size = [np.ptp(columns) + 1, np.ptp(rows) + 1]
            found.append({**detection, "bbox": [*map(float, (*corner, *size))]})
    return found


@pytest.fixture(scope="module")
def scenes() -> dict:
    return to_coco([make_scene(seed, size=(200, 240), objects=8, scale=0.15) for seed in range(12)])


@pytest.fixture(scope="module")
def detections(scenes) -> list[dict]:
    return guesses(scenes)


def one_image(*annotations: tuple[int, list[float]]) -> dict:
    """An image of 100 x 100 with objects given by category and box."""
    records = [
        {"id": number, "image_id": 7, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for number, (category, box) in enumerate(annotations, start=1)
    ]
    images = [{"id": 7, "height": 100, "width": 100}]
    return {"images": images, "annotations": records, "categories": [{"id": 1}, {"id": 2}]}


def test_one_object_worked_by_hand():
    truth = one_image((1, [10, 10, 40, 50]))  # 2000 pixels: medium
    found = [
        {"image_id": 7, "category_id": 1, "score": 0.9, "bbox": [60, 10, 40, 50]},  # nothing there
        {"image_id": 7, "category_id": 1, "score": 0.8, "bbox": [10, 10, 40, 40]},  # IoU 0.8
    ]
    ours = average_precision(truth, found, "bbox")
    assert list(ours) == NAMES
    # Found second, so the precision is 1/2 at every recall; at IoU 0.50, 0.55, ..., 0.80, which are 7 of 10 thresholds.
    assert ours["AP50"] == ours["AP75"] == pytest.approx(0.5)
    assert ours["AP"] == ours["APmedium"] == pytest.approx(0.5 * 7 / 10)
    assert ours["AR1"] == 0 and ours["AR10"] == ours["AR100"] == pytest.approx(7 / 10)
    assert ours["APsmall"] == ours["APlarge"] == ours["ARsmall"] == -1


def test_precision_at_101_recalls_worked_by_hand():
    truth = one_image((1, [0, 0, 40, 40]), (1, [50, 50, 40, 40]))
    right = [
        {"image_id": 7, "category_id": 1, "score": s, "bbox": b["bbox"]}
        for s, b in zip((0.9, 0.5), truth["annotations"], strict=True)
    ]
    wrong = {"image_id": 7, "category_id": 1, "score": 0.7, "bbox": [0, 60, 20, 20]}
    # Precision 1 up to recall 1/2 (51 of 101 recalls), then 2/3.
    ours = average_precision(truth, [right[0], wrong, right[1]], "bbox")
    assert ours["AP"] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)


def test_all_numbers_equal_pycocotools_on_scenes(scenes, detections):
    ours = average_precision(scenes, detections)
    assert list(ours) == NAMES and all(type(value) is float for value in ours.values())
    np.testing.assert_allclose(list(ours.values()), pycocotools(scenes, detections), rtol=0, atol=1e-12)
    with_boxes = boxed(detections)
    for iou_type in ("segm", "bbox"):
        ours = average_precision(scenes, with_boxes, iou_type)
        theirs = pycocotools(scenes, with_boxes, iou_type)
        np.testing.assert_allclose(list(ours.values()), theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_all_numbers_equal_pycocotools_on_coco(split):
    path = need(f"coco_tiny160/annotations/instances_{split}.json")
    truth = json.loads(path.read_text())
    assert any(annotation["iscrowd"] for annotation in truth["annotations"])
    found = guesses(truth, most=5)
    ours = average_precision(path, found)
    np.testing.assert_allclose(list(ours.values()), pycocotools(truth, found), rtol=0, atol=1e-12)


def test_masks_in_every_form_give_the_same(scenes, detections, tmp_path):
    expected = average_precision(scenes, detections)
    as_bytes, as_lists = copy.deepcopy(detections), copy.deepcopy(detections)
    for record in as_bytes:
        record["segmentation"]["counts"] = record["segmentation"]["counts"].encode()
    for record in as_lists:
        record["segmentation"]["counts"] = decompress_counts(record["segmentation"]["counts"]).tolist()
    assert average_precision(scenes, as_bytes) == average_precision(scenes, as_lists) == expected
    (tmp_path / "truth.json").write_text(json.dumps(scenes))
    (tmp_path / "found.json").write_text(json.dumps(detections))
    assert average_precision(tmp_path / "truth.json", str(tmp_path / "found.json")) == expected
    solid = [record for record in detections if rle_decode(record["segmentation"]).any()]
    polygons = [{**record, "segmentation": mask_to_polygons(rle_decode(record["segmentation"]))} for record in solid]
    assert average_precision(scenes, polygons) == average_precision(scenes, solid)


def test_missing_areas_flags_and_numbers_are_filled_in(scenes, detections):
    expected = average_precision(scenes, detections)
    bare = {name: scenes[name] for name in ("images", "categories")}
    needed = ("image_id", "category_id", "segmentation")
    bare["annotations"] = [{key: record[key] for key in needed} for record in scenes["annotations"]]
    assert average_precision(bare, detections) == expected
    from_zero = [{**record, "id": number} for number, record in enumerate(scenes["annotations"])]
    assert average_precision({**scenes, "annotations": from_zero}, detections) == expected


def test_perfect_none_and_no_truth(scenes):
    perfect = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "score": 1.0, "segmentation": a["segmentation"]}
        for a in scenes["annotations"]
    ]
    ours = average_precision(scenes, perfect)
    assert ours["AP"] == ours["AP50"] == ours["AR100"] == 1
    assert set(average_precision(scenes, []).values()) <= {0.0, -1.0}
    assert set(average_precision({**scenes, "annotations": []}, perfect).values()) == {-1.0}


def test_prints_nothing_and_leaves_its_input_as_it_was(scenes, detections, capfd):
    before = copy.deepcopy((scenes, detections))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        average_precision(scenes, detections)
    assert (scenes, detections) == before
    assert capfd.readouterr() == ("", "")


def test_errors_name_what_was_expected(scenes, detections):
    first, rest = detections[0], detections[1:]

    def refuses(message: str, **changed):
        with pytest.raises(ValueError, match=message):
            average_precision(scenes, [*rest, {**first, **changed}])

    number = len(rest)
    refuses(f"detection number {number} is of image 999, which ground_truth lacks", image_id=999)
    refuses(f"detection number {number} is of category 77, which ground_truth lacks; it has", category_id=77)
    refuses(f"detection number {number} must have a finite score, got nan", score=float("nan"))
    refuses(f"detection number {number} must have a finite score, got '0.9'", score="0.9")
    refuses(r"must have their image's size \(200, 240\), got \(1, 4\)", segmentation={"size": [1, 4], "counts": [4]})
    without = {key: value for key, value in first.items() if key != "score"}
    with pytest.raises(ValueError, match="must have image_id, category_id, score, segmentation; number 0 lacks score"):
        average_precision(scenes, [without])
    with pytest.raises(ValueError, match="number 0 lacks bbox"):
        average_precision(scenes, detections, "bbox")
    with pytest.raises(ValueError, match="iou_type must be 'segm' or 'bbox', got 'mask'"):
        average_precision(scenes, detections, "mask")
    with pytest.raises(ValueError, match="detections must be a list of objects, as COCO's results are, got dict"):
        average_precision(scenes, scenes)
    with pytest.raises(ValueError, match="an object with images, annotations and categories"):
        average_precision(detections, detections)
    with pytest.raises(FileNotFoundError):
        average_precision("nowhere.json", detections)
