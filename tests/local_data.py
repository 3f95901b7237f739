"""Real images that are no part of the repository. Tests that need them skip, saying so, where they are absent."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("SEGEDU_DATA") or Path(__file__).parents[2] / "shared" / "data")


def need(name: str) -> Path:
    """The folder or file `name` in the data; skips the test where there is none."""
    if not (DATA / name).exists():
        pytest.skip(f"no {name} in {DATA}: set SEGEDU_DATA")
    return DATA / name
