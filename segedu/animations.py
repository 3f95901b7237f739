"""Animations of convolution and transposed convolution: one grid above another, and a kernel that walks between them.

They are drawn as SVG and moved by a style sheet alone, so they need no script, no video and no other host. The reader
can pause them; for readers who asked their system for less motion, one telling frame stands still.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from segedu.arithmetic.sizes import output_size, transposed_output_size

Cell = tuple[int, int]  # row and column

STYLE = """
.kernel-walk { display: inline-block; max-width: 100%; box-sizing: border-box; padding: .6rem 1rem .4rem;
  border-radius: 6px; background: #fff; color: #1d2733; font: 14px sans-serif; }
.kernel-walk svg { display: block; max-width: 100%; height: auto; margin-bottom: .4rem; }
.kernel-walk path { fill: #fff; stroke: #33414e; stroke-linejoin: round; }
.kernel-walk .padding { fill: none; stroke: #8895a3; stroke-dasharray: 3 3; }
.kernel-walk .padding.now { fill: #aeb9c4; }
.kernel-walk .input { fill: #d3e7f5; }
.kernel-walk .input.now { fill: #0072b2; }
.kernel-walk .output.done { fill: #c3e8dc; }
.kernel-walk .output.now { fill: #009e73; }
.kernel-walk .rays { fill: none; stroke-dasharray: 5 3; }
.kernel-walk text { font: 12px sans-serif; text-anchor: middle; fill: #1d2733; }
.kernel-walk text.now { fill: #fff; font-weight: bold; }
.kernel-walk label { cursor: pointer; }
.kernel-walk .frame { visibility: hidden; animation: var(--name) calc(var(--frames) * .7s) step-end infinite;
  animation-delay: calc((var(--frame) - var(--frames)) * .7s); }
.kernel-walk:has(input:checked) .frame { animation-play-state: paused; }
@media (prefers-reduced-motion: reduce) {
  .kernel-walk .frame { animation: none; }
  .kernel-walk .frame.still { visibility: visible; }
  .kernel-walk label { display: none; }
}
"""


@dataclass(frozen=True)
class Grid:
    """A square of cells that lies flat and is seen from the front, slightly from above.

    Attributes:
        side: cells along each side, without padding.
        padding: cells around it.
        x: of the back left corner of cell (0, 0), in pixels.
        y: of the same corner.
    """

    side: int
    padding: int = 0
    x: float = 0
    y: float = 0

    WIDTH, LEAN, DEPTH = 30, 13, 17  # of a cell in pixels: its front, the shift from back to front, back to front

    def __contains__(self, cell: Cell) -> bool:
        return all(0 <= index < self.side for index in cell)

    def corner(self, cell: Cell) -> tuple[float, float]:
        """The back left corner of a cell in pixels; the padding has cells below 0 and beyond the side."""
        row, column = cell
        return self.x + column * self.WIDTH - row * self.LEAN, self.y + row * self.DEPTH

    def draw(self, kind: str, cells: Iterable[Cell]) -> str:
        """Cells as one SVG path; `kind` is its classes."""
        outline = f"h{self.WIDTH}l{-self.LEAN} {self.DEPTH}h{-self.WIDTH}z"
        shapes = "".join(f"M{x:g} {y:g}{outline}" for x, y in map(self.corner, cells))
        return f'<path class="{kind}" d="{shapes}"/>' if shapes else ""

    def write(self, kind: str, cell: Cell, text: object) -> str:
        """A text in the middle of a cell."""
        x, y = self.corner(cell)
        x, y = x + (self.WIDTH - self.LEAN) / 2, y + self.DEPTH / 2 + 4
        return f'<text class="{kind}" x="{x:g}" y="{y:g}">{text}</text>'

    def draw_padding(self) -> str:
        reach = range(-self.padding, self.side + self.padding)
        return self.draw("padding", (cell for cell in itertools.product(reach, reach) if cell not in self))


@dataclass(frozen=True)
class KernelWalk:
    """How a kernel connects an input with an output, position by position. A notebook shows it as an animation.

    Attributes:
        input_size: side of the input, without padding.
        output_size: side of the output; of a transposed convolution, without what padding cuts off.
        padding: cells around the larger grid. A convolution reads zeros there; what a transposed one writes is cut off.
        windows: for each position of the kernel the cells that its taps meet: inputs of a convolution, by the output's
            (row, column); outputs of a transposed one, by the input's. Cells of the padding are below 0 or beyond.
        transposed: which of the two.
    """

    input_size: int
    output_size: int
    padding: int
    windows: dict[Cell, tuple[Cell, ...]]
    transposed: bool

    @property
    def description(self) -> str:
        """What the animation shows, for readers who cannot see it."""
        taps = len(next(iter(self.windows.values())))
        below, above = (f"{side} by {side}" for side in (self.input_size, self.output_size))
        margin = f" with padding of {self.padding} on each side" if self.padding else ""
        if self.transposed:
            return (
                f"Below, an input of {below} cells; above, an output of {above}{margin}. Input after input writes to "
                f"{taps} cells of the output each, and a number in each cell counts how many inputs wrote to it."
            )
        return (
            f"Below, an input of {below} cells{margin}; above, an output of {above}. Output after output reads {taps} "
            "cells of the input each, while the window of those cells walks over the input, row by row."
        )

    def _repr_html_(self) -> str:
        """The animation with its style, complete: it can stand in any page."""
        below, above, width, height = self._grids()
        if self.transposed:
            ground = below.draw("input", self.windows) + above.draw_padding() + above.draw("output", _all(above))
            frames = [self._writing(number, below, above) for number in range(len(self.windows))]
        else:
            ground = below.draw_padding() + below.draw("input", _all(below)) + above.draw("output", self.windows)
            frames = [self._reading(number, below, above) for number in range(len(self.windows))]
        still = len(frames) - 1 if self.transposed else len(frames) // 2
        name = f"kernel-walk-{len(frames)}"
        keyframes = f"0% {{ visibility: visible }} {100 / len(frames):.3f}%, 100% {{ visibility: hidden }}"
        shown = (
            f'<g class="frame{" still" * (number == still)}" style="--frame: {number}">{frame}</g>'
            for number, frame in enumerate(frames)
        )
        return (
            f"<style>{STYLE}@keyframes {name} {{ {keyframes} }}</style>"
            f'<div class="kernel-walk" style="--name: {name}; --frames: {len(frames)}">'
            f'<svg width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}" role="img" '
            f'aria-label="{escape(self.description)}">{ground}{"".join(shown)}</svg>'
            '<label><input type="checkbox"> Pause</label></div>'
        )

    def _grids(self) -> tuple[Grid, Grid, float, float]:
        """The grid below, the one above, and the width and height of the picture."""
        margins = (0, self.padding) if self.transposed else (self.padding, 0)
        sides = [self.input_size + 2 * margins[0], self.output_size + 2 * margins[1]]
        extents = [side * (Grid.WIDTH + Grid.LEAN) for side in sides]
        deep = [side * Grid.DEPTH for side in sides]
        gap, rim = 1.5 * Grid.DEPTH, 2
        grids = []
        for size, margin, side, extent, top in zip(
            (self.input_size, self.output_size), margins, sides, extents, (deep[1] + gap, 0), strict=True
        ):
            x = rim + (max(extents) - extent) / 2 + side * Grid.LEAN
            grids.append(Grid(size, margin, x + margin * (Grid.WIDTH - Grid.LEAN), rim + top + margin * Grid.DEPTH))
        return *grids, max(extents) + 2 * rim, sum(deep) + gap + 2 * rim

    def _reading(self, number: int, below: Grid, above: Grid) -> str:
        """A frame of a convolution."""
        positions = list(self.windows)
        window = self.windows[positions[number]]
        return (
            above.draw("output done", positions[:number])
            + below.draw("padding now", (cell for cell in window if cell not in below))
            + below.draw("input now", filter(below.__contains__, window))
            + _rays(below, window, above, (positions[number],))
            + above.draw("output now", [positions[number]])
        )

    def _writing(self, number: int, below: Grid, above: Grid) -> str:
        """A frame of a transposed convolution."""
        positions = list(self.windows)
        window = self.windows[positions[number]]
        times = Counter(cell for position in positions[: number + 1] for cell in self.windows[position])
        return (
            below.draw("input now", [positions[number]])
            + above.draw("padding now", (cell for cell in window if cell not in above))
            + above.draw("output done", (cell for cell in times if cell in above and cell not in window))
            + above.draw("output now", filter(above.__contains__, window))
            + _rays(below, (positions[number],), above, window)
            + "".join(above.write("now" * (cell in window), cell, times[cell]) for cell in times if cell in above)
        )


def walk_convolution(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> KernelWalk:
    """Walk over a square input of `size` cells: arguments and errors are those of `output_size`."""
    outputs = output_size(size, kernel, stride, padding, dilation)
    return KernelWalk(size, outputs, padding, _windows(outputs, kernel, stride, padding, dilation), transposed=False)


def walk_transposed_convolution(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> KernelWalk:
    """Write from a square input of `size` cells: arguments and errors are those of `transposed_output_size`."""
    outputs = transposed_output_size(size, kernel, stride, padding, dilation)
    return KernelWalk(size, outputs, padding, _windows(size, kernel, stride, padding, dilation), transposed=True)


def _windows(positions: int, kernel: int, stride: int, padding: int, dilation: int) -> dict[Cell, tuple[Cell, ...]]:
    """The cells under the taps, by the position of the kernel: the same for a convolution and for its transpose."""
    along = [tuple(stride * i - padding + dilation * k for k in range(kernel)) for i in range(positions)]
    return {
        (i, j): tuple(itertools.product(along[i], along[j])) for i, j in itertools.product(range(positions), repeat=2)
    }


def _all(grid: Grid) -> Iterable[Cell]:
    return itertools.product(range(grid.side), repeat=2)


def _rays(below: Grid, cells: tuple[Cell, ...], above: Grid, others: tuple[Cell, ...]) -> str:
    """Lines between the outer corners of two windows."""
    lines = zip(_corners(below, cells), _corners(above, others), strict=True)
    return f'<path class="rays" d="{"".join(f"M{x:g} {y:g}L{u:g} {v:g}" for (x, y), (u, v) in lines)}"/>'


def _corners(grid: Grid, cells: tuple[Cell, ...]) -> list[tuple[float, float]]:
    (top, left), (bottom, right) = cells[0], cells[-1]
    return [grid.corner(corner) for corner in itertools.product((top, bottom + 1), (left, right + 1))]
