"""Files that come with the course: within the package as a wheel has it, or beside it as the repository does."""

from pathlib import Path


def shipped_folder(name: str) -> Path:
    """The folder of this name that the course ships: "photos", "checkpoints" or "records".

    Raises:
        FileNotFoundError: if the installation lacks it.
    """
    package = Path(__file__).parent
    candidates = (package / "_data" / name, package.parent / "data" / name)
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"{name} must be in {candidates[0]} or {candidates[1]}, and are not: reinstall segedu")
