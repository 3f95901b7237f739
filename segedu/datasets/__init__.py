"""Data sets that the course works on: generated, shipped or downloaded; each module is one of them."""

from segedu.datasets.catalogue import CATALOGUE, open_dataset

__all__ = ["CATALOGUE", "open_dataset"]
