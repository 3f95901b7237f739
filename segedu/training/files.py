"""Files of tensors that no code can hide in: safetensors with a JSON description, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from segedu.download import beside


class CheckpointError(ValueError):
    """A file of weights cannot be written, read or used. The message says what to do."""


class DamagedFile(CheckpointError):
    """A file was cut off or changed, or was never one of ours."""


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any], earlier: Path | None = None
) -> None:
    """Write a file beside `path`, make sure that it is on the disk, and only then give it its name.

    Args:
        path: of the file.
        tensors: on any device.
        description: anything that JSON can say.
        earlier: where to keep the file that was at `path`.

    Raises:
        CheckpointError: if it cannot be written, as to a full disk; what was at `path` is still there.
    """
    part = beside(path, ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Tensors that share memory, or have holes, cannot be saved.
        plain = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
        save_file(plain, part, metadata={"segedu": json.dumps(description, allow_nan=True)})
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())  # safetensors lets nobody else read it
        if earlier and path.exists():
            path.replace(earlier)
        part.replace(path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        kept = f"; the earlier {path.name} is still there" if path.exists() else ""
        raise CheckpointError(f"{path} could not be written ({error}): is the disk full?{kept}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file of `write_tensors`: its tensors, on the CPU, and its description.

    Raises:
        CheckpointError: if there is none, it is damaged, or it is something else.
    """
    try:
        with safe_open(path, "pt") as file:
            description = (file.metadata() or {}).get("segedu")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no file {path}") from error
    except (OSError, SafetensorError) as error:
        raise DamagedFile(f"{path} is no safetensors file, or it is truncated or damaged ({error})") from error
    if description is None:
        raise CheckpointError(f"{path} does not say what it is: expected a checkpoint of segedu, got other weights")
    return tensors, json.loads(description)
