"""SAM without a user: click everywhere, keep the masks that are sure and stable, once each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from segedu.arrays import Array, in_memory
from segedu.masks import decompress_counts, rle_decode, rle_encode
from segedu.models.sam.candidates import (
    Box,
    Candidate,
    above,
    box_of,
    crop_boxes,
    encode,
    is_cut_off,
    point_grid,
    remove_small_regions,
    stability_score,
    suppress,
)
from segedu.models.sam.frames import Frame, to_rgb
from segedu.models.sam.model import Sam
from segedu.models.sam.predictor import SamPredictor
from segedu.models.sam.prompt_encoder import OBJECT

OUTPUT_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")


class SamAutomaticMaskGenerator:
    """Masks of everything in an image.

    A grid of clicks, three masks for each. What the model does not expect to be good goes, then what depends much on
    where its logits are cut, then what is there already and better. With crops, the same in parts of the image, where
    small things are larger; masks that the edge of a crop may have cut off go too.

    Memory is bounded by `points_per_batch` and the image, however many masks there are: between batches they are kept
    as run lengths. Names of arguments and results are the authors'.

    Args:
        sam: the network, in evaluation mode, on the device where all is to be computed.
        points_per_side: of the grid; None if `point_grids` are given.
        points_per_batch: decoded together.
        pred_iou_thresh: the IoU that the model expects of a mask must be above it; 0 keeps all.
        stability_score_thresh: the stability score must not be below it; 0 keeps all.
        stability_score_offset: see `stability_score`.
        box_nms_thresh: of masks in one crop whose boxes have an IoU above it, the one expected to be better stays.
        crop_n_layers: of crops, 2^i x 2^i in layer i, besides the whole image.
        crop_nms_thresh: the same between crops, where the mask of the smaller crop stays.
        crop_overlap_ratio: of crops; see `crop_boxes`.
        crop_n_points_downscale_factor: layer i has this to the power of i times fewer points a side.
        point_grids: instead of `points_per_side`, points (x, y) from 0 to 1, (N, 2), for the image and each layer.
        min_mask_region_area: holes and islands of fewer pixels are removed; 0 for none.
        output_mode: of "segmentation", "binary_mask", "uncompressed_rle" or "coco_rle" (COCO's compressed string).

    Raises:
        ValueError: for arguments that contradict each other or are out of range.

    Source: Kirillov et al. 2023, appendix B, "Automatic mask generation details".
    """

    def __init__(
        self,
        sam: Sam,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: Sequence[np.ndarray] | None = None,
        min_mask_region_area: int = 0,
        output_mode: str = "binary_mask",
    ) -> None:
        if output_mode not in OUTPUT_MODES:
            raise ValueError(f"output_mode must be one of {', '.join(OUTPUT_MODES)}, got {output_mode!r}")
        if points_per_batch < 1 or crop_n_layers < 0 or crop_n_points_downscale_factor < 1:
            raise ValueError(
                "points_per_batch and crop_n_points_downscale_factor must be at least 1, crop_n_layers at least 0; got "
                f"{points_per_batch}, {crop_n_points_downscale_factor} and {crop_n_layers}"
            )
        self.sam = sam
        self.point_grids = _grids(points_per_side, crop_n_layers, crop_n_points_downscale_factor, point_grids)
        self.points_per_batch = points_per_batch
        self.pred_iou_thresh = pred_iou_thresh
        self.stability_score_thresh = stability_score_thresh
        self.stability_score_offset = stability_score_offset
        self.box_nms_thresh = box_nms_thresh
        self.crop_n_layers = crop_n_layers
        self.crop_nms_thresh = crop_nms_thresh
        self.crop_overlap_ratio = crop_overlap_ratio
        self.min_mask_region_area = min_mask_region_area
        self.output_mode = output_mode

    @torch.no_grad()
    def generate(self, image: Array, progress: bool = False) -> list[dict[str, Any]]:
        """Find masks for everything in an image. Waits for the device.

        Args:
            image: RGB (3, H, W), or (H, W, 3) as image files are read, or grey (H, W); uint8 or float in [0, 1].
            progress: draw a bar on the terminal.

        Returns:
            A record for each mask, of

            - segmentation: bool array (H, W), or COCO's run lengths; see `output_mode`.
            - area: in pixels.
            - bbox: [x, y, w, h]; as in the authors' code, from the first pixel to the last, so that w is one less than
              the number of columns.
            - predicted_iou: what the model expects.
            - point_coords: [[x, y]], the click.
            - stability_score: see `stability_score`.
            - crop_box: [x, y, w, h] of the part of the image that the model saw.

        Raises:
            TypeError: see `SamPredictor.set_image`.
            ValueError: see `SamPredictor.set_image`.
        """
        image = to_rgb(image)
        crops = crop_boxes(*image.shape[1:], self.crop_n_layers, self.crop_overlap_ratio)
        clicks = sum(len(self.point_grids[layer]) for layer, _ in crops)
        candidates = []
        with Progress(console=Console(stderr=True), disable=not progress) as bar:
            task = bar.add_task("Clicks", total=clicks)
            for layer, crop in crops:
                found = []
                for batch, count in self._click(image, crop, self.point_grids[layer]):
                    found += batch
                    bar.advance(task, count)
                candidates += suppress(found, [one.predicted_iou for one in found], self.box_nms_thresh)
        if len(crops) > 1:
            candidates = suppress(candidates, [1 / _area(one.crop) for one in candidates], self.crop_nms_thresh)
        if self.min_mask_region_area > 0:
            candidates = self._without_small_regions(candidates)
        return [self._record(candidate) for candidate in candidates]

    def _click(self, image: Tensor, crop: Box, grid: np.ndarray) -> Iterator[tuple[list[Candidate], int]]:
        """Candidates of each batch of clicks on a crop, and the number of these clicks."""
        x0, y0, x1, y1 = crop
        predictor = SamPredictor(self.sam)
        predictor.set_image(image[:, y0:y1, x0:x1])
        (frame,) = predictor.frames
        for points in torch.from_numpy(grid * (frame.width, frame.height)).split(self.points_per_batch):
            clicks = frame.to_square(points)[:, None].to(self.sam.device)  # P, 1, 2
            labels = torch.full(clicks.shape[:2], OBJECT, device=clicks.device)
            logits, iou = self.sam.decode(predictor.embeddings, points=clicks, labels=labels)
            view = _View(frame, crop, *image.shape[1:])
            yield self._candidates(logits, iou, (points + points.new_tensor([x0, y0])).tolist(), view), len(points)

    def _candidates(self, logits: Tensor, iou: Tensor, points: list[list[float]], view: _View) -> list[Candidate]:
        """What passes the filters, of logits (P, M, S, S), their expected IoU (P, M) and the clicks in the image."""
        M = logits.shape[1]
        logits, expected = logits.flatten(0, 1), iou.flatten().tolist()
        chosen = [i for i, one in enumerate(expected) if one > self.pred_iou_thresh or self.pred_iou_thresh <= 0]

        def measure(part: list[int]) -> list[Candidate]:
            full = view.frame.to_image(logits[part])
            scores = stability_score(full, self.sam.mask_threshold, self.stability_score_offset)
            stable = (scores >= self.stability_score_thresh) | (self.stability_score_thresh <= 0)
            masks = above(full, self.sam.mask_threshold)[stable].cpu().numpy()
            kept = [i for i, keep in zip(part, stable.tolist(), strict=True) if keep]
            made = [
                view.candidate(mask, expected[i], score, points[i // M])
                for i, mask, score in zip(kept, masks, scores[stable].tolist(), strict=True)
            ]
            return [one for one in made if not is_cut_off(one.box, one.crop, view.height, view.width)]

        size = view.frame.masks_at_once(logits)
        parts = [chosen[start : start + size] for start in range(0, len(chosen), size)]
        with ThreadPoolExecutor(torch.get_num_threads() if in_memory(logits) else 1) as pool:
            return [one for found in pool.map(measure, parts) for one in found]

    def _without_small_regions(self, candidates: list[Candidate]) -> list[Candidate]:
        """Remove small regions, then what has become a duplicate, and rather what had to be changed."""

        def cleaned(candidate: Candidate) -> tuple[Candidate, float]:
            mask = rle_decode(candidate.rle)
            clean = remove_small_regions(mask, self.min_mask_region_area)
            if clean is mask:
                return candidate, 1.0
            area = int(np.count_nonzero(clean))
            return replace(candidate, rle=rle_encode(clean), area=area, box=box_of(clean)), 0.0

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            pairs = list(pool.map(cleaned, candidates))
        threshold = max(self.box_nms_thresh, self.crop_nms_thresh)
        return suppress([one for one, _ in pairs], [score for _, score in pairs], threshold)

    def _record(self, candidate: Candidate) -> dict[str, Any]:
        if self.output_mode == "binary_mask":
            segmentation = rle_decode(candidate.rle)
        elif self.output_mode == "uncompressed_rle":
            segmentation = candidate.rle | {"counts": decompress_counts(candidate.rle["counts"]).tolist()}
        else:
            segmentation = candidate.rle
        return {
            "segmentation": segmentation,
            "area": candidate.area,
            "bbox": _sides(candidate.box),
            "predicted_iou": candidate.predicted_iou,
            "point_coords": [list(candidate.point)],
            "stability_score": candidate.stability_score,
            "crop_box": _sides(candidate.crop),
        }


@dataclass(frozen=True)
class _View:
    """A crop as the model sees it, and the image (height, width) that it is a part of."""

    frame: Frame
    crop: Box
    height: int
    width: int

    def candidate(self, mask: np.ndarray, expected: float, stability: float, point: list[float]) -> Candidate:
        """Of a mask in the crop, bool (h, w)."""
        x, y = self.crop[:2]
        left, top, right, bottom = box_of(mask)
        return Candidate(
            rle=encode(mask, self.crop, self.height, self.width),
            area=int(np.count_nonzero(mask)),
            box=(left + x, top + y, right + x, bottom + y),
            predicted_iou=expected,
            stability_score=stability,
            point=tuple(point),
            crop=self.crop,
        )


def _grids(
    points_per_side: int | None, layers: int, downscale: int, point_grids: Sequence[np.ndarray] | None
) -> list[np.ndarray]:
    """Points from 0 to 1, float64 (N, 2), for each layer."""
    if (points_per_side is None) == (point_grids is None):
        raise ValueError("give either points_per_side or point_grids, and None for the other")
    if point_grids is None:
        sides = [int(points_per_side / downscale**layer) for layer in range(layers + 1)]
        if min(sides) < 1:
            raise ValueError(f"each layer must have at least 1 point a side, got {sides}: lower the downscale factor")
        return [point_grid(side) for side in sides]
    grids = [np.asarray(grid, np.float64) for grid in point_grids]
    if len(grids) <= layers:
        raise ValueError(f"point_grids must be one for the image and for each of {layers} layers, got {len(grids)}")
    for grid in grids:
        if grid.ndim != 2 or grid.shape[1] != 2 or not ((grid >= 0) & (grid <= 1)).all():
            raise ValueError(f"a point grid must be (N, 2), (x, y) from 0 to 1, got shape {grid.shape}")
    return grids


def _sides(box: Box) -> list[int]:
    """x, y, width and height of a box (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


def _area(box: Box) -> int:
    _, _, width, height = _sides(box)
    return width * height
