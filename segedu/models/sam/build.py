"""SAM in its published sizes, and a tiny one."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from torch import nn

from segedu.models.sam.checkpoints import load_checkpoint
from segedu.models.sam.image_encoder import ImageEncoderViT
from segedu.models.sam.model import Sam
from segedu.models.sam.tiny import ImageEncoderTiny

# Width, depth, heads and global blocks of each image encoder.
VISION_TRANSFORMERS = {
    "vit_b": (768, 12, 12, (2, 5, 8, 11)),
    "vit_l": (1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": (1280, 32, 16, (7, 15, 23, 31)),
}
SHARPNESS = 2.0  # of the attention that a tiny SAM starts with: logits grow by its square


def build_sam(name: str = "vit_b", checkpoint: str | Path | None = None, image_size: int | None = None) -> Sam:
    """SAM for use, in evaluation mode.

    In all, and of these in the image encoder, there are 93,735,472 and 89,670,912 parameters in "vit_b", 312,342,832
    and 308,278,272 in "vit_l", 641,090,608 and 637,026,048 in "vit_h", 7,709,776 and 3,635,040 in "tiny".

    Args:
        name: of the image encoder: "vit_b", "vit_l", "vit_h", or "tiny" (`ImageEncoderTiny`), which nobody published.
        checkpoint: a file of weights (`load_checkpoint`); `official_checkpoint(name)` downloads the published ones. By
            default weights are random.
        image_size: side of its input in pixels, a multiple of 16: 1024 by default, 512 for "tiny".

    Raises:
        ValueError: for an unknown name, another image_size, or a checkpoint that does not fit.
        FileNotFoundError: if there is no such checkpoint.

    Source: Kirillov et al. 2023, appendix A; the sizes are those of Li et al. 2022 (ViTDet), section 4.
    """
    if name == "tiny":
        sam = tiny_sam(image_size or 512)
    elif name in VISION_TRANSFORMERS:
        sam = vit_sam(image_size or 1024, *VISION_TRANSFORMERS[name])
    else:
        raise ValueError(f"name must be one of {', '.join([*VISION_TRANSFORMERS, 'tiny'])}, got {name!r}")
    if checkpoint is not None:
        load_checkpoint(sam, checkpoint)
    return sam.eval()


def vit_sam(
    image_size: int = 1024,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    global_blocks: Collection[int] = (2, 5, 8, 11),
    window: int = 14,
) -> Sam:
    """SAM with random weights and a vision transformer of any size, whose arguments these are (`ImageEncoderViT`)."""
    return Sam(ImageEncoderViT(image_size, width, depth, heads, global_blocks, window))


def tiny_sam(image_size: int = 512, pretrained: bool = False) -> Sam:
    """SAM with random weights and a light image encoder, whose arguments these are (`ImageEncoderTiny`).

    Three things shorten its training, from weeks to hours. It sees its prompts drawn as pictures, beside the tokens
    that SAM makes of them (`draw_prompts`). Its decoder sees the encoder's finer features too (`ImageDetails`). And its
    attention begins at the prompt: where tokens and pixels look at each other, queries and keys start as the same
    projection, and what is near in place is alike in the position's encoding. From a start at random it takes long to
    find out what a click has to do with the pixels there.
    """
    # This encoder takes images in [0, 1].
    encoder = ImageEncoderTiny(image_size, pretrained)
    sam = Sam(encoder, pixel_mean=(0.0, 0.0, 0.0), pixel_std=(255.0, 255.0, 255.0), detailed=True)
    transformer = sam.mask_decoder.transformer
    between = [transformer.final_attn_token_to_image]
    for layer in transformer.layers:
        between += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    for attention in between:
        nn.init.orthogonal_(attention.q_proj.weight, gain=SHARPNESS)
        nn.init.zeros_(attention.q_proj.bias)
        attention.k_proj.load_state_dict(attention.q_proj.state_dict())
    return sam
