"""Distances within a mask, the same bits every time."""

import cv2
import numpy as np


def distance_inside(mask: np.ndarray) -> np.ndarray:
    """How far each pixel of a mask is from the nearest one outside it, from centre to centre.

    Args:
        mask: bool (H, W), with a pixel outside it at least.

    Returns:
        Float32 (H, W), in pixels, 0 outside the mask.
    """
    distances = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # The last bit of OpenCV's square root depends on where in memory a pixel lies. Squared distances are whole numbers.
    return np.sqrt(np.rint(np.square(distances, dtype=np.float64))).astype(np.float32)
