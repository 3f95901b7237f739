"""Dense CRFs: every pixel is a neighbour of every other, and pixels of like colour pull each other to one label.

`DenseCRF` filters with the permutohedral lattice, as in practice; `ExactDenseCRF` adds up all pairs of pixels, for
small images.

Sources: Kraehenbuehl and Koltun 2011, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials";
Chen et al. 2018, "DeepLab", whose parameters are the defaults; for the learnt compatibility Zheng et al. 2015,
"Conditional Random Fields as Recurrent Neural Networks".
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.arrays import in_memory
from segedu.models.permutohedral import PermutohedralLattice


class ExactKernel:
    """A Gaussian of the features (B, N, D) of all pairs of points, normalised on both sides. Memory grows with N^2."""

    def __init__(self, features: Tensor) -> None:
        distances = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
        k = (-(distances**2) / 2).exp()  # B, N, N
        norm = k.sum(2).rsqrt()
        self.k = norm[:, :, None] * k * norm[:, None]

    def filter(self, values: Tensor) -> Tensor:
        """Return sum_j k(i, j) values_j for values (B, N, K)."""
        return self.k.to(values.dtype) @ values


Kernel = ExactKernel | PermutohedralLattice


class ExactDenseCRF(nn.Module):
    """Mean-field inference in a fully connected CRF, by sums over all pairs of pixels: `DenseCRF` says the rest.

    An image of 64 x 64 pixels takes 300 MB.
    """

    def __init__(
        self,
        num_classes: int,
        iterations: int = 10,
        gaussian_weight: float = 3.0,
        gaussian_sigma: float = 3.0,
        bilateral_weight: float = 4.0,
        bilateral_sigma_xy: float = 49.0,
        bilateral_sigma_rgb: float = 5.0,
        compatibility: str = "potts",
    ) -> None:
        super().__init__()
        if compatibility not in ("potts", "learnt"):
            raise ValueError(f"compatibility must be 'potts' or 'learnt', got {compatibility!r}")
        sigmas = gaussian_sigma, bilateral_sigma_xy, bilateral_sigma_rgb
        if num_classes < 2 or iterations < 0 or not all(sigma > 0 for sigma in sigmas):
            raise ValueError(
                "a CRF takes 2 classes or more, 0 iterations or more, and standard deviations above 0, "
                f"got {num_classes}, {iterations} and {sigmas}"
            )
        self.num_classes, self.iterations = num_classes, iterations
        self.gaussian_sigma = gaussian_sigma
        self.bilateral_sigma_xy, self.bilateral_sigma_rgb = bilateral_sigma_xy, bilateral_sigma_rgb
        learnt = compatibility == "learnt"
        self.compatibility = nn.Parameter(1 - torch.eye(num_classes)) if learnt else None
        weights = torch.tensor([gaussian_weight, bilateral_weight], dtype=torch.float32)
        self.kernel_weights = nn.Parameter(weights, requires_grad=learnt)

    def forward(self, logits: Tensor, images: Tensor) -> Tensor:
        """Return the probabilities after the last iteration."""
        for Q in self._mean_field(logits, images):
            last = Q
        return _as_maps(last, logits)

    def steps(self, logits: Tensor, images: Tensor) -> Iterator[Tensor]:
        """Yield the probabilities before the first iteration, and after each."""
        for Q in self._mean_field(logits, images):
            yield _as_maps(Q, logits)

    def energy(self, labels: Tensor, logits: Tensor, images: Tensor) -> Tensor:
        """Return the energy (B,) of labellings, integer (B, H, W) in 0 to num_classes - 1, given logits and images.

        Where a learnt compatibility gives a label a penalty beside itself, half of that of each pixel beside itself is
        in the sum.
        """
        _check(logits, images, self.num_classes)
        if labels.is_floating_point() or labels.shape != logits[:, 0].shape:
            expected = tuple(logits[:, 0].shape)
            raise ValueError(f"labels must be integers of shape {expected}, got {labels.dtype} {tuple(labels.shape)}")
        scores = _as_rows(logits)
        x = F.one_hot(labels.flatten(1).long(), self.num_classes).to(scores.dtype)  # B, N, K
        mu = 1 - torch.eye(self.num_classes).to(x) if self.compatibility is None else self.compatibility.to(x)
        unary = -(x * scores.log_softmax(2)).sum((1, 2))
        pairwise = (x * self._messages(x @ mu.T, self.kernels(images))).sum((1, 2))  # each pair is in it twice
        return unary + pairwise / 2

    def kernels(self, images: Tensor) -> list[Kernel]:
        """Make the Gaussian and the bilateral kernel (equation 3) of images (B, 3, H, W)."""
        return [ExactKernel(features) for features in self._features(images)]

    def _features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (B, N, 2), and positions and colours (B, N, 5), each in standard deviations."""
        B, _, H, W = images.shape
        y, x = torch.meshgrid(
            torch.arange(H, device=images.device), torch.arange(W, device=images.device), indexing="ij"
        )
        positions = torch.stack([x, y], -1).flatten(0, 1).float().expand(B, -1, -1)
        colours = images.detach().flatten(2).mT.float() * (1 if images.dtype == torch.uint8 else 255)
        bilateral = [positions / self.bilateral_sigma_xy, colours / self.bilateral_sigma_rgb]
        return positions / self.gaussian_sigma, torch.cat(bilateral, 2)

    def _mean_field(self, logits: Tensor, images: Tensor) -> Iterator[Tensor]:
        """Yield the probabilities Q (B, N, K) before the first iteration, and after each: algorithm 1."""
        _check(logits, images, self.num_classes)
        scores, kernels = _as_rows(logits), self.kernels(images)
        Q = scores.softmax(2)
        yield Q
        for _ in range(self.iterations):
            # Potts's 1 - I gives -Q and, to all labels alike, what the softmax takes away.
            attraction = Q if self.compatibility is None else -Q @ self.compatibility.T.to(Q.dtype)
            Q = (scores + self._messages(attraction, kernels)).softmax(2)
            yield Q

    def _messages(self, values: Tensor, kernels: list[Kernel]) -> Tensor:
        return sum(weight * kernel.filter(values) for weight, kernel in zip(self.kernel_weights, kernels, strict=True))


class DenseCRF(ExactDenseCRF):
    """Sharpen a network's scores by mean-field inference in a fully connected CRF.

    Takes logits, floating point (B, num_classes, H, W), and the images that they belong to, (B, 3, H, W), RGB, uint8 or
    floating point in [0, 1]. Gives probabilities (B, num_classes, H, W), float32, or float64 where the logits are. Of
    probabilities, give the logarithm. Gradients flow to the logits and to what is learnt, not to the images.

    The energy of a labelling x, which mean field makes small, is (equations 1 to 3)

        E(x) = sum_i psi_u(x_i) + sum_{i<j} mu(x_i, x_j) (w_1 k_1(i, j) + w_2 k_2(i, j))

    with psi_u the negative log probability, k_1 a Gaussian of positions, k_2 one of positions and colours, and mu the
    compatibility: 0 for equal labels and 1 for others (Potts), or a matrix that is learnt. The kernels are normalised
    (see `PermutohedralLattice.normalise`), as the authors' code does unless told otherwise; and as there, but not in
    the paper, a pixel gets its own message, too.

    Args:
        num_classes: the number of labels.
        iterations: rounds of mean field.
        gaussian_weight: w_1.
        gaussian_sigma: the standard deviation of k_1 in pixels.
        bilateral_weight: w_2.
        bilateral_sigma_xy: the standard deviation of k_2 in pixels.
        bilateral_sigma_rgb: the standard deviation of k_2 in grey levels of 255.
        compatibility: "potts", or "learnt": then a matrix that starts from Potts, and both weights, are parameters.

    Raises:
        TypeError: if the dtypes are not as above.
        ValueError: if shapes, devices or arguments are not as above, or, on the CPU, images of floats leave [0, 1].
    """

    def kernels(self, images: Tensor) -> list[Kernel]:
        """Build the lattices of the Gaussian and the bilateral kernel (equation 3) of images (B, 3, H, W)."""
        return [PermutohedralLattice(features).normalise() for features in self._features(images)]

    def _mean_field(self, logits: Tensor, images: Tensor) -> Iterator[Tensor]:
        learning = torch.is_grad_enabled() and self.kernel_weights.requires_grad
        if learning or not in_memory(logits) or logits.dtype == torch.float64:
            yield from super()._mean_field(logits, images)
            return
        from segedu.models.crf_loops import mean_field

        _check(logits, images, self.num_classes)
        compatibility = None if self.compatibility is None else self.compatibility.detach()
        weights = self.kernel_weights.tolist()
        yield from mean_field(_as_rows(logits), self.kernels(images), weights, compatibility, self.iterations)


def _as_rows(logits: Tensor) -> Tensor:
    """(B, K, H, W) as (B, N, K), float64 or float32."""
    return logits.flatten(2).mT.to(torch.float64 if logits.dtype == torch.float64 else torch.float32)


def _as_maps(Q: Tensor, logits: Tensor) -> Tensor:
    """(B, N, K) as (B, K, H, W), in memory of its own."""
    return Q.mT.unflatten(2, logits.shape[2:]).clone(memory_format=torch.contiguous_format)


def _check(logits: Tensor, images: Tensor, classes: int) -> None:
    for name, tensor in (("logits", logits), ("images", images)):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} must be a PyTorch tensor, got {type(tensor).__name__}")
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating point, got {logits.dtype}: of probabilities, give the logarithm")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise TypeError(f"images must be uint8 or floating point in [0, 1], got {images.dtype}")
    if logits.ndim != 4 or logits.shape[1] != classes or 0 in logits.shape:
        raise ValueError(f"logits must have shape (B, {classes}, H, W) and no empty axis, got {tuple(logits.shape)}")
    expected = (logits.shape[0], 3, *logits.shape[2:])
    if images.shape != expected:
        raise ValueError(f"images must have shape {expected}, as the logits do, got {tuple(images.shape)}")
    if images.device != logits.device:
        raise ValueError(f"logits and images must be on one device, got {logits.device} and {images.device}")
    if in_memory(images) and images.dtype != torch.uint8 and not 0 <= images.amin() <= images.amax() <= 1:
        raise ValueError(
            "floating-point images must be in [0, 1]: give the CRF the image itself, not the normalised one"
        )
