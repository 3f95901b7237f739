"""Segmentation without learning: thresholds, edges, regions and clusters."""
