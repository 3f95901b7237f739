"""SAM in its published sizes, and a tiny one."""

from __future__ import annotations

from collections.abc import Collection

from segedu.models.sam.image_encoder import ImageEncoderViT
from segedu.models.sam.model import Sam
from segedu.models.sam.tiny import ImageEncoderTiny

# Width, depth, heads and global blocks of each image encoder: Kirillov et al. 2023, appendix A; Li et al. 2022.
SIZES = {
    "vit_b": (768, 12, 12, (2, 5, 8, 11)),
    "vit_l": (1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": (1280, 32, 16, (7, 15, 23, 31)),
}


def build_sam(name="vit_b", checkpoint=None, image_size=None):
    if name == "tiny":
        sam = Sam(ImageEncoderTiny(image_size or 512), (0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
    else:
        width, depth, heads, blocks = SIZES[name]
        sam = vit_sam(image_size or 1024, width, depth, heads, blocks)
    return sam.eval()


def vit_sam(
    image_size: int = 1024,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    global_blocks: Collection[int] = (2, 5, 8, 11),
    window: int = 14,
) -> Sam:
    """SAM with a vision transformer of any size: the arguments are those of `ImageEncoderViT`."""
    return Sam(ImageEncoderViT(image_size, width, depth, heads, global_blocks, window)).eval()
