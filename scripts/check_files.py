"""Refuse notebooks that hold outputs and files too large for git: python scripts/check_files.py FILE ...

Outputs make a notebook's history unreadable and may hold a student's data; generated files belong outside git. Trained
weights are the exception: the course ships them, so they may be larger.
"""

import json
import sys
from pathlib import Path

MAX_BYTES = 4_000_000
MAX_WEIGHTS = 20_000_000  # bytes of a file in data/checkpoints/


def faults(path: Path) -> list[str]:
    """What is wrong with the file, one sentence each; empty if nothing is."""
    found = []
    size = path.stat().st_size
    most = MAX_WEIGHTS if path.match("data/checkpoints/*.safetensors") else MAX_BYTES
    if size > most:
        found.append(f"{path}: {size:,} bytes, expected at most {most:,}; keep large files out of git")
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        ran = [n for n, cell in enumerate(cells) if cell.get("outputs") or cell.get("execution_count")]
        if ran:
            found.append(f"{path}: cells {ran} hold outputs or counts; clear all outputs, save, and add it again")
    return found


if __name__ == "__main__":
    found = [fault for name in sys.argv[1:] for fault in faults(Path(name))]
    sys.exit("\n".join(found) or 0)
