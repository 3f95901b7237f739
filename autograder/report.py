"""What a report in Markdown holds: its words, its references, its figures and their captions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from markdown_it import MarkdownIt
from markdown_it.token import Token

WORD = re.compile(r"\w+(?:[-'’.,/]\w+)*")  # "state-of-the-art", "don't", "0.75" and "and/or" are one word each
FIGURES = re.compile(r"\b(?:figures?|figs?\.?)\s*(\d+(?:\s*(?:,|and|&|to|[-–])\s*\d+)*)", re.IGNORECASE)
CAPTION = re.compile(r"(?:figure|fig\.?)\s*(\d+)\s*[.:–—-]", re.IGNORECASE)
DOI = re.compile(r"\b10\.\d{4,9}/\S+")
ARXIV = re.compile(
    r"arxiv(?:\.org/(?:abs|pdf)/|[:\s]\s*(?:preprint\s+)?(?:arxiv:)?)\s*(\d{4}\.\d{4,5}|[a-z-]+/\d{7})", re.I
)
YEAR = re.compile(r"\b(?:19|20)\d\d[a-z]?\b")
NUMBER = re.compile(r"^\s*\[?(\d{1,3})[\].)]\s*")
_HEADING = re.compile(
    r"^\W*(?:[\d.]+\s*)?(?:references?|reference list|bibliography|works cited|literature cited)\W*$", re.I
)
_CONTINUED = re.compile(r"\W*(?:doi|https?|arxiv|in|pp?|vol|proceedings)\b", re.I)
_NUMBERED_ENTRY = re.compile(r"^\s*\[\d{1,3}\]\s+\S.*\b(?:19|20)\d\d")
_MATHEMATICS = re.compile(r"\$\$.+?\$\$|\$(?!\s)[^$\n]+?(?<!\s)\$(?!\d)", re.DOTALL)
_TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True)
class Reference:
    """An entry of the list of references. `source` is what it can be found by: DOI, arXiv, author and year, or none."""

    text: str
    source: str

    @property
    def number(self) -> str:
        found = NUMBER.match(self.text)
        return found[1] if found else ""

    @property
    def author(self) -> str:
        """The first author's family name, as far as an entry begins with it; an empty string if not."""
        start = NUMBER.sub("", self.text)
        found = re.match(r"\W*(?:[A-Z]\.[-\s]*)*([^\W\d_][\w'’-]+)", start)
        return found[1] if found else ""

    def cited_in(self, text: str) -> bool:
        """Whether the running text names it, by its number in brackets or by its first author."""
        numbers = re.findall(r"\[([\d,;\s–-]+)\]", text)
        if self.number and any(self.number in _numbers(group) for group in numbers):
            return True
        return bool(self.author) and re.search(rf"\b{re.escape(self.author)}\b", text) is not None


@dataclass
class Report:
    """What the cells of a report hold."""

    text: list[str] = field(default_factory=list)  # running text, block by block
    references: list[Reference] = field(default_factory=list)
    images: int = 0
    captions: dict[str, str] = field(default_factory=dict)  # the block that holds it, by the figure's number
    bare_images: int = 0  # without a caption beside them

    @property
    def words(self) -> int:
        """The words of running text, headings, captions and tables; not those of references, code and formulas."""
        return sum(len(WORD.findall(block)) for block in self.text)


def read_report(cells: list[str]) -> Report:
    """Read the report's cells, each a text in Markdown."""
    report = Report()
    for cell in cells:
        _read_cell(_MATHEMATICS.sub(" ", cell), report)
    return report


def figures_named(text: str) -> set[str]:
    """The numbers of the figures that a text names, as in "Figures 1 and 2"."""
    return {number for group in FIGURES.findall(text) for number in re.findall(r"\d+", group)}


def _read_cell(markdown: str, report: Report) -> None:
    level = 0  # of the heading of the references that we are below; 0: of none
    blocks: list[tuple[str, int]] = []  # text and number of images of each block that is not a reference
    item = ""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type == "list_item_open":
            item = f"[{token.info}] " if token.info else ""
        elif token.type == "html_block":
            blocks.append((_TAG.sub(" ", token.content), token.content.count("<img")))
        elif token.type == "inline":
            text, images = _inline(token)
            is_heading = before.type == "heading_open"
            depth = int(before.tag[1]) if is_heading else 7  # a line of its own is the lowest heading
            if _HEADING.match(text):
                level = depth
                continue
            if is_heading and depth <= level:
                level = 0
            if level:
                report.references += _entries((item + token.content).splitlines())
                item = ""
                continue
            lines = token.content.splitlines()
            entries = [line for line in lines if _NUMBERED_ENTRY.match(line)]
            report.references += _entries(entries)
            blocks.append(("" if entries and len(entries) == len(lines) else text, images))
    report.text += [text for text, _ in blocks]
    _find_captions(blocks, report)


def _inline(token: Token) -> tuple[str, int]:
    """The text of a block without code and tags, and the number of its images."""
    parts, images = [], 0
    for child in token.children or []:
        if child.type == "text":
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append("\n")
        images += child.type == "image" or (child.type == "html_inline" and child.content.startswith("<img"))
    return "".join(parts), images


def _entries(lines: list[str]) -> list[Reference]:
    """The references in the lines of one block: an entry may be wrapped, or each line be one."""
    entries: list[str] = []
    for line in (line.strip() for line in lines if WORD.search(line)):
        named = YEAR.search(line) and Reference(line, "").author and not _CONTINUED.match(line)
        begins = NUMBER.match(line) or named
        if entries and not (begins and _source(entries[-1])):
            entries[-1] += f" {line}"
        else:
            entries.append(line)
    return [Reference(entry, _source(entry)) for entry in entries]


def _source(entry: str) -> str:
    if DOI.search(entry):
        return "DOI"
    if ARXIV.search(entry):
        return "arXiv"
    return "author and year" if YEAR.search(entry) and Reference(entry, "").author else ""


def _find_captions(blocks: list[tuple[str, int]], report: Report) -> None:
    """A caption begins with "Figure" and a number, in the image's own block or in the one before or after."""
    captions = [[CAPTION.match(line.strip()) for line in text.splitlines()] for text, _ in blocks]
    numbers = [[found[1] for found in lines if found] for lines in captions]
    for i, (text, images) in enumerate(blocks):
        report.captions.update(dict.fromkeys(numbers[i], text))
        report.images += images
        near = sum(len(found) for found in numbers[max(i - 1, 0) : i + 2])
        report.bare_images += max(images - near, 0)


def _numbers(group: str) -> set[str]:
    """The numbers in brackets such as "1, 3-5"."""
    found = set()
    for part in re.split(r"[,;\s]+", group.strip()):
        first, _, last = part.replace("–", "-").partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            found.update(str(n) for n in range(int(first), min(int(last or first), int(first) + 50) + 1))
    return found
