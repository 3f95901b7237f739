"""The trained models that come with the course: what is in the files, what their cards say, and whether it is so."""

import csv
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from local_data import DATA
from safetensors import safe_open

from segedu.training import load_model, shipped_models

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "data" / "checkpoints"
NAMES = sorted(path.stem for path in FOLDER.glob("*.safetensors"))
BUDGET = 60 * 10**6


def test_all_weights_together_are_small_enough_to_ship():
    assert sum((FOLDER / f"{name}.safetensors").stat().st_size for name in NAMES) <= BUDGET


def test_nothing_else_lies_there():
    assert {path.name for path in FOLDER.iterdir()} == {
        "README.md",
        *(f"{name}{suffix}" for name in NAMES for suffix in (".safetensors", ".md", ".json", ".csv")),
    }


def test_the_models_are_found_by_name():
    assert list(shipped_models()) == NAMES


@pytest.mark.parametrize("name", NAMES)
class TestEach:
    def test_loads_and_has_no_other_numbers_than_half_floats_and_counters(self, name):
        with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
            dtypes = {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
        assert dtypes <= {torch.float16, torch.int64}
        model, description = load_model(name)
        assert not model.training
        assert all(value.isfinite().all() for value in model.state_dict().values())
        assert description["step"] == description["recipe"]["training"]["steps"]

    def test_the_record_is_of_this_training(self, name):
        _, description = load_model(name)
        with (FOLDER / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert int(rows[-1]["step"]) == description["step"]
        for key, value in description["measures"].items():
            if not isinstance(value, list):
                assert float(rows[-1][key]) == pytest.approx(value)

    def test_the_card_says_what_a_card_must(self, name):
        text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
        for part in (
            "| command | `segedu train ",
            "| hardware |",
            "## Data and licence",
            "## Limits",
            "`segedu evaluate ",
        ):
            assert part in text, part

    @pytest.mark.slow
    @pytest.mark.skipif(not DATA.is_dir(), reason=f"the data sets are not in {DATA}")
    def test_measures_are_measured_again(self, name, tmp_path):
        # What a card has beside its first command takes minutes: scripts/model_cards.py --measure runs all.
        for entry in measured(name, "command")[:1]:
            command = [sys.executable, "-m", *shlex.split(entry["command"]), "--json", tmp_path / "found.json"]
            subprocess.run(command, check=True, env={**os.environ, "SEGEDU_DATA": str(DATA)}, capture_output=True)
            found = json.loads((tmp_path / "found.json").read_text())
            assert found.keys() == entry["measures"].keys()
            for key, value in entry["measures"].items():
                assert found[key] == pytest.approx(value, abs=2e-3, nan_ok=True), (entry["command"], key)


def measured(name: str, kind: str) -> list[dict]:
    """What a model's file of measures holds that comes from a "command", or from "records"."""
    entries = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return [entry for entry in entries if kind in entry]


def test_membranes_are_the_mean_of_four_folds():
    (entry,) = measured("isbi-unet", "records")
    last = [list(csv.DictReader((FOLDER / record).open(newline="")))[-1] for record in entry["records"]]
    assert len(last) == 4 and {row["step"] for row in last} == {"400"}
    for key in ("membrane_iou", "cell_iou"):
        folds = [float(row[key]) for row in last]
        assert len(set(folds)) == 4 and entry["measures"][key] == pytest.approx(np.mean(folds))


def test_every_record_has_its_command():
    folder = FOLDER.parent / "records"
    text = (folder / "README.md").read_text(encoding="utf-8")
    for path in folder.glob("*.csv"):
        assert f"| [{path.name}]({path.name}) | `segedu train " in text


def test_cards_are_in_step_with_weights_and_measures():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "model_cards.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
