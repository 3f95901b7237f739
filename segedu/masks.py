"""Label maps, instance masks, panoptic maps, run lengths and polygons: one converter for each pair.

- Label map, integer ``(..., H, W)``: to what a pixel belongs, a class (semantic map) or an object (instance map).
- Instances, bool ``(N, H, W)`` and integer ``(N,)``: a mask and a category for each object; masks may overlap.
- Panoptic map, integer ``(..., H, W, 2)``: (category, instance) of a pixel; instance 0 for stuff, 1, 2, ... for things.
- RLE, ``{"size": [H, W], "counts": ...}``: COCO's run lengths of one mask, column by column.
- Polygons, lists of ``[x0, y0, x1, y1, ...]``: COCO's outlines; (0, 0) is the first pixel's corner, (0.5, 0.5) its
  centre.

Every function takes NumPy arrays or PyTorch tensors. Maps come back as what came in, on its device; run lengths and
polygons are host data, so making them waits for the device.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    import torch

    Array = np.ndarray | torch.Tensor

__all__ = [
    "compress_counts",
    "decompress_counts",
    "ids_to_rgb",
    "instances_to_labels",
    "instances_to_panoptic",
    "labels_to_instances",
    "mask_to_polygons",
    "panoptic_to_instances",
    "panoptic_to_semantic",
    "polygons_to_mask",
    "rgb_to_ids",
    "rle_area",
    "rle_decode",
    "rle_encode",
]


# Label maps, instances, panoptic maps


def labels_to_instances(labels: "Array", ignore: Iterable[int] = (0,)) -> tuple["Array", "Array"]:
    """Split a label map into one mask for each value: objects of an instance map, classes of a semantic map.

    Args:
        labels: integer (H, W).
        ignore: values that get no mask, such as the background 0 or the void 255.

    Returns:
        Masks, bool (N, H, W), and the value that each came from, (N,) in ascending order. Waits for the device.
    """
    _check_integers("labels", labels, dimensions=2)
    values = _library(labels).unique(labels)
    for value in ignore:
        values = values[values != value]
    return labels == values[:, None, None], values


def instances_to_labels(masks: "Array", values: "Array | None" = None, background: int = 0) -> "Array":
    """Paint masks into one label map; where masks overlap, the later one is in front.

    Args:
        masks: bool (..., N, H, W).
        values: integer (N,), what to paint: categories for a semantic map; 1, 2, ..., N (an instance map) if not given.
        background: the value of pixels that no mask covers.

    Returns:
        Label map, int64 (..., H, W).
    """
    library = _library(masks)
    _check_masks(masks)
    count = masks.shape[-3]
    if values is None:
        values = range(1, count + 1)
    elif len(values) != count:
        raise ValueError(f"values must hold one number for each of the {count} masks, got {len(values)}")
    labels = library.zeros_like(masks[..., 0, :, :] if count else masks.any(-3), dtype=library.int64) + background
    for index, value in enumerate(values):
        labels = library.where(masks[..., index, :, :], value, labels)
    return labels


def panoptic_to_semantic(panoptic: "Array") -> "Array":
    """Take the category of every pixel: panoptic map (..., H, W, 2) to label map (..., H, W) of the same dtype."""
    _check_panoptic(panoptic)
    return panoptic[..., 0]


def panoptic_to_instances(panoptic: "Array") -> tuple["Array", "Array"]:
    """Take the things out of a panoptic map, which are its segments with an instance above 0.

    Args:
        panoptic: integer (H, W, 2) of (category, instance), both from 0 to 2^31 - 1.

    Returns:
        Masks, bool (N, H, W), and their categories, int64 (N,), in the order of the instance numbers (then of the
        categories, where a map numbers each category afresh). Waits for the device.
    """
    _check_panoptic(panoptic)
    if panoptic.ndim != 3:
        raise ValueError(f"panoptic must have shape (H, W, 2), one map at a time, got {tuple(panoptic.shape)}")
    library = _library(panoptic)
    category, instance = library.asarray(panoptic[..., 0], dtype=library.int64), panoptic[..., 1]
    # One number for each pair sorts by instance first, and one sort of numbers beats a sort of pairs.
    pair = (library.asarray(instance, dtype=library.int64) << 32) + category
    segments = library.unique(pair[instance > 0])
    return pair == segments[:, None, None], segments & 0xFFFFFFFF


def instances_to_panoptic(masks: "Array", categories: "Array", semantic: "Array") -> "Array":
    """Join things and stuff: number the masks 1, 2, ..., N and lay them over a semantic map.

    Args:
        masks: bool (..., N, H, W), the things; where they overlap, the later one is in front.
        categories: integer (N,), the category of each mask.
        semantic: integer (..., H, W), the category of all pixels that no mask covers (stuff, void).

    Returns:
        Panoptic map, int64 (..., H, W, 2) of (category, instance), instance 0 where no mask is.
    """
    library = _library(masks)
    _check_integers("semantic", semantic)
    if tuple(semantic.shape) != (*masks.shape[:-3], *masks.shape[-2:]):
        raise ValueError(
            f"semantic must have the masks' shape without N, got {tuple(semantic.shape)} for masks {tuple(masks.shape)}"
        )
    instance = instances_to_labels(masks)
    covered = instances_to_labels(masks, categories)
    category = library.where(instance > 0, covered, library.asarray(semantic, dtype=library.int64))
    return library.stack([category, instance], -1)


def ids_to_rgb(ids: "Array") -> "Array":
    """Write segment ids as colours, id = R + 256 G + 256^2 B, as COCO's panoptic PNG files do.

    Takes integer (..., H, W) from 0 to 256^3 - 1, gives uint8 (..., H, W, 3). Waits for the device to check the range.
    """
    _check_integers("ids", ids)
    library = _library(ids)
    ids = library.asarray(ids, dtype=library.int64)
    if 0 not in ids.shape and not 0 <= int(ids.min()) <= int(ids.max()) < 1 << 24:
        raise ValueError(f"ids must lie in 0..{(1 << 24) - 1} to fit a colour, got {int(ids.min())}..{int(ids.max())}")
    return library.asarray(library.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1), dtype=library.uint8)


def rgb_to_ids(rgb: "Array") -> "Array":
    """Read segment ids from COCO's panoptic colours: uint8 (..., H, W, 3) to int64 (..., H, W), R + 256 G + 256^2 B."""
    library = _library(rgb)
    if rgb.dtype != library.uint8 or rgb.shape[-1] != 3:
        raise ValueError(f"rgb must be uint8 of shape (..., H, W, 3), got {rgb.dtype} {tuple(rgb.shape)}")
    rgb = library.asarray(rgb, dtype=library.int64)
    return rgb[..., 0] + (rgb[..., 1] << 8) + (rgb[..., 2] << 16)


# Run lengths


def rle_encode(mask: "Array", compressed: bool = True) -> dict[str, Any] | list[dict[str, Any]]:
    """Encode a mask as COCO's run lengths: column by column, zeros and ones in turn, zeros first (perhaps 0 of them).

    Args:
        mask: bool (H, W), or an integer mask of zeros and ones; a stack (N, H, W) gives a list of N codes.
        compressed: counts as COCO's string (a ``str``, ready for JSON; pycocotools gives the same characters as
            ``bytes``), else as a plain list of integers.

    Returns:
        ``{"size": [H, W], "counts": ...}``.

    Raises:
        ValueError: for any value but 0 and 1, since two labels side by side would silently become one mask.
    """
    mask = _to_binary(mask)
    if mask.ndim == 3:
        return [rle_encode(one, compressed) for one in mask]
    height, width = mask.shape
    # Look for changes row by row, as the memory lies, and put the few that there are in column order afterwards:
    # much faster than turning the whole mask. A column's first pixel follows the last one of the column before.
    changed = np.empty((height, width), bool)
    if mask.size:
        changed[0, 0] = mask[0, 0]
        np.not_equal(mask[0, 1:], mask[-1, :-1], out=changed[0, 1:])
        np.not_equal(mask[1:], mask[:-1], out=changed[1:])
    row, column = np.divmod(np.flatnonzero(changed), max(width, 1))
    starts = np.sort(column * height + row)
    counts = np.diff(starts, prepend=0, append=mask.size)
    return {"size": [height, width], "counts": compress_counts(counts) if compressed else counts.tolist()}


def rle_decode(rle: dict[str, Any] | Sequence[dict[str, Any]]) -> np.ndarray:
    """Decode COCO's run lengths, plain (list) or compressed (``str`` or ``bytes``), to a bool mask (H, W).

    A list of N codes of one size gives (N, H, W).

    Raises:
        ValueError: for broken codes; says what is wrong.
    """
    if not isinstance(rle, dict):
        sizes = {tuple(one["size"]) for one in rle}
        if len(sizes) != 1:
            raise ValueError(f"a list of codes must have one common size, got {sorted(sizes) or 'no code at all'}")
        return np.stack([rle_decode(one) for one in rle])
    (height, width), counts = _read_rle(rle)
    return _fill_columns(np.arange(len(counts)) % 2 == 1, counts, height, width)


def rle_area(rle: dict[str, Any]) -> int:
    """Count the pixels of a mask from its code, plain or compressed, without decoding it."""
    return int(_read_rle(rle)[1][1::2].sum())


def compress_counts(counts: Sequence[int] | np.ndarray) -> str:
    """Write run lengths as COCO's string.

    From the fourth on, a count is replaced by its difference from the one two before, which is small where a shape's
    columns resemble each other. Each number is cut into groups of 5 bits, the lowest first, in two's complement; a
    sixth bit says that more groups follow; adding 48 makes it a printable character (COCO API, maskApi).
    """
    numbers = np.array(counts, np.int64)
    numbers[3:] -= np.asarray(counts, np.int64)[1:-2]
    size = np.where(numbers < 0, ~numbers, numbers)  # a group more at 2^4, 2^9, 2^14, ...: the sign takes one bit
    groups = 1 + np.searchsorted(1 << np.arange(4, 60, 5), size, side="right")
    position = np.arange(np.max(groups, initial=1))
    characters = (numbers[:, None] >> 5 * position & 31) + 48 + 32 * (position < groups[:, None] - 1)
    return characters[position < groups[:, None]].astype(np.uint8).tobytes().decode("ascii")


def decompress_counts(string: str | bytes) -> np.ndarray:
    """Read run lengths, int64, from COCO's string: the inverse of `compress_counts`, which says how it is written."""
    if isinstance(string, str):
        string = string.encode()
    groups = np.frombuffer(string, np.uint8).astype(np.int64) - 48
    if groups.size == 0:
        return groups
    odd = np.flatnonzero((groups < 0) | (groups > 63))
    if odd.size:
        raise ValueError(f"counts must hold characters from '0' to 'o', got {bytes(string)[odd[0] : odd[0] + 1]!r}")
    last = groups < 32
    if not last[-1]:
        raise ValueError("counts end in the middle of a number: the string has been cut short")
    ends = np.flatnonzero(last)
    starts = np.append(0, ends[:-1] + 1)
    lengths = ends - starts + 1
    if lengths.max() > 12:
        raise ValueError(f"counts hold a number of {lengths.max()} characters, more than 64 bits can hold")
    position = np.arange(groups.size) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((groups & 31) << 5 * position, starts)
    numbers -= np.where(groups[ends] & 16, 1 << 5 * lengths, 0)  # the highest bit of the last group is the sign
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def _read_rle(rle: dict[str, Any]) -> tuple[tuple[int, int], np.ndarray]:
    """Return ((H, W), run lengths as int64) of a code, checked."""
    height, width = (int(side) for side in rle["size"])
    counts = _read_counts(rle.get("counts"))
    if min(height, width) < 0:
        raise ValueError(f"size must be [H, W], both at least 0, got {rle['size']}")
    if counts.min(initial=0) < 0:
        raise ValueError(f"run lengths must be at least 0, got {counts.min()}")
    # The largest first: a sum of huge counts may overflow into the right number.
    if counts.max(initial=0) > height * width or counts.sum() != height * width:
        total = sum(counts.tolist())
        raise ValueError(f"run lengths must add up to {height} x {width} = {height * width}, got {total}")
    return (height, width), counts


def _read_counts(counts: Any) -> np.ndarray:
    if isinstance(counts, str | bytes):
        return decompress_counts(counts)
    try:
        array = np.asarray(counts)
    except ValueError:  # lists of different lengths
        array = np.empty((0, 0))
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):  # nor integers of more than 64 bits
        raise ValueError(f"counts must be COCO's string or a list of integers, got {counts!r:.80}")
    return array.astype(np.int64)


def _fill_columns(values: np.ndarray, counts: np.ndarray, height: int, width: int) -> np.ndarray:
    """Repeat bool values by their counts, column by column, into a mask (H, W) whose rows lie together in memory."""
    columns = np.repeat(values, counts).reshape(width, height)
    return cv2.transpose(columns.view(np.uint8)).view(bool) if columns.size else columns.T  # twice NumPy's speed


# Polygons


def polygons_to_mask(polygons: Sequence[Sequence[float]], height: int, width: int) -> np.ndarray:
    """Fill polygons by COCO's rule, bit for bit as pycocotools does: the union of their insides, a bool mask (H, W).

    The rule: round the corners to a grid five times finer, walk the outline on it in straight steps, and note where
    it crosses the middle of a pixel column; going down the column, each crossing (rounded to the nearest pixel border)
    switches between outside and inside. A polygon that runs over itself is therefore hollow where it covers twice.

    Args:
        polygons: lists of ``[x0, y0, x1, y1, ...]`` in pixels, three points or more each; parts outside the image
            are cut off. No polygon gives an empty mask.
        height: of the mask, in pixels.
        width: of the mask, in pixels.
    """
    # A closed outline crosses a column's middle an even number of times, so crossings take turns: in, out, in, out.
    crossings = [_column_crossings(polygon, height, width) for polygon in polygons]
    position = np.concatenate([*crossings, np.empty(0, np.int64)])
    turn = np.concatenate([1 - 2 * (np.arange(len(one)) & 1) for one in [*crossings, ()]])
    order = np.argsort(position, kind="stable")
    covered_by = np.append(0, np.cumsum(turn[order]))  # how many polygons cover the pixels up to the next crossing
    return _fill_columns(covered_by > 0, np.diff(position[order], prepend=0, append=height * width), height, width)


def _column_crossings(polygon: Sequence[float], height: int, width: int) -> np.ndarray:
    """Return where a polygon's outline crosses the columns' middles, as sorted positions x H + y."""
    points = np.asarray(polygon, np.float64)
    if points.ndim != 1 or points.size < 6 or points.size % 2:
        raise ValueError(
            f"a polygon must be a flat list [x0, y0, x1, y1, ...] of three points or more, got shape {points.shape}"
        )
    if not np.isfinite(points).all():
        raise ValueError("a polygon must have finite coordinates, got NaN or infinity")
    start = np.trunc(5 * points.reshape(-1, 2) + 0.5).astype(np.int64)  # towards 0, as a cast in C does
    end = np.roll(start, -1, axis=0)
    # Each side is walked from its smaller end along its longer direction, so that a side and its reverse agree.
    extent = np.abs(end - start)
    flat = extent[:, 0] >= extent[:, 1]
    along, across = np.where(flat, 0, 1), np.where(flat, 1, 0)
    side = np.arange(len(start))
    reverse = start[side, along] > end[side, along]
    low, high = np.where(reverse[:, None], end, start), np.where(reverse[:, None], start, end)
    steps = extent[side, along]
    slope = (high - low)[side, across] / np.maximum(steps, 1)
    # All points of the walk at once: `step` counts 0..steps on every side, downwards where the side is reversed.
    which = np.repeat(side, steps + 1)
    step = np.arange(which.size) - np.repeat(np.cumsum(steps + 1) - steps - 1, steps + 1)
    step = np.where(reverse[which], steps[which] - step, step)
    long = low[side, along][which] + step
    short = np.trunc(low[side, across][which] + slope[which] * step + 0.5).astype(np.int64)
    u, v = np.where(flat[which], long, short), np.where(flat[which], short, long)
    # Fine column 5x + 2 is the middle of pixel column x; the height where the walk leaves it is rounded to a border.
    column = np.minimum(u[1:], u[:-1])
    crossing = (u[1:] != u[:-1]) & (column % 5 == 2) & (column >= 0) & (column < 5 * width)
    x = column[crossing] // 5
    y = np.clip((np.minimum(v[1:], v[:-1])[crossing] + 2) // 5, 0, height)
    return np.sort(x * height + y)


def mask_to_polygons(mask: "Array") -> list[list[float]]:
    """Outline a mask along its pixels' borders, in COCO's form; `polygons_to_mask` gives back exactly the same mask.

    One polygon for each 8-connected part. COCO's form knows no holes, so each hole is tied to the outline around it by
    a line that is walked both ways and runs the other way round: filling, by parity or by winding number, leaves it
    open, and the shoelace formula gives the true area, but a drawing of the outline alone shows that line.

    Args:
        mask: bool (H, W), or an integer mask of zeros and ones.

    Returns:
        Lists of ``[x0, y0, x1, y1, ...]``, whole numbers from 0 to W and from 0 to H; none for an empty mask.
    """
    mask = _to_binary(mask)
    if mask.ndim != 2:
        raise ValueError(f"mask must have shape (H, W), got {mask.shape}")
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return []
    left, top = int(columns[0]), int(rows[0])
    part = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    # OpenCV runs through pixel centres. On a mask of double size, a pixel's two borders are two different pixels,
    # 2x and 2x + 1, which halving upwards takes to the borders x and x + 1.
    doubled = part.view(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(2 * left, 2 * top))
    outlines = [((contour[:, 0] + 1) // 2) for contour in contours]
    polygons = {index: [outlines[index]] for index, parent in enumerate(hierarchy[0, :, 3]) if parent < 0}
    for index, parent in enumerate(hierarchy[0, :, 3]):
        if parent >= 0:  # a hole: go to its first corner, around it, back to that corner and to where we came from
            polygons[parent] += [outlines[parent][-1:], outlines[index], outlines[index][:1], outlines[parent][-1:]]
    return [np.concatenate(parts).astype(float).ravel().tolist() for parts in polygons.values()]


# What all converters share


def _library(array: "Array") -> Any:
    """Return the module that the array belongs to, numpy or torch, without importing torch."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return torch
    if isinstance(array, np.ndarray):
        return np
    raise TypeError(f"expected a NumPy array or a PyTorch tensor, got {type(array).__name__}")


def _to_binary(mask: "Array") -> np.ndarray:
    """Return a mask or a stack of masks as a bool array on the host."""
    array = mask if _library(mask) is np else mask.detach().cpu().numpy()
    if array.ndim not in (2, 3):
        raise ValueError(f"mask must have shape (H, W) or (N, H, W), got {array.shape}")
    if array.dtype == bool:
        return array
    if array.dtype.kind not in "ui":
        raise TypeError(f"mask must be bool, or integer with values 0 and 1, got {array.dtype}")
    if array.size and not 0 <= array.min() <= array.max() <= 1:
        raise ValueError(
            f"mask must hold only 0 and 1, got values {array.min()}..{array.max()}: "
            "choose one label first (mask == label), or split the map with labels_to_instances"
        )
    return array.astype(bool)


def _check_masks(masks: "Array") -> None:
    if masks.ndim < 3 or masks.dtype != _library(masks).bool:
        raise ValueError(f"masks must be bool of shape (..., N, H, W), got {masks.dtype} {tuple(masks.shape)}")


def _check_integers(name: str, array: "Array", dimensions: int | None = None) -> None:
    """Refuse floats, and maps of fewer than two dimensions or not of the given number."""
    if _library(array) is np:
        integer = array.dtype.kind in "uib"
    else:
        integer = not (array.dtype.is_floating_point or array.dtype.is_complex)
    if not integer:
        raise TypeError(f"{name} must be integers, got {array.dtype}")
    if array.ndim < 2 or dimensions not in (None, array.ndim):
        shape = "(..., H, W)" if dimensions is None else "(H, W), one map at a time"
        raise ValueError(f"{name} must have shape {shape}, got {tuple(array.shape)}")


def _check_panoptic(panoptic: "Array") -> None:
    _check_integers("panoptic", panoptic)
    if panoptic.ndim < 3 or panoptic.shape[-1] != 2:
        raise ValueError(f"panoptic must have shape (..., H, W, 2), got {tuple(panoptic.shape)}")
