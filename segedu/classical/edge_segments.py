"""From edges to regions: close the gaps in a map of edges, and number the areas that the edges enclose."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from segedu.arrays import Array, takes_arrays
from segedu.classical.regions import connected_components

TAIL = 5  # pixels that a curve's end looks back to learn where it is heading
AHEAD = 0.5  # cosine of the widest angle, 60°, between where a curve is heading and what it is joined to


@takes_arrays
def edge_segments(edges: Array, gap: int = 0, min_area: int = 1) -> Array:
    """Number the regions that a map of edges encloses. Waits for the device.

    Gaps are closed by `link_edges`. A region is then what hangs together by sides (4 neighbours) without an edge
    pixel: a contour of pixels that touch by their corners lets nothing through. `expand_labels` gives the edges'
    pixels and the small regions to their neighbours.

    Args:
        edges: bool (..., H, W), such as `canny` makes. Thin ones (a pixel wide) have ends that can be linked.
        gap: as for `link_edges`; 0 leaves gaps open.
        min_area: regions of fewer pixels get no number.

    Returns:
        Int32 (..., H, W): regions 1, 2, ... in each image, in the order of their first pixels, row by row; 0 on edges
        and in small regions.

    Raises:
        ValueError: if min_area is below 1.
    """
    if min_area < 1:
        raise ValueError(f"min_area must be a number of pixels, 1 or more, got {min_area}")
    labels = connected_components(~link_edges(edges, gap), neighbours=4)
    return _without_small(labels, min_area) if min_area > 1 else labels


@takes_arrays
def link_edges(edges: Array, gap: int) -> Array:
    """Join the ends of curves to what lies ahead of them. Waits for the device.

    An end is an edge pixel whose edge neighbours lie together on one side. From the last pixels behind it, it knows
    where it is heading; it is joined by a line of pixels to the nearest edge pixel, of its own or another curve, within
    60° of this direction. What lies outside the image counts as an edge, so a curve that stops just before the border
    reaches it.

    Args:
        edges: bool (..., H, W), curves a pixel wide.
        gap: the most pixels that may be missing, from 0; counted along x or y, whichever is more.

    Returns:
        Bool (..., H, W): all edges that were there, and the new ones.

    Raises:
        TypeError: if edges is not bool.
        ValueError: if gap is negative.
    """
    if edges.dtype != torch.bool:
        raise TypeError(f"edges must be bool, got {edges.dtype}: compare first, as in sobel(image) > 100")
    if edges.ndim < 2:
        raise ValueError(f"edges must have shape (..., H, W), got {tuple(edges.shape)}")
    if gap < 0:
        raise ValueError(f"gap must be a number of pixels, 0 or more, got {gap}")
    if gap == 0:
        return edges.clone()
    H, W = edges.shape[-2:]
    inside = edges.reshape(-1, H, W)
    reach = gap + 1
    image, y, x = torch.nonzero(_ends(inside), as_tuple=True)
    heading_x, heading_y = _headings(inside, image, y, x)
    heading = torch.hypot(heading_x, heading_y)
    framed = pad(inside, (reach,) * 4, value=True)
    y, x = y + reach, x + reach

    steps = [(dx, dy) for dx in range(-reach, reach + 1) for dy in range(-reach, reach + 1) if dx or dy]
    to_x, to_y = torch.zeros_like(x), torch.zeros_like(y)
    for dx, dy in sorted(steps, key=lambda step: -math.hypot(*step)):  # the nearest comes last and stays
        ahead = dx * heading_x + dy * heading_y > AHEAD * math.hypot(dx, dy) * heading
        hit = ahead & framed[image, y + dy, x + dx]
        to_x, to_y = torch.where(hit, dx, to_x), torch.where(hit, dy, to_y)

    linked = framed.clone()
    length = torch.maximum(to_x.abs(), to_y.abs()).clamp(min=1)
    for step in range(1, reach):
        part = torch.clamp(step / length, max=1)
        linked[image, y + (part * to_y).round().long(), x + (part * to_x).round().long()] = True
    return linked[:, reach:-reach, reach:-reach].reshape(edges.shape)


@takes_arrays
def expand_labels(labels: Array) -> Array:
    """Give every pixel without a label, 0, the label of the nearest pixel that has one. Waits for the device.

    Labels grow by one pixel at a time in the four directions, so the nearest is that with the fewest steps; among
    equals the highest label wins. An image without any label stays as it is.

    Args:
        labels: integer (..., H, W), from 0.

    Returns:
        The same dtype and shape.
    """
    if labels.dtype == torch.bool or labels.is_floating_point() or labels.ndim < 2:
        raise TypeError(f"labels must be integers of shape (..., H, W), got {labels.dtype} {tuple(labels.shape)}")
    H, W = labels.shape[-2:]
    # Images in a row, with a frame of -1 around each: then the neighbours of pixel i are i - 1, i + 1 and so on.
    signed = labels if labels.dtype == torch.int64 else labels.int()
    framed = pad(signed.reshape(-1, H, W), (1, 1, 1, 1), value=-1)
    flat = framed.view(-1)
    steps = torch.tensor([-1, 1, -(W + 2), W + 2], device=labels.device)
    front = torch.nonzero((framed == 0) & (_largest_neighbour(framed) > 0).view_as(framed)).view(-1, 3)
    front = (front[:, 0] * (H + 2) + front[:, 1]) * (W + 2) + front[:, 2]
    while len(front):
        around = front[:, None] + steps
        flat[front] = flat[around].amax(1)
        around = around.view(-1)
        front = around[flat[around] == 0].unique()
    return framed[:, 1:-1, 1:-1].reshape(labels.shape).to(labels.dtype)


def _ends(edges: Tensor) -> Tensor:
    """Mark edge pixels with one edge neighbour, or two that touch each other."""
    H, W = edges.shape[-2:]
    framed = pad(edges, (1, 1, 1, 1)).to(torch.uint8)
    steps = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))  # clockwise from the upper left
    ring = [framed[..., i : i + H, j : j + W] for i, j in steps]
    runs = sum((1 - ring[k - 1]) * ring[k] for k in range(8))
    return edges & (runs == 1) & (sum(ring) <= 2)


def _headings(edges: Tensor, image: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Walk from each end along its curve, always to the neighbour farthest from the end, and look back."""
    framed = pad(edges, (1, 1, 1, 1))
    y, x = y + 1, x + 1
    tail_x, tail_y = x, y
    around = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    for _ in range(TAIL):
        next_x, next_y, farthest = tail_x, tail_y, (tail_x - x) ** 2 + (tail_y - y) ** 2
        for dx, dy in around:
            distance = (tail_x + dx - x) ** 2 + (tail_y + dy - y) ** 2
            better = framed[image, tail_y + dy, tail_x + dx] & (distance > farthest)
            next_x, next_y = torch.where(better, tail_x + dx, next_x), torch.where(better, tail_y + dy, next_y)
            farthest = torch.where(better, distance, farthest)
        # The frame holds no edges, so the walk never leaves the image.
        tail_x, tail_y = next_x, next_y
    return (x - tail_x).float(), (y - tail_y).float()


def _without_small(labels: Tensor, min_area: int) -> Tensor:
    H, W = labels.shape[-2:]
    images = labels.reshape(-1, H, W)
    count = int(labels.max()) + 1
    own = images + count * torch.arange(len(images), device=labels.device, dtype=labels.dtype)[:, None, None]
    areas = torch.bincount(own.flatten(), minlength=count * len(images)).view(-1, count)
    large = areas >= min_area
    large[:, 0] = False
    numbers = (large.cumsum(1) * large).to(labels.dtype)
    return numbers.flatten()[own].reshape(labels.shape)


def _largest_neighbour(framed: Tensor) -> Tensor:
    """The largest label of the four neighbours of each pixel but the frame's, where it is -1."""
    inner = framed[:, 1:-1, 1:-1]
    sides = (framed[:, 1:-1, :-2], framed[:, 1:-1, 2:], framed[:, :-2, 1:-1], framed[:, 2:, 1:-1])
    largest = torch.full_like(framed, -1)
    largest[:, 1:-1, 1:-1] = inner
    for side in sides:
        torch.maximum(largest[:, 1:-1, 1:-1], side, out=largest[:, 1:-1, 1:-1])
    return largest
