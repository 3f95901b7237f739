"""Small pictures for feedback, as HTML that needs no style sheet: images, tables of numbers, text.

They are made for every failing test of every student, so they take a millisecond, not a figure of Matplotlib.
"""

from __future__ import annotations

import base64
import html
import io
from typing import Any

import numpy as np
from PIL import Image

from autograder.results import Panel

TABLE_CELLS = 100  # up to so many numbers are shown as a table
TABLE_COLUMNS = 12
MAX_PIXELS = 2**22  # larger arrays are described: no exercise's answer is one, and colours take time
SHEET_COLUMNS = 4
SHEET_GAP = np.uint8([0xDD, 0x99, 0x55])  # between feature maps: no grey
WIDTH = 180  # of an image on the page, in CSS pixels
_WRONG = "#d55e00"  # vermilion: told apart from grey with any kind of colour vision
_CELL = "border:1px solid #8888;padding:1px 5px;text-align:right"


def describe(value: Any) -> str:
    """`value` in a few words: numbers and short lists themselves, of arrays the shape and dtype."""
    if hasattr(value, "detach"):
        return f"a tensor of shape {tuple(value.shape)} and dtype {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if value is None:
        return "None (is a `return` missing?)"
    if isinstance(value, list | tuple) and len(value) > 12:
        return f"a {type(value).__name__} of {len(value)} values that starts {list(value[:8])!r}"[:200]
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:150]} ..."


def picture(value: Any, beside: np.ndarray | None = None, tolerance: float = 0.0) -> str:
    """HTML that shows `value`.

    Masks, label maps, stacks of masks, panoptic maps (category, instance), grey and colour images, and feature maps
    (..., H, W) become pictures; small arrays become tables, one for each feature map, in which numbers that differ
    from `beside` by more than `tolerance` are marked.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf" or not 0 < value.size <= MAX_PIXELS:
        return _text(value)
    if value.ndim <= 2 and value.size <= TABLE_CELLS and value.shape[-1:] <= (TABLE_COLUMNS,):
        return _table(value, beside, tolerance)
    if _are_feature_maps(value) and value.size <= TABLE_CELLS and value.shape[-1] <= TABLE_COLUMNS:
        alike = beside is not None and beside.shape == value.shape
        others = _stack(beside) if alike else [None] * len(_stack(value))
        return "".join(_table(one, other, tolerance) for one, other in zip(_stack(value), others, strict=True))
    pixels = _pixels(value, beside)
    return _text(value) if pixels is None else _image(pixels)


def difference(got: np.ndarray, want: np.ndarray, tolerance: float = 0.0) -> list[Panel]:
    """A panel that marks where two maps of one shape differ by more than `tolerance`.

    None for what is shown as a table or is no map.
    """
    if got.ndim < 2 or got.size <= TABLE_CELLS or _pixels(want) is None:
        return []
    wrong = wrong_where(got, want, tolerance)
    if _are_feature_maps(want):
        wrong = _stack(wrong).any(axis=0)
    elif wrong.ndim == 3:
        wrong = wrong.any(axis=0 if want.dtype.kind == "b" else -1)
    pixels = np.where(wrong[..., None], np.uint8([0xD5, 0x5E, 0x00]), np.uint8([0xDD, 0xDD, 0xDD]))
    return [Panel(f"difference: {int(wrong.sum()):,} of {wrong.size:,} pixels", _image(pixels))]


def wrong_where(got: np.ndarray, want: np.ndarray, tolerance: float = 0.0) -> np.ndarray:
    """Where two arrays of one shape differ by more than `tolerance`; NaN equals NaN."""
    if tolerance == 0 and got.dtype.kind in "biu" and want.dtype.kind in "biu":
        return got != want
    with np.errstate(invalid="ignore"):
        got, want = got.astype(np.float64), want.astype(np.float64)
        same = (got == want) | (np.abs(got - want) <= tolerance) | (np.isnan(got) & np.isnan(want))
    return ~same


def _text(value: Any) -> str:
    return f'<code style="white-space:pre-wrap">{html.escape(describe(value))}</code>'


def _table(value: np.ndarray, beside: np.ndarray | None, tolerance: float) -> str:
    grid = np.atleast_2d(value)
    wrong = np.zeros(grid.shape, bool)
    if beside is not None and beside.shape == value.shape:
        wrong = wrong_where(grid, np.atleast_2d(beside), tolerance)
    rows = []
    for numbers, marks in zip(grid.tolist(), wrong.tolist(), strict=True):
        cells = (
            f'<td style="{_CELL};{f"outline:2px solid {_WRONG};font-weight:bold" if mark else ""}">{_number(n)}</td>'
            for n, mark in zip(numbers, marks, strict=True)
        )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table style="border-collapse:collapse;font-family:monospace">{"".join(rows)}</table>'


def _number(number: float) -> str:
    if isinstance(number, bool):
        return str(int(number))
    return f"{number:.4g}" if isinstance(number, float) else str(number)


def _pixels(value: np.ndarray, beside: np.ndarray | None = None) -> np.ndarray | None:
    """(H, W, 3) uint8 for a map of pixels, else None; labels of `beside` get the same colours there."""
    from segedu.plots import colorize  # here, so that a grader which only passes students never loads it

    if value.ndim == 2 and value.dtype.kind == "b":
        return np.where(value[..., None], np.uint8([0x00, 0x72, 0xB2]), np.uint8([0xEE, 0xEE, 0xEE]))
    if value.ndim == 2 and value.dtype.kind in "iu":
        return colorize(_as_labels(value, beside))
    if value.ndim == 2:
        low, high = np.nanmin(value), np.nanmax(value)
        grey = (np.nan_to_num(value) - low) / max(high - low, 1e-12) * 255
        return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    if value.ndim == 3 and value.dtype == np.uint8 and value.shape[2] == 3:
        return value
    if value.ndim == 3 and value.dtype.kind in "iu" and value.shape[2] == 2:
        pairs = value.reshape(-1, 2)
        return colorize(np.unique(pairs, axis=0, return_inverse=True)[1].reshape(value.shape[:2]) % 255)
    if value.ndim == 3 and value.dtype.kind == "b":
        labels = np.zeros(value.shape[1:], np.int64)
        for number, mask in enumerate(value, start=1):
            labels[mask] = number % 255
        return colorize(labels)
    if _are_feature_maps(value):
        return _sheet(_stack(value))
    return None


def _are_feature_maps(value: np.ndarray) -> bool:
    """Whether an array of three or four axes is no stack of masks, colour image or panoptic map."""
    if value.ndim not in (3, 4) or value.dtype.kind == "b":
        return False
    return value.ndim == 4 or value.dtype.kind == "f" or value.shape[2] not in (2, 3)


def _stack(maps: np.ndarray) -> np.ndarray:
    return maps.reshape(-1, *maps.shape[-2:])


def _sheet(maps: np.ndarray) -> np.ndarray:
    """Feature maps (N, H, W) side by side, (H', W', 3) uint8: from left to right, at most `SHEET_COLUMNS` in a row."""
    maps = maps.astype(np.float64)
    N, H, W = maps.shape
    columns = min(N, SHEET_COLUMNS)
    rows = -(-N // columns)
    grey = _pixels(maps.reshape(-1, W))[..., 0].reshape(maps.shape)
    sheet = np.full((rows * (H + 1), columns * (W + 1), 3), SHEET_GAP, np.uint8)
    for number, one in enumerate(grey):
        y, x = number // columns * (H + 1), number % columns * (W + 1)
        sheet[y : y + H, x : x + W] = one[..., None]
    return sheet[:-1, :-1]


def _as_labels(value: np.ndarray, beside: np.ndarray | None) -> np.ndarray:
    """Labels that the palette can tell apart: small ones as they are, others by their rank in both pictures."""
    numbers = np.unique(value)
    if beside is not None and beside.dtype.kind in "iu":
        numbers = np.union1d(numbers, beside)
    if ((numbers >= 0) & (numbers < 24) | (numbers == 255)).all():
        return value.astype(np.int64)
    return np.searchsorted(numbers, value) % 255


def _image(pixels: np.ndarray) -> str:
    height, width = pixels.shape[:2]
    if max(height, width) > 4 * WIDTH:
        step = -(-max(height, width) // (2 * WIDTH))
        pixels = pixels[::step, ::step]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=1)
    data = base64.b64encode(buffer.getvalue()).decode()
    shown = WIDTH if width >= height else max(1, round(WIDTH * width / height))
    return f'<img alt="" style="width:{shown}px;image-rendering:pixelated" src="data:image/png;base64,{data}">'
