#!/bin/sh
# Make .venv with the Python named by the first argument, unless a whole one is there; say what is missing otherwise.
set -eu
python=$1

if ! command -v "$python" >/dev/null 2>&1; then
    echo "Python 3.11 or later is needed, and there is no '$python'. Install it, or name another: make PYTHON=/path/to/python3" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "Python 3.11 or later is needed, '$python' is $("$python" --version 2>&1). Name another: make PYTHON=python3.11" >&2
    exit 1
fi
# A venv whose making was interrupted has a python but no pip.
if .venv/bin/python -m pip --version >/dev/null 2>&1; then
    exit 0
fi
# Debian and Ubuntu keep the part of Python that makes virtual environments in a package of its own.
"$python" scripts/system_programs.py venv
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    echo "Cannot make .venv: '$python' lacks ensurepip. After the installation named above, run make again." >&2
    exit 1
fi
echo "Making .venv and installing into it: PyTorch brings gigabytes, so this takes minutes, once."
"$python" -m venv --clear .venv
