"""Weights of SAM: the official files, and those of the transformers library."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.download import fetch

HOST = "https://dl.fbaipublicfiles.com/segment_anything"


@dataclass(frozen=True)
class Official:
    """A file of weights that the paper's authors published under the Apache licence 2.0."""

    file: str
    size: int  # bytes
    sha256: str

    @property
    def url(self) -> str:
        return f"{HOST}/{self.file}"


OFFICIAL = {
    "vit_b": Official(
        "sam_vit_b_01ec64.pth", 375_042_383, "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912"
    ),
    "vit_l": Official(
        "sam_vit_l_0b3195.pth", 1_249_524_607, "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622"
    ),
    "vit_h": Official(
        "sam_vit_h_4b8939.pth", 2_564_550_879, "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e"
    ),
}
WIDTHS = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}  # of the image encoder, which tell one file from another


def official_checkpoint(name: str, folder: str | Path | None = None) -> Path:
    """The official weights as a file, downloaded unless they are there, and checked.

    Args:
        name: "vit_b" (375 MB), "vit_l" (1.2 GB) or "vit_h" (2.6 GB).
        folder: where the file is or shall be; by default PyTorch's own, "checkpoints" in `torch.hub.get_dir()`.

    Raises:
        ValueError: for another name, or if there is another file in that place.
        segedu.download.DownloadError: if it cannot be had; a later call goes on where this one stopped.
    """
    if name not in OFFICIAL:
        raise ValueError(f"there are official weights for {', '.join(OFFICIAL)}, got {name!r}")
    weights = OFFICIAL[name]
    folder = Path(folder) if folder is not None else Path(torch.hub.get_dir()) / "checkpoints"
    return fetch(weights.url, folder / weights.file, sha256=weights.sha256, size=weights.size)


def load_checkpoint(sam: nn.Module, path: str | Path) -> None:
    """Give a `Sam` the weights in a file: an official one, or any state dict that `torch.save` wrote.

    The state dict may be a `transformers.SamModel`'s too. Nothing but tensors is read. A file with an official name
    must be the official file, byte for byte. A model of another image size gets position embeddings interpolated.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged, not a state dict, or of another model; it then says where they differ.
    """
    path = Path(path)
    state = _read(path)
    if any(key.startswith("vision_encoder.") for key in state):
        state = from_transformers(state)
    own = sam.state_dict()
    state = {key: _resized(key, tensor, own[key].shape) if key in own else tensor for key, tensor in state.items()}
    if differences := _differences(state, own):
        wrong_size = _variant(state) if _variant(state) != _variant(own) else None
        advice = f"it holds {wrong_size}: build_sam({wrong_size!r}, ...)" if wrong_size else "build the model it is of"
        raise ValueError(f"{path} does not fit this model; {advice}. {differences}")
    sam.load_state_dict(state)


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a `transformers.SamModel`, of any size, under the official names that `Sam` uses."""
    renamed = {}
    for key, tensor in state.items():
        for pattern, name in RENAMED:
            key = re.sub(pattern, name, key)
        renamed[key] = tensor
    return renamed


# From the names in transformers.SamModel to the official ones, each applied in turn. It has the frequencies of
# positions twice, and both copies get the one name that they have here.
RENAMED = (
    (r"^shared_image_embedding\.", "prompt_encoder.shared_embedding."),
    (r"\.shared_embedding\.positional_embedding$", ".pe_layer.positional_encoding_gaussian_matrix"),
    (r"^vision_encoder\.", "image_encoder."),
    (r"\.patch_embed\.projection\.", ".patch_embed.proj."),
    (r"^image_encoder\.layers\.", "image_encoder.blocks."),
    (r"\.neck\.conv1\.", ".neck.0."),
    (r"\.neck\.layer_norm1\.", ".neck.1."),
    (r"\.neck\.conv2\.", ".neck.2."),
    (r"\.neck\.layer_norm2\.", ".neck.3."),
    (r"\.mask_embed\.conv1\.", ".mask_downscaling.0."),
    (r"\.mask_embed\.layer_norm1\.", ".mask_downscaling.1."),
    (r"\.mask_embed\.conv2\.", ".mask_downscaling.3."),
    (r"\.mask_embed\.layer_norm2\.", ".mask_downscaling.4."),
    (r"\.mask_embed\.conv3\.", ".mask_downscaling.6."),
    (r"\.point_embed\.", ".point_embeddings."),
    (r"\.upscale_conv1\.", ".output_upscaling.0."),
    (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
    (r"\.upscale_conv2\.", ".output_upscaling.3."),
    (r"\.layers\.0\.(weight|bias)$", r".layers.1.\1"),
    (r"\.proj_in\.", ".layers.0."),
    (r"\.proj_out\.", ".layers.2."),
    (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
    (r"\.layer_norm(\d)\.", r".norm\1."),
)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {path}; official_checkpoint(name) in segedu.models.sam.checkpoints downloads one of "
            + ", ".join(weights.url for weights in OFFICIAL.values())
        )
    for weights in OFFICIAL.values():
        if path.name == weights.file:
            fetch(weights.url, path, sha256=weights.sha256, size=weights.size)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{path} ({path.stat().st_size} bytes) is cut off, damaged, or holds more than tensors ({reason}): "
            "download or save it again"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise ValueError(f"{path} must hold a state dict, names and their tensors, got {_described(state)}")
    return state


def _described(content: object) -> str:
    """A few words on what is in a file, for it may be a whole training run with the weights inside."""
    if isinstance(content, dict):
        return f"a dict of {', '.join(map(repr, list(content)[:5]))}: save the state dict alone"
    return f"a {type(content).__name__}"


def _resized(key: str, tensor: Tensor, shape: torch.Size) -> Tensor:
    """Position embeddings of another grid, interpolated between their neighbours; anything else as it is."""
    if tensor.shape == shape or tensor.ndim != len(shape) or tensor.shape[-1] != shape[-1]:
        return tensor
    if key.endswith(".pos_embed"):  # 1, h, w, width
        return F.interpolate(tensor.permute(0, 3, 1, 2), shape[1:3], mode="bilinear").permute(0, 2, 3, 1)
    if key.endswith((".rel_pos_h", ".rel_pos_w")):  # 2 side - 1, D
        return F.interpolate(tensor.T[None], shape[0], mode="linear")[0].T
    return tensor


def _variant(state: Mapping[str, Tensor]) -> str | None:
    if any(key.startswith("image_encoder.trunk.") for key in state):
        return "tiny"
    positions = state.get("image_encoder.pos_embed")
    return None if positions is None else WIDTHS.get(positions.shape[-1])


def _differences(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """Which names and shapes differ, the first few of each kind, or nothing."""
    shapes = [
        f"{key} {tuple(tensor.shape)} instead of {tuple(own[key].shape)}"
        for key, tensor in state.items()
        if key in own and tensor.shape != own[key].shape
    ]
    kinds = {
        "Missing": [key for key in own if key not in state],
        "Unknown": [key for key in state if key not in own],
        "Of another shape": shapes,
    }
    return " ".join(
        f"{kind} ({len(keys)}): {', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''}."
        for kind, keys in kinds.items()
        if keys
    )
