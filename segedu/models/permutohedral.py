"""Gaussian filtering of many-dimensional features on the permutohedral lattice.

Points splat their values onto the corners of the simplices that they lie in, the lattice is blurred along each of its
directions, and each point slices its result from the same corners: time and memory grow with points and dimensions,
not with the square of either.

Source: Adams, Baek and Davis 2010, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", sections 3 and 4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from segedu.arrays import in_memory
from segedu.models.simplices import (
    elevate,
    enclosing_simplex,
    find_neighbours,
    key_strides,
    neighbour_steps,
    number,
)


class PermutohedralLattice:
    """The lattice around a batch of points: `filter(values)` weighs values by a Gaussian of the points' distance.

    A value's weight is about `exp(-|f_i - f_j|^2 / 2)`, times a constant that `normalise` takes away. Points of
    different batch entries do not see each other. No gradient flows to the features, and nothing here waits for the
    device: off the CPU, there is room for as many lattice points as there can be, B N (D + 1).

    Args:
        features: floating point (B, N, D), each already divided by its standard deviation.

    Attributes:
        vertices: int32 (B N, D + 1), the lattice points around each point.
        weights: float32 (B N, D + 1), the barycentric coordinates of the point among them.
        neighbours: int32 (D + 1, 2, M + 1), of each of M lattice points the one a step back and the one a step on
            along each direction. M stands for one that is not there; its value is always zero.

    Raises:
        TypeError: if the features are not floating point.
        ValueError: if they have another shape, or, on the CPU, are not finite or spread too far for 64-bit keys.
    """

    def __init__(self, features: Tensor) -> None:
        if not features.is_floating_point():
            raise TypeError(f"features must be floating point, got {features.dtype}")
        if features.ndim != 3 or 0 in features.shape:
            raise ValueError(f"features must have shape (B, N, D) and no empty axis, got {tuple(features.shape)}")
        B, N, D = features.shape
        self.gain = 1 / (1 + 2.0**-D)  # undoes what the blur adds, as Kraehenbuehl's code has it
        rows = features.detach().float().reshape(B * N, D)
        if in_memory(rows):
            from segedu.models import permutohedral_loops as loops

            self.vertices, self.weights, self.neighbours = loops.build(rows, N)
        else:
            elevated = elevate(rows)  # B N, D + 1
            strides, entry = key_strides(elevated.amin(0), elevated.amax(0), B)
            corners, self.weights = enclosing_simplex(elevated, strides)
            corners = corners.view(B, -1) + entry * torch.arange(B, device=features.device)[:, None]
            self.vertices, points = number(corners.view(B * N, D + 1))
            self.neighbours = find_neighbours(points, neighbour_steps(strides))

    def normalise(self) -> PermutohedralLattice:
        """Scale the filter so that, on either side, its weights are divided by the root of their sum.

        The result is `n^-1/2 K n^-1/2` with n = diag(K 1). Kraehenbuehl's code for dense CRFs does this by default.
        """
        total = self.filter(torch.ones_like(self.weights[None, :, :1]))[0]  # B N, 1
        self.weights = self.weights * (total + 1e-20).rsqrt()
        return self

    def filter(self, values: Tensor) -> Tensor:
        """Return at each point the sum of all values, weighted by the Gaussian.

        Args:
            values: floating point (B, N, K), on the features' device. Gradients flow to them.
        """
        if values.shape[:-1].numel() != len(self.vertices):
            raise ValueError(f"values must be those of {len(self.vertices)} points, got {tuple(values.shape)}")
        if in_memory(values) and values.dtype == torch.float32:
            from segedu.models import permutohedral_loops as loops

            return loops.splat_blur_slice(self, values)
        rows, weights = values.flatten(0, 1), self.weights.to(values.dtype)
        corners = list(zip(self.vertices.unbind(1), weights[..., None].unbind(1), strict=True))
        lattice = rows.new_zeros(self.neighbours.shape[2], rows.shape[1])  # M + 1, K
        for vertex, weight in corners:
            lattice.index_add_(0, vertex, weight * rows)
        for before, after in self.neighbours:
            lattice = lattice + (lattice.index_select(0, before) + lattice.index_select(0, after)) / 2
        sliced = sum(weight * lattice.index_select(0, vertex) for vertex, weight in corners)
        return (self.gain * sliced).view_as(values)
