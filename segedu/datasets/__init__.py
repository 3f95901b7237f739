"""Data sets that the course works on: generated, shipped or downloaded; each module is one of them."""

from segedu.datasets.catalogue import CATALOGUE, find_folder, open_dataset

__all__ = ["CATALOGUE", "find_folder", "open_dataset"]
