"""Pictures of segmentations: colours that colour-blind readers can tell apart, overlays, difference maps and panels.

Everything takes NumPy arrays or PyTorch tensors (a tensor on a device is fetched, which waits for the device) and works
without torch; matplotlib is loaded when the first figure is made.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PALETTE = np.array(
    [
        # Okabe and Ito, "Color Universal Design" (2008); black first, for the background where there is one.
        (0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115),
        (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
        # Each further colour is the one farthest (CIEDE2000) from all before it and from VOID, in the worst of normal
        # vision and simulated protanopia, deuteranopia and tritanopia.
        (119, 34, 0), (0, 68, 85), (51, 0, 187), (102, 102, 102),
        (170, 204, 153), (153, 85, 68), (136, 119, 255), (170, 221, 255),
        (187, 170, 170), (187, 51, 0), (85, 17, 255), (153, 102, 136),
        (136, 255, 153), (153, 170, 102), (153, 0, 119), (204, 0, 170),
    ],
    dtype=np.uint8,
)  # fmt: skip
"""Colours of labels 0 to 23, (24, 3) uint8 RGB, made so that any two differ for readers with any colour vision."""

VOID = (224, 224, 224)
"""Colour of pixels without a label."""

DIFFERENCE_COLOURS = {
    "true positive": (86, 180, 233),
    "false positive": (213, 94, 0),
    "false negative": (0, 84, 138),
    "true negative": (34, 34, 34),
}
"""Colours of `difference`, which differ in grey, too; pass them to `panel(..., legend=DIFFERENCE_COLOURS)`."""


def colorize(labels: Any, palette: Any = None, ignore_index: int | None = 255) -> np.ndarray:
    """Paint a label map: label k gets the palette's colour k, and after the last colour it starts again at 1.

    Args:
        labels: integer or bool (H, W), labels 0 and up; or a panoptic map (H, W, 2), painted by category.
        palette: (K, 3) uint8 RGB with K >= 2; `PALETTE` if None.
        ignore_index: this label is painted `VOID`; None if every label counts.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    labels = _categories(_to_numpy(labels))
    palette = PALETTE if palette is None else np.asarray(palette, np.uint8)
    valid = labels != ignore_index
    if (labels[valid] < 0).any():
        raise ValueError(f"labels must be 0 or more, or ignore_index ({ignore_index}), got {labels[valid].min()}")
    # Colour 0 is left out of the repetition: it often means the background.
    index = np.where(labels < len(palette), labels, (labels - 1) % (len(palette) - 1) + 1)
    colours = palette[np.where(valid, index, 0)]
    colours[~valid] = VOID
    return colours


def legend(
    labels: Any, names: Sequence[str], palette: Any = None, ignore_index: int | None = 255
) -> dict[str, tuple[int, int, int]]:
    """Name the colours that `colorize` gives to the labels in a map, for `panel(..., legend=legend(labels, names))`.

    Args:
        labels: integer (H, W), or panoptic (H, W, 2); only labels that occur get an entry, in ascending order.
        names: the name of label k at place k.
        palette: as for `colorize`.
        ignore_index: as for `colorize`; if it occurs, it is the entry "void", the last one.
    """
    present = np.unique(_categories(_to_numpy(labels)))
    known = present[present != ignore_index]
    if known.size and known[-1] >= len(names):
        raise ValueError(f"names must have a name for label {known[-1]}, got {len(names)} names")
    colours = colorize(known[None], palette, ignore_index=None)[0].tolist()
    entries = {names[label]: tuple(colour) for label, colour in zip(known, colours, strict=True)}
    return entries | ({"void": VOID} if known.size < present.size else {})


def overlay(
    image: Any,
    labels_or_masks: Any,
    alpha: float = 0.5,
    outline: bool = True,
    palette: Any = None,
    ignore_index: int | None = 255,
) -> np.ndarray:
    """Lay a segmentation over its image, outlined so that segments of one colour that touch can be told apart.

    Args:
        image: (H, W), (H, W, 3) or a tensor (C, H, W) with C 1 or 3; uint8, or float in [0, 1].
        labels_or_masks: one of
            a label map, integer (H, W), painted as by `colorize` (`ignore_index=0` leaves the background as it is);
            a panoptic map, integer (H, W, 2), painted by category and outlined by segment;
            masks, bool (N, H, W) or one (H, W), in the palette's colours 1, 2, ...; a later mask lies on top.
        alpha: how much of the colour covers the image, 0 to 1.
        outline: draw the inner border of every segment in white, one pixel wide on each side.
        palette: (K, 3) uint8 RGB with K >= 2; `PALETTE` if None.
        ignore_index: pixels with this label show the image.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    picture = to_rgb(image).astype(np.float32)
    labels, segments, painted = _segments(_to_numpy(labels_or_masks), ignore_index)
    if labels.shape != picture.shape[:2]:
        raise ValueError(f"image is {picture.shape[:2]}, labels or masks are {labels.shape}: make them equal")
    colours = colorize(np.where(painted, labels, 0), palette, ignore_index=None)
    picture[painted] += alpha * (colours[painted] - picture[painted])
    if outline:
        border = _inner_border(segments) & painted
        picture[border] = 255
    return np.rint(picture).astype(np.uint8)


def difference(pred: Any, target: Any, ignore_index: int | None = 255) -> np.ndarray:
    """Show where a mask is right and how it is wrong, in `DIFFERENCE_COLOURS`; compare one class at a time.

    Args:
        pred: bool or 0/1 (H, W).
        target: bool or 0/1 (H, W); pixels equal to `ignore_index` are painted `VOID`.
        ignore_index: the label of pixels that do not count, or None.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    pred, target = _to_numpy(pred), _to_numpy(target)
    if pred.shape != target.shape or pred.ndim != 2:
        raise ValueError(f"pred and target must both be (H, W), got {pred.shape} and {target.shape}")
    counts = target != ignore_index
    for name, values in (("pred", pred[counts]), ("target", target[counts])):
        if not np.isin(values, (0, 1)).all():
            raise ValueError(f"{name} must hold 0 and 1 only: for one class c of a label map pass {name} == c")
    kinds = np.array(list(DIFFERENCE_COLOURS.values()), np.uint8)  # in the order TP, FP, FN, TN
    picture = kinds[np.where(pred == 1, np.where(target == 1, 0, 1), np.where(target == 1, 2, 3))]
    picture[~counts] = VOID
    return picture


def panel(
    images: Sequence[Any],
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    legend: Sequence[str] | Mapping[str, Any] | None = None,
    width: float = 9.0,
    palette: Any = None,
) -> "Figure":
    """Set pictures side by side in a figure, every pixel a square and no axes.

    The figure has a white ground of its own, so it reads alike on light and dark pages. A notebook shows it once, as
    the value of the cell's last line.

    Args:
        images: each as for `overlay`; bool and single-channel ones are shown in grey, float (H, W) from its least
            value to its greatest. Label maps need `colorize` first.
        titles: one for each image.
        columns: pictures a row; all in one row up to four, else four.
        legend: class names in the order of their labels, or a mapping from names to RGB colours (0-255) such as
            `legend` makes.
        width: of the figure in inches; the height follows.
        palette: colours for a legend of names; `PALETTE` if None.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    pictures = [_for_display(image) for image in images]
    if not pictures:
        raise ValueError("images must hold at least one picture, got none")
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(f"titles must be as many as images, got {len(titles)} titles for {len(pictures)} images")
    columns = columns or min(len(pictures), 4)
    rows = -(-len(pictures) // columns)
    aspects = [picture.shape[0] / picture.shape[1] for picture in pictures]
    tallest = [max(aspects[row * columns : (row + 1) * columns]) for row in range(rows)]
    heights = [width / columns * aspect + (0.3 if titles else 0.06) for aspect in tallest]  # inches
    if legend is not None and not isinstance(legend, Mapping):
        legend = dict(zip(legend, colorize(np.arange(len(legend))[None], palette, ignore_index=None)[0], strict=True))

    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(width, sum(heights)),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
        facecolor="white",
    )
    plt.close(figure)  # or a notebook would show it twice: as an open figure and as the cell's value
    for axis in axes.flat:
        axis.set_axis_off()
    for index, (axis, picture) in enumerate(zip(axes.flat, pictures, strict=False)):
        axis.imshow(picture, cmap="gray", interpolation="nearest")
        if titles is not None:
            axis.set_title(titles[index], fontsize=10, color="black")
    if legend is not None:
        handles = [
            Patch(facecolor=np.asarray(colour) / 255, edgecolor="black", linewidth=0.5, label=name)
            for name, colour in legend.items()
        ]
        entry_width = 0.7 + 0.08 * max(len(name) for name in legend)  # inches, of a legend's entry in this size
        per_row = min(len(handles), max(1, int(width / entry_width)))
        figure.set_figheight(figure.get_figheight() + 0.1 + 0.2 * -(-len(handles) // per_row))
        figure.legend(handles=handles, loc="outside lower center", ncols=per_row, fontsize=9, frameon=False)
    return figure


def to_rgb(image: Any) -> np.ndarray:
    """Bring an image as it comes to (H, W, 3) uint8 RGB.

    Takes (H, W), (H, W, 1 or 3 or 4; alpha is dropped) or (1 or 3, H, W); bool, uint8, or float in [0, 1].
    """
    image = _to_numpy(image)
    if image.ndim == 3 and image.shape[2] not in (1, 3, 4) and image.shape[0] in (1, 3):
        image = np.moveaxis(image, 0, 2)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        raise ValueError(f"an image must be (H, W), (H, W, 3) or (3, H, W), got {image.shape}: pass one at a time")
    if image.dtype == bool:
        image = image.astype(np.uint8) * 255
    elif np.issubdtype(image.dtype, np.floating):
        if image.size and not 0 <= image.min() <= image.max() <= 1:  # also false for NaN
            raise ValueError(f"a float image must lie in [0, 1], got {image.min()} to {image.max()}: scale it first")
        image = np.rint(image * 255).astype(np.uint8)
    elif image.dtype != np.uint8:
        raise ValueError(f"an image must be uint8, bool or float, got {image.dtype}: colorize label maps first")
    return np.ascontiguousarray(np.broadcast_to(image[..., :3], (*image.shape[:2], 3)))


def _to_numpy(array: Any) -> np.ndarray:
    if hasattr(array, "detach"):  # a torch tensor, recognised without importing torch
        array = array.detach().cpu().numpy()
    return np.asarray(array)


def _categories(labels: np.ndarray) -> np.ndarray:
    """Check a label or panoptic map and return the labels as int64 (H, W), in which no dtype wraps around."""
    if labels.ndim == 3 and labels.shape[2] == 2:
        labels = labels[..., 0]
    if labels.ndim != 2 or labels.dtype.kind not in "bui":
        raise ValueError(f"labels must be integer (H, W), or (H, W, 2) if panoptic, got {labels.dtype} {labels.shape}")
    return labels.astype(np.int64)


def _segments(array: np.ndarray, ignore_index: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split any form of segmentation into labels to colour, segment ids to outline, and which pixels to paint."""
    if array.dtype == bool:
        masks = array[None] if array.ndim == 2 else array
        if masks.ndim != 3:
            raise ValueError(f"masks must be bool (N, H, W) or (H, W), got {array.shape}")
        labels = np.zeros(masks.shape[1:], np.int64)
        for number, mask in enumerate(masks, start=1):
            labels[mask] = number
        return labels, labels, labels > 0
    labels = _categories(array)
    instance = array[..., 1].astype(np.int64) if array.ndim == 3 else np.zeros_like(labels)
    return labels, labels * (instance.max(initial=0) + 1) + instance, labels != ignore_index


def _inner_border(segments: np.ndarray) -> np.ndarray:
    """Pixels (H, W) with a 4-neighbour of another segment, so a border is two pixels wide, one on each side."""
    border = np.zeros(segments.shape, bool)
    across, down = segments[:, 1:] != segments[:, :-1], segments[1:] != segments[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    return border


def _for_display(image: Any) -> np.ndarray:
    image = _to_numpy(image)
    return image if image.ndim == 2 and image.dtype.kind == "f" else to_rgb(image)
