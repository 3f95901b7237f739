"""Segment Anything: a network that answers prompts with masks."""

from segedu.models.sam.automatic import SamAutomaticMaskGenerator
from segedu.models.sam.build import build_sam
from segedu.models.sam.candidates import point_grid, stability_score
from segedu.models.sam.model import Sam
from segedu.models.sam.predictor import Prediction, SamPredictor
from segedu.models.sam.prompts import Prompt

__all__ = [
    "Prediction",
    "Prompt",
    "Sam",
    "SamAutomaticMaskGenerator",
    "SamPredictor",
    "build_sam",
    "point_grid",
    "stability_score",
]
