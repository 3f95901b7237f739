"""Put the facts into the model cards of data/checkpoints/, or check that they are there.

    python scripts/model_cards.py                        # write them
    python scripts/model_cards.py --check                # fail if a card says something else
    python scripts/model_cards.py --measure camvid-unet  # run its commands first; SEGEDU_DATA names the data

NAME.safetensors says what it was trained by and how long that took. NAME.json lists commands, each with what it
measured: {"command", "measures"}; or records of trainings, of whose last measures the mean counts: {"records",
"measures"}. What people wrote in NAME.md stays; only what is between the markers changes.
"""

import argparse
import csv
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean

from segedu.training import load_recipe
from segedu.training.files import read_tensors
from segedu.training.record import in_words

FOLDER = Path(__file__).resolve().parents[1] / "data" / "checkpoints"
BEGIN, END = "<!-- facts: scripts/model_cards.py -->", "<!-- end of facts -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a card is out of step")
    parser.add_argument("--measure", nargs="+", default=[], metavar="NAME", help="run these models' commands again")
    arguments = parser.parse_args()
    for name in arguments.measure:
        measure(FOLDER / f"{name}.json")
    wrong = []
    for weights in sorted(FOLDER.glob("*.safetensors")):
        card = weights.with_suffix(".md")
        text = card.read_text(encoding="utf-8")
        before, found, rest = text.partition(BEGIN)
        _, closed, after = rest.partition(END)
        if not found or not closed:
            raise SystemExit(f"{card} must have a line {BEGIN} and, below it, a line {END}")
        wanted = f"{before}{BEGIN}\n\n{facts(weights)}\n\n{END}{after}"
        if wanted != text:
            wrong.append(card.name)
            if not arguments.check:
                card.write_text(wanted, encoding="utf-8")
    if arguments.check and wrong:
        print(f"not in step with weights and measures: {', '.join(wrong)}; run python scripts/model_cards.py")
    return int(arguments.check and bool(wrong))


def measure(path: Path) -> None:
    """Run the commands of a NAME.json, and put what they measure beside each."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    for entry in entries:
        entry["measures"] = mean_of(entry["records"]) if "records" in entry else run(entry["command"])
        path.write_text(f"{json.dumps(entries, indent=1)}\n", encoding="utf-8")


def run(command: str) -> dict:
    """What `segedu evaluate ...` measures."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "measures.json")
        subprocess.run([sys.executable, "-m", *shlex.split(command), "--json", found], check=True)
        return json.loads(found.read_text(encoding="utf-8"))


def mean_of(records: list[str]) -> dict[str, float]:
    """The mean of the last measures of some records, named from the folder of the weights."""
    rows = []
    for record in records:
        with (FOLDER / record).open(newline="", encoding="utf-8") as file:
            *_, last = csv.DictReader(file)
        rows.append({key: float(value) for key, value in last.items() if value and key not in ("step", "seconds")})
    return {key: fmean(row[key] for row in rows) for key in rows[0]}


def facts(weights: Path) -> str:
    """The Markdown of what the files know by themselves."""
    tensors, description = read_tensors(weights)
    recipe = description["recipe"]
    count = sum(tensor.numel() for tensor in tensors.values())
    minutes = description["seconds"] / 60
    rows = [
        ("weights", f"{count:,} numbers, {weights.stat().st_size / 1e6:.1f} MB in float16"),
        ("recipe", f"[`{recipe['name']}`](../../segedu/recipes/{recipe['name']}.toml), seed {recipe['seed']}"),
        ("command", f"`{command(recipe)}`"),
        ("time", f"{minutes:.0f} minutes for {description['step']:,} steps"),
        ("hardware", description["hardware"]),
    ]
    parts = [table(("", ""), rows)]
    for measured in json.loads(weights.with_suffix(".json").read_text(encoding="utf-8")):
        if "records" in measured:
            links = ", ".join(f"[{Path(record).stem}]({record})" for record in measured["records"])
            parts.append(f"The mean of {len(measured['records'])} trainings, as their records end: {links}")
        else:
            parts.append(f"`{measured['command']}`")
        parts.append(table(("measure", "value"), in_words(measured["measures"], description["classes"])))
    return "\n\n".join(parts)


def command(recipe: dict) -> str:
    """How to train the same again."""
    published = json.loads(load_recipe(recipe["name"]).as_json())
    changes = [
        f"{table}.{key}={json.dumps(value)}"
        for table in ("model", "task", "training")
        for key, value in recipe[table].items()
        if published[table][key] != value
    ]
    return " ".join([f"segedu train {recipe['name']}", *(f"--set {shlex.quote(change)}" for change in changes)])


def table(header: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    """A Markdown table of two columns."""
    return "\n".join(f"| {left} | {right} |" for left, right in (header, ("---", "---"), *rows))


if __name__ == "__main__":
    sys.exit(main())
