"""Passages that submissions of a class share: a list for a person to look at, never a verdict.

Code and prose become sequences of tokens: in code a student's own names are all alike, and comments, layout and the
contents of strings do not count; in prose case and punctuation do not. Two submissions share what stands in both as a
run of `LENGTH` tokens or more. This is the fingerprinting of MOSS (Schleimer, Wilkerson and Aiken, "Winnowing: local
algorithms for document fingerprinting", SIGMOD 2003) with all fingerprints kept, for a class is small enough.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

from pygments.lexers import PythonLexer
from pygments.token import Comment, Name, String, Text

from autograder.course import Course
from autograder.feedback import render
from autograder.intake import Refused, ReleasedNotebook, cell_text, read_notebook

MAX_CHARACTERS = 200_000  # of a submission's code, and of its prose
MAX_PLACES = 20  # of one run in a submission: text that goes round in circles would take for ever
LENGTH = {"code": 20, "report": 8}  # tokens of code, words of prose
COMMON = 10  # what more submissions than this share is the course's or the language's, as in MOSS ...
COMMON_SHARE = 0.1  # ... or more than this share of a large class


class Token(NamedTuple):
    """A token as it is compared, and where it stands in the text."""

    value: str
    start: int
    end: int


@dataclass(frozen=True)
class Document:
    """The code or the prose of one submission. `own` counts the tokens that are not the starter's."""

    text: str
    tokens: list[Token]
    own: int
    grams: dict[tuple[str, ...], list[int]]  # positions by run of tokens; without the starter's and common ones

    def passage(self, start: int, length: int) -> str:
        """The text of `length` tokens from token `start` on."""
        return self.text[self.tokens[start].start : self.tokens[start + length - 1].end]


@dataclass(frozen=True)
class Shared:
    """What two documents share: the share of each one's own tokens, and the passages, the longest first."""

    kind: str  # code | report
    shares: tuple[float, float]
    passages: list[tuple[str, str]]


@dataclass(frozen=True)
class Pair:
    """Two submissions that share more than the threshold, in code or in prose."""

    students: tuple[str, str]
    shared: list[Shared]

    @property
    def share(self) -> float:
        return max(max(part.shares) for part in self.shared)


def code_tokens(text: str, names: Set[str] = frozenset()) -> list[Token]:
    """The tokens of Python code, or of what was meant to be; `names` are those that its author gave."""
    found, position = [], 0
    for kind, value in PythonLexer(stripnl=False, ensurenl=False).get_tokens(text):
        start, position = position, position + len(value)
        if kind in Text or kind in Comment or kind in String.Doc or not value.strip():
            continue
        if kind in String:
            if found and found[-1].value == "text":
                found[-1] = found[-1]._replace(end=position)  # quotes, prefix and contents are one token
                continue
            value = "text"
        elif kind in Name and value in names:
            value = "name"
        found.append(Token(value, start, position))
    return found


def word_tokens(text: str, names: Set[str] = frozenset()) -> list[Token]:
    """The words and numbers of prose, in lower case."""
    return [Token(match[0].lower(), *match.span()) for match in re.finditer(r"\w+(?:['’]\w+)?", text)]


TOKENISERS = {"code": code_tokens, "report": word_tokens}


def names_given(texts: Iterable[str]) -> set[str]:
    """Names that cells of code give to something of their own; a cell that is no Python gives none."""
    names = set()
    for text in texts:
        try:
            tree = ast.parse(re.sub(r"(?m)^[ \t]*[%!].*", "", text))  # lines of IPython's
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in ast.walk(tree):
            match node:
                case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.alias(asname=str(name)):
                    names.add(name)
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    names.add(name)
    return names


def cell_texts(notebook: dict[str, Any]) -> dict[str, list[str]]:
    """The texts of a notebook's cells by kind: code, and prose as `report`; of each kind the first `MAX_CHARACTERS`."""
    texts: dict[str, list[str]] = {"code": [], "report": []}
    left = dict.fromkeys(texts, MAX_CHARACTERS)
    kinds = {"code": "code", "markdown": "report"}
    for cell in (cell for cell in notebook["cells"] if isinstance(cell, dict)):
        kind = kinds.get(str(cell.get("cell_type")))
        if kind:
            texts[kind].append(cell_text(cell)[: left[kind]])
            left[kind] -= len(texts[kind][-1])
    return texts


def read_class(
    course: Course, assignment: str, track: Callable[[Iterable[str]], Iterable[str]] = iter
) -> tuple[dict[str, dict[str, list[str]]], dict[str, list[str]], dict[str, str]]:
    """What a class handed in: texts by student and kind, the starter's texts by kind, and why others were refused."""
    released = ReleasedNotebook.load(course.released_notebook(assignment))
    texts, refused = {}, {}
    for student in track(course.students(assignment)):
        try:
            texts[student] = cell_texts(read_notebook(course.submitted / student / assignment, released)[0])
        except Refused as refusal:
            refused[student] = str(refusal)
    return texts, cell_texts(released.notebook), refused


def compare(
    texts: dict[str, dict[str, list[str]]],
    starter: dict[str, list[str]],
    threshold: float,
    track: Callable[[list], Iterable] = iter,
) -> list[Pair]:
    """The pairs of students of whom one shares `threshold` (0 to 1) or more of its own code or prose, most first."""
    documents = {kind: _documents(texts, starter, kind) for kind in TOKENISERS}
    candidates = sorted({pair for kind in documents for pair in _candidates(documents[kind], LENGTH[kind])})
    pairs = []
    for students in track(candidates):
        parts = (_shared(kind, *(documents[kind][student] for student in students)) for kind in TOKENISERS)
        pair = Pair(students, [part for part in parts if part.passages])
        if pair.shared and pair.share >= threshold:
            pairs.append(pair)
    return sorted(pairs, key=lambda pair: -pair.share)


def _documents(texts: dict[str, dict[str, list[str]]], starter: dict[str, list[str]], kind: str) -> dict[str, Document]:
    """Each student's document of a kind."""
    length, tokenise = LENGTH[kind], TOKENISERS[kind]
    known = names_given(starter["code"])
    given = {gram for part in starter[kind] for gram, _ in _runs(tokenise(part, known), length)}
    read = {}
    for student, parts in texts.items():
        names = known | names_given(parts["code"])
        text, tokens, grams = "", [], defaultdict(list)
        for part in parts[kind]:  # a run does not cross cells
            if part in starter[kind]:
                continue
            first, offset = len(tokens), len(text)
            tokens += [Token(t.value, t.start + offset, t.end + offset) for t in tokenise(part, names)]
            for gram, position in _runs(tokens[first:], length):
                if gram not in given and len(grams[gram]) < MAX_PLACES:
                    grams[gram].append(first + position)
            text += part + "\n\n"
        read[student] = (text, tokens, grams)
    often = Counter(gram for *_, grams in read.values() for gram in grams)
    limit = max(COMMON, COMMON_SHARE * len(read))
    documents = {}
    for student, (text, tokens, grams) in read.items():
        own = len({p + i for positions in grams.values() for p in positions for i in range(length)})
        rare = {gram: positions for gram, positions in grams.items() if often[gram] <= limit}
        documents[student] = Document(text, tokens, own, rare)
    return documents


def _runs(tokens: list[Token], length: int) -> Iterator[tuple[tuple[str, ...], int]]:
    values = [token.value for token in tokens]
    for position in range(len(values) - length + 1):
        yield tuple(values[position : position + length]), position


def _candidates(documents: dict[str, Document], length: int) -> set[tuple[str, str]]:
    """Pairs that share at least twice `length` tokens in a row or in places; less is chance."""
    students: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for student, document in documents.items():
        for gram in document.grams:
            students[gram].append(student)
    counts = Counter(pair for names in students.values() for pair in combinations(sorted(names), 2))
    return {pair for pair, count in counts.items() if count > length}


def _shared(kind: str, first: Document, second: Document) -> Shared:
    """Cut what the first document shares with the second into passages, each as long as it can be made."""
    length, places = LENGTH[kind], sorted((p, gram) for gram, found in first.grams.items() for p in found)
    tiles, end = [], 0
    for position, gram in places:
        if position < end or gram not in second.grams:
            continue
        run, there = max((_common_run(first, position, second, q, length), q) for q in second.grams[gram])
        tiles.append((position, there, run))
        end = position + run
    covered = [len({i for tile in tiles for i in range(tile[side], tile[side] + tile[2])}) for side in (0, 1)]
    shares = tuple(min(1.0, n / d.own) if d.own else 0.0 for n, d in zip(covered, (first, second), strict=True))
    tiles.sort(key=lambda tile: -tile[2])
    return Shared(kind, shares, [(first.passage(p, run), second.passage(q, run)) for p, q, run in tiles])


def _common_run(first: Document, p: int, second: Document, q: int, length: int) -> int:
    """How many tokens from p and q on are the same, as long as neither the starter's nor common."""
    run = length
    while True:
        next_one = run - length + 1  # the run of `length` tokens that ends one token further on
        gram = tuple(token.value for token in first.tokens[p + next_one : p + run + 1])
        if p + next_one not in first.grams.get(gram, ()) or q + next_one not in second.grams.get(gram, ()):
            return run
        run += 1


def report_html(assignment: str, pairs: list[Pair], count: int, refused: dict[str, str], threshold: float) -> str:
    """One page with the pairs and their shared passages side by side."""
    return render(
        "similarity.html",
        assignment=assignment, pairs=pairs, count=count, refused=refused, threshold=threshold, lengths=LENGTH,
        common=COMMON, common_share=COMMON_SHARE,
    )  # fmt: skip
