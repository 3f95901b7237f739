"""segedu: reference implementations for an open course on image segmentation."""
