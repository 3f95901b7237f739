"""Passages that submissions of a class share: a list for a person to look at, never a verdict.

Code and prose become sequences of tokens: in code a student's own names are all alike, and comments, layout and the
contents of strings do not count; in prose case and punctuation do not. Two submissions share what stands in both as a
run of `LENGTH` tokens or more, as in MOSS (Schleimer, Wilkerson and Aiken, "Winnowing: local algorithms for document
fingerprinting", SIGMOD 2003). Pygments splits code, scikit-learn counts the runs, difflib lays passages side by side.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import Any, NamedTuple

from pygments.lexers import PythonLexer
from pygments.token import Comment, Name, String, Text
from sklearn.feature_extraction.text import CountVectorizer

from autograder.course import Course
from autograder.feedback import render
from autograder.intake import Refused, ReleasedNotebook, cell_text, read_notebook

MAX_CHARACTERS = 200_000  # of a submission's code, and of its prose
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
    """The code or the prose of one submission. Run i begins at token i; one that its cell is too short for is empty."""

    text: str
    tokens: list[Token]
    runs: list[str]

    def passage(self, start: int, length: int) -> str:
        """The text of `length` tokens from token `start` on."""
        return self.text[self.tokens[start].start : self.tokens[start + length - 1].end]


@dataclass(frozen=True)
class Shared:
    """What two documents share: the share of each one's own runs, and the passages, the longest first."""

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
    kinds = {kind: ClassRuns(kind, texts, starter) for kind in TOKENISERS}
    found: dict[tuple[str, str], dict[str, tuple[float, float]]] = defaultdict(dict)
    for kind, runs in kinds.items():
        for students, shares in runs.alike():
            found[students][kind] = shares
    close = [students for students, shares in found.items() if max(map(max, shares.values())) >= threshold]
    pairs = [
        Pair(students, [Shared(kind, both, kinds[kind].passages(*students)) for kind, both in found[students].items()])
        for students in track(close)
    ]
    return sorted(pairs, key=lambda pair: (pair.share, sum(max(part.shares) for part in pair.shared)), reverse=True)


class ClassRuns:
    """The runs of `LENGTH` tokens in what a class handed in, without the starter's, and who shares which of them."""

    def __init__(self, kind: str, texts: dict[str, dict[str, list[str]]], starter: dict[str, list[str]]) -> None:
        self.length = LENGTH[kind]
        self.students = sorted(texts)
        known = names_given(starter["code"])
        given = {"", *_document(kind, starter[kind], known).runs}
        self.documents = {}
        for student in self.students:
            cells = [cell for cell in texts[student][kind] if cell not in starter[kind]]
            self.documents[student] = _document(kind, cells, known | names_given(texts[student]["code"]))
        own = [[run for run in document.runs if run not in given] for document in self.documents.values()]
        counter = CountVectorizer(analyzer=list, binary=True)
        has = counter.fit_transform([*own, [""]])[:-1]  # a row a student, a column a run; it refuses to count nothing
        often = has.sum(axis=0).A1
        rare = (often > 0) & (often <= max(COMMON, COMMON_SHARE * len(self.students)))
        self.rare = set(counter.get_feature_names_out()[rare])
        self.own = has.sum(axis=1).A1
        self.shared = has[:, rare] @ has[:, rare].T

    def alike(self) -> Iterator[tuple[tuple[str, str], tuple[float, float]]]:
        """Pairs who share more than `LENGTH` runs, fewer being chance, and how much each shares of its own.

        That is the containment of Broder ("On the resemblance and containment of documents", SEQUENCES 1997): of the
        different runs that one has, the part that the other has as well. What is common in the class is not shared.
        """
        pairs = self.shared.tocoo()
        for i, j, count in zip(pairs.row, pairs.col, pairs.data, strict=True):
            if i < j and count > self.length:
                shares = (float(count / self.own[i]), float(count / self.own[j]))
                yield (self.students[i], self.students[j]), shares

    def passages(self, first: str, second: str) -> list[tuple[str, str]]:
        """What two students share, side by side, the longest first."""
        one, other = self.documents[first], self.documents[second]
        shared = self.rare.intersection(one.runs, other.runs)
        matcher: SequenceMatcher[str] = SequenceMatcher()  # ... which leaves out text that goes round in circles
        matcher.set_seq2(other.runs)
        found = []
        for is_shared, stretch in groupby(range(len(one.runs)), lambda i: one.runs[i] in shared):
            if is_shared:
                places = list(stretch)
                matcher.set_seq1([one.runs[i] for i in places])
                blocks = matcher.get_matching_blocks()[:-1]  # the last one is always empty
                found += [(places[a], b, count + self.length - 1) for a, b, count in blocks]
        found.sort(key=lambda passage: -passage[2])
        return [(one.passage(a, count), other.passage(b, count)) for a, b, count in found]


def _document(kind: str, cells: Iterable[str], names: Set[str]) -> Document:
    """The document of a notebook's cells; a run does not cross cells."""
    length, text, tokens, runs = LENGTH[kind], "", [], []
    for cell in cells:
        read = TOKENISERS[kind](cell, names)
        values = [token.value for token in read]
        runs += [" ".join(values[i : i + length]) if i + length <= len(values) else "" for i in range(len(values))]
        tokens += [Token(token.value, token.start + len(text), token.end + len(text)) for token in read]
        text += cell + "\n\n"
    return Document(text, tokens, runs)


def report_html(assignment: str, pairs: list[Pair], count: int, refused: dict[str, str], threshold: float) -> str:
    """One page with the pairs and their shared passages side by side."""
    return render(
        "similarity.html",
        assignment=assignment, pairs=pairs, count=count, refused=refused, threshold=threshold, lengths=LENGTH,
        common=COMMON, common_share=COMMON_SHARE,
    )  # fmt: skip
