"""Data sets that the course works on: generated, shipped or downloaded; each module is one of them."""
