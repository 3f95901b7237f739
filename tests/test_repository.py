"""The repository keeps its own word: what its documents name exists, and its scripts behave on other machines."""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import typer
import yaml
from nbgrader.apps.nbgraderapp import NbGraderApp
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


system_programs = load("system_programs")
check_files = load("check_files")


def tracked() -> list[Path]:
    try:
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("git is not installed, so the tracked files are unknown")
    if listing.returncode:
        pytest.skip(f"not a git checkout: {listing.stderr.strip()}")
    return [path for path in (ROOT / name for name in listing.stdout.split("\0") if name) if path.is_file()]


def commands(document: str) -> list[str]:
    """The lines of a Markdown file's shell blocks, without their comments."""
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    lines = (line.split(" #")[0].strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


# ------------------------------------------------------------------------------------------------- documents and make


@pytest.mark.parametrize("target", sorted(MAKE_TARGETS))
def test_make_target_can_be_planned_and_is_in_the_help(target):
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)
    assert f"make {target} " in subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_command_of_the_documents_exists(document):
    from autograder.cli import app

    ours = set(typer.main.get_command(app).commands)
    nbgraders = set(NbGraderApp.subcommands)
    assert commands(document)
    for line in commands(document):
        program, *words = line.removeprefix(".venv/bin/").split()
        if program == "make":
            targets = [word for word in words if "=" not in word]
            assert set(targets) <= MAKE_TARGETS, line
        elif program == "autograder":
            assert words[0] in ours, line
        elif program == "nbgrader":
            assert words[0] in nbgraders, line
        elif program == "python" and words[0] == "-m":
            assert importlib.util.find_spec(words[1]), line
        elif program == "python":
            assert (ROOT / words[0]).is_file(), line


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_link_into_the_repository_leads_somewhere(document):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / document).read_text())
    gone = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert links and not gone


@pytest.mark.parametrize("path", [*WORKFLOWS, ROOT / ".ci" / "run"], ids=lambda path: path.name)
def test_gate_and_workflows_call_make_targets_that_exist(path):
    called = re.findall(r"(?:step|run:) make ([a-z-]+)", path.read_text())
    assert called and set(called) <= MAKE_TARGETS


def test_gate_and_workflow_check_the_same():
    gate = re.findall(r"step make ([a-z-]+)", (ROOT / ".ci" / "run").read_text())
    assert re.findall(r"run: make ([a-z-]+)", (ROOT / ".github" / "workflows" / "tests.yml").read_text()) == gate


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_only_read_by_default_and_pin_their_actions(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    actions = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert actions and all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in actions)


def test_citation_names_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # what the format requires
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]


# ------------------------------------------------------------------------------------------- packaging and what git has


@pytest.mark.parametrize("script", sorted(PROJECT["scripts"]))
def test_installed_command_can_be_imported(script):
    module, _, attribute = PROJECT["scripts"][script].partition(":")
    assert callable(getattr(importlib.import_module(module), attribute))


def test_constraints_pin_every_package_once():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[\w.!+]+", line) for line in lines)
    names = [re.sub(r"[._-]+", "-", line.split("==")[0]).lower() for line in lines]
    assert len(names) == len(set(names))
    assert {"torch==2.14.1", "torchvision==0.29.1"} <= set(lines)


def test_pinned_versions_run_on_the_oldest_python_that_is_promised():
    oldest = PROJECT["requires-python"].removeprefix(">=")
    pinned = (line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    asked = {}
    for name in pinned:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # the extra `eda` may be left out
            asked[name] = importlib.metadata.metadata(name)["Requires-Python"] or ""
    assert asked
    assert {name: python for name, python in asked.items() if f"{oldest}.0" not in SpecifierSet(python)} == {}


def test_no_tracked_file_is_large_and_no_notebook_holds_outputs():
    assert [fault for path in tracked() for fault in check_files.faults(path)] == []


def test_checker_finds_outputs_and_large_files(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("Hello"), nbformat.v4.new_code_cell("1")])
    clean, ran, large = tmp_path / "clean.ipynb", tmp_path / "ran.ipynb", tmp_path / "large.npy"
    nbformat.write(notebook, clean)
    notebook.cells[1].outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "1"}, execution_count=1)]
    nbformat.write(notebook, ran)
    large.write_bytes(bytes(check_files.MAX_BYTES + 1))

    script = [sys.executable, ROOT / "scripts" / "check_files.py"]
    assert subprocess.run([*script, clean], capture_output=True).returncode == 0
    refused = subprocess.run([*script, clean, ran, large], capture_output=True, text=True)
    assert refused.returncode == 1
    assert [line.split(":")[0] for line in refused.stderr.splitlines()] == [str(ran), str(large)]


def test_only_weights_that_ship_may_be_larger(tmp_path):
    weights = tmp_path / "data" / "checkpoints" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(bytes(check_files.MAX_BYTES + 1))
    assert check_files.faults(weights) == []
    assert check_files.faults(weights.rename(tmp_path / "model.safetensors"))
    weights.write_bytes(bytes(check_files.MAX_WEIGHTS + 1))
    assert check_files.faults(weights)


# -------------------------------------------------------------------------------------- the scripts on other machines


def fake(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """An ordinary user's machine without any program: the folder that is its whole PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(system_programs, "has_libseccomp", lambda: False)
    monkeypatch.setattr(system_programs, "CHROME_ON_MAC", str(tmp_path / "no-chrome"))
    for name in ("env", "mkdir", "chmod"):
        (tmp_path / name).symlink_to(shutil.which(name, path=os.defpath))
    return tmp_path


def ensure_all() -> None:
    for name in ("bubblewrap", "chromium", "node"):
        system_programs.ensure(system_programs.PROGRAMS[name])


def test_missing_programs_are_named_with_what_goes_without_them(machine, capfd):
    ensure_all()
    said = capfd.readouterr().out
    for words in ("bubblewrap", "hostile submissions", "Chromium", "browser are skipped", "Node", "mathematics"):
        assert words in said
    assert said.count("your system's package manager") == 3


@pytest.mark.parametrize(
    "manager, command",
    [
        ("apt-get", "sudo apt-get install -y --no-install-recommends bubblewrap libseccomp2"),
        ("dnf", "sudo dnf install -y bubblewrap libseccomp"),
        ("pacman", "sudo pacman -S --noconfirm --needed bubblewrap libseccomp"),
    ],
)
def test_who_needs_a_password_is_told_the_command(machine, capfd, manager, command):
    fake(machine, manager, "echo called")
    fake(machine, "sudo", "exit 1")  # as sudo -n answers where a password is due
    ensure_all()
    said = capfd.readouterr().out
    assert f"Install it with: {command}\n" in said
    assert "called" not in said


def test_root_needs_no_password(machine, capfd, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    fake(machine, "apt-get", f'echo "apt-get $*, $DEBIAN_FRONTEND"; echo > "{machine}/chromium"; chmod +x {machine}/*')
    system_programs.ensure(system_programs.PROGRAMS["chromium"])
    said = capfd.readouterr().out
    assert "apt-get install -y --no-install-recommends chromium, noninteractive" in said
    assert "skipped" not in said


def test_sudo_without_password_is_used(machine, capfd):
    fake(machine, "sudo", 'shift; exec "$@"')  # drops its -n
    fake(machine, "true", "exit 0")
    fake(machine, "dnf", f'echo > "{machine}/node"; echo > "{machine}/npm"; chmod +x {machine}/n*')
    system_programs.ensure(system_programs.PROGRAMS["node"])
    assert capfd.readouterr().out == "Node with npm is missing; installing it with dnf.\n"


def test_failed_installation_is_told_and_stops_nothing(machine, capfd, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    fake(machine, "apt-get", "echo no network >&2; exit 100")
    ensure_all()
    said = capfd.readouterr().out
    assert said.count("The installation failed. Try again with: apt-get install") == 3


def test_homebrew_installs_as_its_user_and_has_no_bubblewrap(machine, capfd):
    fake(machine, "brew", 'echo "brew $*"')
    ensure_all()
    said = capfd.readouterr().out
    assert "brew install node" in said and "brew install google-chrome" in said
    assert "brew install bubblewrap" not in said


def test_nothing_is_said_when_all_is_there(machine, capfd, monkeypatch):
    monkeypatch.setattr(system_programs, "has_libseccomp", lambda: True)
    for name in ("bwrap", "chromium", "node", "npm"):
        fake(machine, name, "exit 0")
    ensure_all()
    assert capfd.readouterr().out == ""


def make_venv(python: str, folder: Path, path: str) -> subprocess.CompletedProcess:
    """Run the script in a copy of scripts/, so that this checkout's .venv is out of its reach."""
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    command = ["/bin/sh", "scripts/make_venv.sh", python]
    return subprocess.run(command, cwd=folder, env={"PATH": path}, capture_output=True, text=True)


def test_absent_or_old_python_is_named(tmp_path):
    absent = make_venv("python3", tmp_path / "absent", str(tmp_path))
    assert absent.returncode == 1
    assert "no 'python3'" in absent.stderr

    fake(tmp_path, "python3", 'if [ "$1" = --version ]; then echo Python 3.9.2; else exit 1; fi')
    old = make_venv("python3", tmp_path / "old", str(tmp_path))
    assert old.returncode == 1
    assert "'python3' is Python 3.9.2" in old.stderr


def test_python_without_ensurepip_is_told_and_leaves_no_venv(tmp_path):
    fake(tmp_path, "python3", f'case "$*" in *ensurepip*) exit 1;; *) exec "{sys.executable}" "$@";; esac')
    done = make_venv("python3", tmp_path / "copy", f"{tmp_path}{os.pathsep}{os.defpath}")
    assert done.returncode == 1
    assert "lacks ensurepip" in done.stderr
    assert not (tmp_path / "copy" / ".venv").exists()


PROGRAMS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_python_in_the_readme_prints_what_it_says(capsys, program):
    exec(program, {})
    (said,) = re.findall(r"print\(.*\)  # (.*)", program)
    assert capsys.readouterr().out.strip() == said
