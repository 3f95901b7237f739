"""COCO's two data sets: small ones of generated scenes, broken ones, downloads, and a part of the real ones."""

import copy
import functools
import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
import torch
from local_data import DATA
from PIL import Image
from pycocotools.coco import COCO
from torchvision import tv_tensors
from torchvision.ops import masks_to_boxes
from torchvision.transforms import v2

from segedu.datasets import coco_home, coco_instances, coco_panoptic, homes, open_dataset
from segedu.datasets.coco_instances import CocoInstances
from segedu.datasets.coco_panoptic import CocoPanoptic
from segedu.datasets.shapes import make_scene, to_coco, to_coco_panoptic
from segedu.download import DownloadError
from segedu.masks import mask_to_polygons, rle_encode

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools

SIZE = (40, 56)
OBJECTS = {"train": (3, 0, 5, 2), "val": (4, 6)}  # of each image


@functools.cache
def scenes(split):
    return [make_scene(seed, SIZE, objects, scale=0.15) for seed, objects in enumerate(OBJECTS[split])]


def named(document, split):
    """Call the images as COCO does; those of train have even ids, of val odd ones."""
    for image in document["images"]:
        image["id"] = 2 * image["id"] + (split == "val")
        image["file_name"] = f"{image['id']:012}.jpg"
    for annotation in document["annotations"]:
        annotation["image_id"] = 2 * annotation["image_id"] + (split == "val")
        if "file_name" in annotation:
            annotation["file_name"] = f"{annotation['image_id']:012}.png"
    document["images"].reverse()  # no order is promised
    return document


def instances_document(split):
    """Annotations of all kinds: polygons, compressed and plain run lengths, a crowd, no licences."""
    document = named(to_coco(scenes(split)), split)
    masks = [mask for scene in scenes(split) for mask in scene.instances]
    for number, (annotation, mask) in enumerate(zip(document["annotations"], masks, strict=True)):
        if number % 3 == 0:
            annotation["segmentation"] = mask_to_polygons(mask)
        elif number % 3 == 1:
            annotation |= {"segmentation": rle_encode(mask, compressed=False), "iscrowd": 1}
    return document


@functools.cache
def jpegs(split):
    """The images as files, by name; the first is grey."""
    made = {}
    for number, scene in enumerate(scenes(split), start=1):
        file = io.BytesIO()
        image = Image.fromarray(scene.image)
        (image.convert("L") if number == 1 else image).save(file, "jpeg", quality=95)
        made[f"{2 * number + (split == 'val'):012}.jpg"] = file.getvalue()
    return made


@functools.cache
def maps(split):
    """The panoptic PNG files, by name."""
    made = {}
    for number, ids in enumerate(to_coco_panoptic(scenes(split))[1], start=1):
        file = io.BytesIO()
        Image.fromarray(ids).save(file, "png")
        made[f"{2 * number + (split == 'val'):012}.png"] = file.getvalue()
    return made


def panoptic_document(split):
    return named(to_coco_panoptic(scenes(split))[0], split)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


@pytest.fixture
def folder(tmp_path):
    """COCO in small, laid out as it is when its archives are unpacked."""
    place = tmp_path / "coco"
    for split in OBJECTS:
        write(place / "annotations" / f"instances_{split}2017.json", instances_document(split))
        write(place / "annotations" / f"panoptic_{split}2017.json", panoptic_document(split))
        for name, content in jpegs(split).items():
            write(place / f"{split}2017" / name, content)
        for name, content in maps(split).items():
            write(place / "annotations" / f"panoptic_{split}2017" / name, content)
    return place


def annotations(folder, kind="instances", split="val"):
    return folder / "annotations" / f"{kind}_{split}2017.json"


# Instances


def assert_as_pycocotools(samples, path):
    peer = COCO(str(path))
    categories = sorted(peer.cats)
    assert samples.classes == tuple(peer.cats[one]["name"] for one in categories)
    assert len(samples) == len(peer.imgs)
    for image, target in samples:
        info = peer.imgs[target["image_id"]]
        records = peer.loadAnns(peer.getAnnIds(target["image_id"]))
        assert image.shape == (3, info["height"], info["width"])
        assert [categories[label] for label in target["labels"]] == [one["category_id"] for one in records]
        assert target["crowd"].tolist() == [bool(one.get("iscrowd")) for one in records]
        for mask, box, record in zip(target["masks"], target["boxes"], records, strict=True):
            assert (mask.numpy() == (peer.annToMask(record) > 0)).all()
            x, y, width, height = record["bbox"]
            assert box.tolist() == pytest.approx([x, y, x + width, y + height], abs=1e-3)


@pytest.mark.parametrize("split", OBJECTS)
def test_objects_are_those_that_pycocotools_finds(folder, split, capsys):
    assert_as_pycocotools(CocoInstances(folder, split), annotations(folder, split=split))


def test_a_target_is_what_transforms_expect(folder):
    image, target = open_dataset("coco-instances", "train", folder)[0]
    assert type(image) is tv_tensors.Image and image.dtype == torch.uint8
    assert type(target["masks"]) is tv_tensors.Mask and target["masks"].dtype == torch.bool
    assert type(target["boxes"]) is tv_tensors.BoundingBoxes and target["boxes"].dtype == torch.float32
    assert target["boxes"].canvas_size == SIZE and target["boxes"].format.value == "XYXY"
    assert target["labels"].dtype == torch.int64 and target["crowd"].dtype == torch.bool
    flip = v2.RandomHorizontalFlip(1.0)
    flipped_image, flipped = CocoInstances(folder, "train", transforms=flip)[0]
    assert (flipped_image == image.flip(-1)).all()
    assert (flipped["masks"] == target["masks"].flip(-1)).all()
    tight = masks_to_boxes(flipped["masks"])
    assert (flipped["boxes"] - tight).abs().max() <= 1, "boxes go round their masks"


def test_images_without_objects_stay(folder):
    image, target = CocoInstances(folder, "train", transforms=v2.RandomHorizontalFlip(1.0))[1]
    assert image.shape == (3, *SIZE)
    assert target["masks"].shape == (0, *SIZE) and target["boxes"].shape == (0, 4)
    assert target["labels"].tolist() == target["crowd"].tolist() == []


def test_grey_images_have_three_channels(folder):
    image, _ = CocoInstances(folder, "val")[0]
    assert image.shape[0] == 3 and (image[0] == image[1]).all()


def test_images_come_in_the_order_of_their_ids_and_splits_join(folder):
    assert [target["image_id"] for _, target in CocoInstances(folder, "val+train")] == [3, 5, 2, 4, 6, 8]
    assert CocoInstances(folder, "train", images=2).names == ["000000000002", "000000000004"]
    for split in ("test", "train+", ""):
        with pytest.raises(ValueError, match="split must be one of train, val"):
            CocoInstances(folder, split)


def test_chooses_images_by_what_they_show(folder):
    for name in ("disc", "star"):
        chosen = CocoInstances(folder, "train", categories=[name])
        label = chosen.classes.index(name)
        shows = [label in target["labels"] for _, target in CocoInstances(folder, "train")]
        assert [label in target["labels"] for _, target in chosen] == [True] * sum(shows)
        assert len(chosen.classes) == 4
    either = CocoInstances(folder, "train", categories=["disc", "star", "square", "triangle"])
    assert len(either) == 3, "all but the empty one"
    with pytest.raises(ValueError, match="categories must be of disc, square, triangle, star; got circle"):
        CocoInstances(folder, "train", categories=["circle"])
    with pytest.raises(ValueError, match="images must be 1 or more, got 0"):
        CocoInstances(folder, "train", images=0)


# Panoptic


@pytest.mark.parametrize("split", OBJECTS)
def test_panoptic_maps_are_those_of_the_scenes(folder, split):
    samples = open_dataset("coco-panoptic", split, folder)
    assert samples.classes == ("sky", "hill", "ground", "disc", "square", "triangle", "star")
    assert samples.things == (3, 4, 5, 6) and samples.ignore_index == 255
    for (image, target), scene in zip(samples, scenes(split), strict=True):
        assert image.shape == (3, *SIZE)
        kinds = [(type(target[name]), target[name].dtype) for name in ("categories", "instances", "crowd")]
        assert kinds == [(tv_tensors.Mask, dtype) for dtype in (torch.uint8, torch.int32, torch.bool)]
        assert (target["categories"].numpy() == scene.panoptic[..., 0]).all()
        assert not target["crowd"].any()
        assert ((target["instances"].numpy() > 0) == (scene.panoptic[..., 1] > 0)).all()
        pairs = np.unique(np.stack([target["instances"].numpy(), scene.panoptic[..., 1]], -1).reshape(-1, 2), axis=0)
        assert len(pairs) == len(scene.instances) + 1, "each number stands for one object"
        assert pairs[:, 0].tolist() == list(range(len(pairs)))


def test_crowds_and_void_are_no_instances(folder):
    document = panoptic_document("val")
    annotation = next(one for one in document["annotations"] if one["image_id"] == 3)
    thing = next(one for one in annotation["segments_info"] if one["category_id"] > 2)
    thing["iscrowd"] = 1
    sky = next(one for one in annotation["segments_info"] if one["category_id"] == 0)
    path = folder / "annotations" / "panoptic_val2017" / annotation["file_name"]
    ids = np.array(Image.open(path))
    value = ids.astype(int) @ (1, 256, 65536)
    ids[value == sky["id"]] = 0
    Image.fromarray(ids).save(path)
    annotation["segments_info"].remove(sky)
    write(annotations(folder, "panoptic"), document)
    target = CocoPanoptic(folder, "val").read(0)[1]
    assert ((target["categories"] == 255) == (value == sky["id"])).all()
    assert (target["crowd"] == (value == thing["id"])).all()
    assert (target["categories"][target["crowd"]] == thing["category_id"]).all()
    assert (target["instances"][target["crowd"]] == 0).all()
    numbers = np.unique(target["instances"])
    assert numbers.tolist() == list(range(len(numbers)))


def test_panoptic_annotations_may_lie_beside_the_images(folder):
    expected = CocoPanoptic(folder, "val").read(1)[1]
    for path in (annotations(folder, "panoptic"), folder / "annotations" / "panoptic_val2017"):
        path.rename(folder / path.name)
    target = CocoPanoptic(folder, "val").read(1)[1]
    assert all(np.array_equal(target[key], expected[key]) for key in expected)


# Broken and hostile files


def change(document, where, value):
    *path, last = where
    place = document
    for step in path:
        place = place[step]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value


first_image, first = ("images", 0), ("annotations", 0)
SQUARE = [0, 0, 9, 0, 9, 9]
BROKEN = {
    "no images": (("images",), KeyError, "the lists images, annotations and categories"),
    "images no list": (("images",), {"a": 1}, "the lists images, annotations and categories"),
    "annotation no object": ((*first,), "x", "annotations must hold objects"),
    "leads out": ((*first_image, "file_name"), "../../secret.jpg", "name of a file without folders"),
    "leads out on Windows": ((*first_image, "file_name"), "..\\secret.jpg", "name of a file without folders"),
    "absolute": ((*first_image, "file_name"), "/etc/passwd", "name of a file without folders"),
    "drive": ((*first_image, "file_name"), "C:x.jpg", "name of a file without folders"),
    "dots": ((*first_image, "file_name"), "..", "name of a file without folders"),
    "no name": ((*first_image, "file_name"), KeyError, "name of a file without folders"),
    "no height": ((*first_image, "height"), KeyError, "a height and a width in pixels"),
    "true height": ((*first_image, "height"), True, None),
    "huge": ((*first_image, "width"), 10**9, "a height and a width in pixels"),
    "size of another": ((*first_image, "width"), 55, "must be 55 x 40 pixels, as its annotations say, got 56 x 40"),
    "id a word": ((*first_image, "id"), "5", "ids of images must be integers"),
    "id twice": ((*first_image, "id"), 3, "must be different, got 3 twice"),
    "id huge": ((*first_image, "id"), 1 << 63, "ids of images must be integers"),
    "category twice": (("categories", 0, "id"), 4, "must be different, got 4 twice"),
    "category without a name": (("categories", 0, "name"), KeyError, "must have a name"),
    "supercategory a list": (("categories", 0, "supercategory"), ["a"], "names are texts"),
    "of no image": ((*first, "image_id"), 77, "annotation 1 must be of one of the images, got image id 77"),
    "of a list": ((*first, "image_id"), [3], "of one of the images"),
    "unknown category": ((*first, "category_id"), 91, "of its categories, got category id 91"),
    "category a list": ((*first, "category_id"), [3], "of its categories"),
    "no category": ((*first, "category_id"), KeyError, "of its categories, got category id None"),
    "no segmentation": ((*first, "segmentation"), KeyError, "polygons or run lengths"),
    "empty segmentation": ((*first, "segmentation"), [], "polygons or run lengths"),
    "segmentation a word": ((*first, "segmentation"), "0 1 2", "polygons or run lengths"),
    "two points": ((*first, "segmentation"), [[0, 0, 5, 5]], "three points or more"),
    "odd": ((*first, "segmentation"), [[*SQUARE, 1]], "three points or more"),
    "nested": ((*first, "segmentation"), [[SQUARE]], "three points or more"),
    "words": ((*first, "segmentation"), [["a"] * 6], "three points or more"),
    "numbers in words": ((*first, "segmentation"), [["1", "2", "9", "2", "9", "9"]], "three points or more"),
    "nothing": ((*first, "segmentation"), [None], "three points or more"),
    "digits": ((*first, "segmentation"), [[10**400, 0, 9, 0, 9, 9]], "three points or more"),
    "far away": ((*first, "segmentation"), [[0, 0, 1e7, 0, 1e7, 1e7]], "about the image"),
    "NaN": ((*first, "segmentation"), [[0, 0, float("nan"), 0, 9, 9]], "about the image"),
    "infinite": ((*first, "segmentation"), [[0, 0, float("inf"), 0, 9, 9]], "about the image"),
    "RLE of another size": ((*first, "segmentation"), {"size": [10**6, 10**6], "counts": "0"}, "must be the image's"),
    "RLE too short": ((*first, "segmentation"), {"size": [*SIZE], "counts": [3, 4]}, "is broken"),
    "RLE without counts": ((*first, "segmentation"), {"size": [*SIZE]}, "a list of integers, got None"),
    "RLE of fractions": ((*first, "segmentation"), {"size": [*SIZE], "counts": [0.5, 2240]}, "a list of integers"),
    "RLE of letters": ((*first, "segmentation"), {"size": [*SIZE], "counts": "\x7f\x00é"}, "is broken"),
    "crowd a word": ((*first, "iscrowd"), "0", "iscrowd must be 0 or 1, got '0'"),
    "no box": ((*first, "bbox"), KeyError, "x, y, width and height"),
    "box backwards": ((*first, "bbox"), [9, 9, -4, 4], "x, y, width and height"),
    "box NaN": ((*first, "bbox"), [9, 9, float("nan"), 4], "x, y, width and height"),
}


@pytest.mark.parametrize(("where", "value", "message"), BROKEN.values(), ids=BROKEN)
def test_says_what_is_wrong_with_annotations(folder, where, value, message):
    document = instances_document("val")
    change(document, where, value)
    write(annotations(folder), document)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        list(CocoInstances(folder, "val"))
    assert str(folder) in str(caught.value)
    assert coco_instances.check(folder).wrong


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"[]", b"null", b"\xff\xfe{}", b'{"images": 1e999}'])
def test_says_that_a_file_is_no_annotations(folder, content):
    for kind, check in (("instances", coco_instances.check), ("panoptic", coco_panoptic.check)):
        write(annotations(folder, kind), content)
        (wrong,) = check(folder).wrong
        assert str(annotations(folder, kind)) in wrong
    with pytest.raises(ValueError):
        CocoInstances(folder, "val")


BROKEN_PANOPTIC = {
    "segments no list": ((*first, "segments_info"), 3, "must be a list of objects"),
    "segment no object": ((*first, "segments_info", 0), 3, "must be a list of objects"),
    "unknown category": ((*first, "segments_info", 0, "category_id"), 200, "of image 3 .*, got category id 200"),
    "unknown segment": ((*first, "segments_info", 0), KeyError, "must name all segments"),
    "id a word": ((*first, "segments_info", 0, "id"), "x", "integers below"),
    "segment of no pixel": ((*first, "segments_info", 0, "id"), 7_000_000, "must name all segments"),
    "id huge": ((*first, "segments_info", 0, "id"), 1 << 70, "integers below"),
    "crowd a word": ((*first, "segments_info", 0, "iscrowd"), "0", "iscrowd must be 0 or 1"),
    "leads out": ((*first, "file_name"), "../panoptic_val2017/x.png", "name of a file without folders"),
    "no file": ((*first, "file_name"), "000.png", "000.png"),
    "two annotations": ((*first, "image_id"), 5, "must have one annotation, got"),
    "many categories": (("categories",), [{"id": one, "name": "x"} for one in range(256)], "at most 255 categories"),
}


@pytest.mark.parametrize(("where", "value", "message"), BROKEN_PANOPTIC.values(), ids=BROKEN_PANOPTIC)
def test_says_what_is_wrong_with_panoptic_annotations(folder, where, value, message):
    document = panoptic_document("val")
    change(document, where, value)
    write(annotations(folder, "panoptic"), document)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        list(CocoPanoptic(folder, "val"))
    assert str(folder) in str(caught.value)
    assert coco_panoptic.check(folder).wrong


def test_check_lists_what_is_wrong_with_files(folder):
    assert coco_instances.check(folder).wrong == coco_panoptic.check(folder).wrong == []
    assert coco_instances.check(folder).there[1] == "val: 2 images, 10 objects"
    (folder / "val2017" / "000000000003.jpg").unlink()
    whole = jpegs("val")["000000000005.jpg"]
    write(folder / "val2017" / "000000000005.jpg", whole[: len(whole) // 2])
    write(folder / "annotations" / "panoptic_train2017" / "000000000006.png", maps("train")["000000000002.png"])
    wrong = coco_instances.check(folder).wrong
    assert ["000000000003.jpg" in wrong[0], "000000000005.jpg must be a whole image" in wrong[1]] == [True, True]
    assert len(wrong) == 2
    assert len(coco_panoptic.check(folder).wrong) == 3
    annotations(folder, split="train").unlink()
    assert coco_instances.check(folder).there[0] == "train: not there"


# Download


def archive(files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in files.items():
            bundle.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
    return file.getvalue()


@pytest.fixture
def home(server, monkeypatch):
    """COCO's server, with a document of the images' licences, as the real one."""
    plain = {f"annotations/instances_{split}2017.json": instances_document(split) for split in OBJECTS}
    plain["annotations/instances_val2017.json"]["licenses"] = [{"id": 1, "name": "CC BY"}]
    panoptic = {f"annotations/panoptic_{split}2017.json": panoptic_document(split) for split in OBJECTS}
    for split in OBJECTS:
        inner = {f"panoptic_{split}2017/{name}": content for name, content in maps(split).items()}
        panoptic[f"annotations/panoptic_{split}2017.zip"] = archive(inner)
        server.files |= {f"/{split}2017/{name}": content for name, content in jpegs(split).items()}
    archives = {
        "annotations_trainval2017.zip": archive(plain),
        "panoptic_annotations_trainval2017.zip": archive(panoptic),
    }
    server.files |= {f"/annotations/{name}": content for name, content in archives.items()}
    known = {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in archives.items()}
    monkeypatch.setattr(coco_home, "HOME", server.root)
    monkeypatch.setattr(coco_home, "ARCHIVES", known)
    return server


def same(ours, theirs):
    for (image, target), (same_image, same_target) in zip(ours, theirs, strict=True):
        assert (image == same_image).all()
        assert target.keys() == same_target.keys()
        for key, value in target.items():
            assert (torch.as_tensor(value) == torch.as_tensor(same_target[key])).all()


def test_get_brings_all_images_over_a_connection_that_breaks(home, folder, tmp_path):
    home.cuts = [300, None, 0, None, 700, 100] * 2
    home.statuses = [200, 503, 200, 200, 200, 429, 200, 500]
    target = tmp_path / "got"
    coco_instances.get(target)
    for split in OBJECTS:
        same(CocoInstances(target, split), CocoInstances(folder, split))
    assert json.loads(annotations(target).read_text())["licenses"], "the licences of images come along"
    assert not [path for path in target.rglob("*") if path.suffix in (".part", ".new", ".etag", ".lock")]
    home.requests.clear()
    coco_instances.get(target)
    assert home.requests == []
    home.cuts, home.statuses = [200, 2000], []
    coco_panoptic.get(target)
    for split in OBJECTS:
        same(CocoPanoptic(target, split), CocoPanoptic(folder, split))
    assert len(home.requests) == 3, "the images were there; the archive came in three pieces"


def test_get_brings_some_images_and_later_more(home, tmp_path):
    coco_instances.get(tmp_path, "train", images=1, categories=["triangle"])
    assert coco_instances.check(tmp_path).wrong == []
    few = CocoInstances(tmp_path, "train")
    label = few.classes.index("triangle")
    assert len(few) == 1 and label in few[0][1]["labels"]
    assert len(list((tmp_path / "train2017").iterdir())) == 1
    coco_instances.get(tmp_path, "train", images=2)
    names = {"000000000002", "000000000004", *few.names}
    assert set(CocoInstances(tmp_path, "train").names) == names
    assert {path.stem for path in (tmp_path / "train2017").iterdir()} == names
    coco_panoptic.get(tmp_path, "val", images=1)
    assert CocoPanoptic(tmp_path, "val").names == ["000000000003"]
    assert [path.name for path in (tmp_path / "annotations" / "panoptic_val2017").iterdir()] == ["000000000003.png"]
    with pytest.raises(ValueError, match="got dragon"):
        coco_instances.get(tmp_path, "train", categories=["dragon"])


def test_get_refuses_an_archive_with_another_hash(home, tmp_path):
    address = "/annotations/annotations_trainval2017.zip"
    right = home.files[address]
    home.files[address] = right[:-1] + b"!"
    with pytest.raises(DownloadError, match="SHA-256"):
        coco_instances.get(tmp_path)
    assert not list(tmp_path.rglob("*.json"))
    home.files[address] = right
    coco_instances.get(tmp_path)
    assert coco_instances.check(tmp_path).wrong == []


@pytest.mark.parametrize("wrong", ["another size", "half", "text", None])
def test_get_refuses_a_wrong_image_and_gets_the_others_later(home, tmp_path, wrong):
    address = "/train2017/000000000006.jpg"
    right = home.files[address]
    if wrong == "another size":
        file = io.BytesIO()
        Image.new("RGB", (56, 41)).save(file, "jpeg")
        home.files[address] = file.getvalue()
    elif wrong == "half":
        home.files[address] = right[: len(right) // 2]
    elif wrong == "text":
        home.files[address] = b"<Error><Code>AccessDenied</Code></Error>"
    else:
        del home.files[address]
    with pytest.raises(DownloadError, match=r"train2017/000000000006\.jpg.*(was wrong, and was deleted|404)"):
        coco_instances.get(tmp_path)
    assert not (tmp_path / "train2017" / "000000000006.jpg").exists()
    assert not annotations(tmp_path, split="train").exists(), "no annotations of images that are not there"
    home.files[address] = right
    coco_instances.get(tmp_path)
    assert coco_instances.check(tmp_path).wrong == []


def test_get_mixes_no_two_versions_of_an_image(home, tmp_path, monkeypatch):
    monkeypatch.setattr(homes, "AT_ONCE", 1)  # so that it is the second image that is cut
    address = "/val2017/000000000005.jpg"
    new, old = home.files[address], home.files["/val2017/000000000003.jpg"]
    home.files[address], home.cuts, home.statuses = old, [None, None, 400], [200, 200, 200, 404]
    with pytest.raises(DownloadError):
        coco_instances.get(tmp_path, "val")
    home.files[address], home.marks, home.cuts, home.statuses = new, {"ETag": '"two"'}, [], []
    coco_instances.get(tmp_path, "val")
    assert (tmp_path / "val2017" / "000000000005.jpg").read_bytes() == new


def test_hostile_annotations_write_nothing_outside(home, tmp_path, monkeypatch):
    documents = {f"annotations/instances_{split}2017.json": instances_document(split) for split in OBJECTS}
    documents["annotations/instances_train2017.json"]["images"][0]["file_name"] = "../../../escaped.jpg"
    content = archive(documents)
    home.files["/annotations/annotations_trainval2017.zip"] = content
    known = (len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(coco_home.ARCHIVES, "annotations_trainval2017.zip", known)
    with pytest.raises(ValueError, match="name of a file without folders"):
        coco_instances.get(tmp_path / "deep" / "coco")
    assert len(home.requests) == 1 and not list(tmp_path.rglob("*.jpg"))


# The real ones


def real(name):
    for place in sorted(DATA.glob("*")):
        module = {"coco-instances": coco_instances, "coco-panoptic": coco_panoptic}[name]
        if module.is_here(place):
            return place
    pytest.skip(f"no {name} in {DATA}: set SEGEDU_DATA")


def test_real_objects_are_those_that_pycocotools_finds(capsys):
    folder = real("coco-instances")
    samples = CocoInstances(folder, "val")
    assert len(samples.classes) == 80
    assert any(samples.read(index)[1]["crowd"].any() for index in range(len(samples)))
    assert_as_pycocotools(samples, annotations(folder))


def test_real_panoptic_areas_are_those_that_coco_states():
    folder = real("coco-panoptic")
    samples = CocoPanoptic(folder, "val")
    assert len(samples.classes) == 133 and len(samples.things) == 80
    document = json.loads(coco_panoptic.annotations_file(folder, "val").read_text())
    category = {one["id"]: one["name"] for one in document["categories"]}
    stated = {one["image_id"]: one["segments_info"] for one in document["annotations"]}
    for index in range(0, len(samples), 7):
        target = samples.read(index)[1]
        found = np.bincount(target["categories"].ravel(), minlength=256)
        areas = dict.fromkeys(samples.classes, 0)
        for segment in stated[target["image_id"]]:
            areas[category[segment["category_id"]]] += segment["area"]
        assert found[:133].tolist() == list(areas.values())
        things = [one for one in stated[target["image_id"]] if not one["iscrowd"]]
        expected = sorted(one["area"] for one in things if category[one["category_id"]] in samples.classes[:80])
        assert sorted(np.bincount(target["instances"].ravel())[1:]) == expected


def test_documents_are_not_changed_by_reading():
    document = instances_document("val")
    before = copy.deepcopy(document)
    coco_instances.parse(json.dumps(document).encode(), "x", coco_instances.categories_of)
    assert document == before
