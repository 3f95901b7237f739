"""`python -m segedu` is the command `segedu`."""

from segedu.cli import app

app()
