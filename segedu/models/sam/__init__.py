"""Segment Anything: a network that answers prompts with masks."""

from segedu.models.sam.build import build_sam
from segedu.models.sam.model import Sam

__all__ = ["Sam", "build_sam"]
