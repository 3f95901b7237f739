"""Look at a data set before anything is trained on it: views of a COCO document, each a figure and a table.

`measure` decodes all masks once; `classes`, `sizes`, `positions`, `crowding`, `together` and `chords` look at what it
found. `flaws` looks at the document itself, and `colours` at the images. FiftyOne is not needed.
"""

from segedu.explore.chords import chords
from segedu.explore.classes import classes, imbalance
from segedu.explore.colours import ColourStatistics, colours
from segedu.explore.crossings import self_crossings
from segedu.explore.crowding import crowding
from segedu.explore.flaws import Flaw, Limits, find_flaws, flaws
from segedu.explore.objects import Objects, measure
from segedu.explore.positions import positions
from segedu.explore.sizes import sizes
from segedu.explore.together import cooccurrence, pairs, together
from segedu.explore.view import View

__all__ = [
    "ColourStatistics",
    "Flaw",
    "Limits",
    "Objects",
    "View",
    "chords",
    "classes",
    "colours",
    "cooccurrence",
    "crowding",
    "find_flaws",
    "flaws",
    "imbalance",
    "measure",
    "pairs",
    "positions",
    "self_crossings",
    "sizes",
    "together",
]
