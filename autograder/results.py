"""What grading yields: a result for each test, and one for each submission."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Panel:
    """One picture of a test's feedback: a caption and safe HTML (an image, a small table of numbers, or text)."""

    caption: str
    html: str


@dataclass(frozen=True)
class TestResult:
    """How one test of a suite went for one student."""

    __test__ = False  # pytest: not a test class

    name: str
    cell: str  # the notebook's test cell that its points belong to
    title: str
    max_points: float
    passed: bool
    hidden: bool = False
    message: str = ""  # what went wrong, in words a student may read
    hint: str = ""
    hint_id: str = ""
    panels: tuple[Panel, ...] = ()
    withheld: str = ""  # for the instructor alone: the message of a hidden test
    internal: str = ""  # for the instructor alone: an error inside the suite

    @property
    def points(self) -> float:
        return self.max_points if self.passed else 0.0


@dataclass
class SubmissionResult:
    """One student's graded exercise.

    `refused` is the reason why the submission could not be graded at all (a symbolic link, not a notebook ...);
    `notes` say what the intake repaired and what went wrong while the notebook's cells ran.
    """

    student: str
    assignment: str
    tests: list[TestResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: str = ""
    insecure: bool = False
    seconds: float = 0.0
    fingerprint: str = ""  # of the submission, the suite and the seed: equal fingerprints give equal results

    @property
    def points(self) -> float:
        return sum(test.points for test in self.tests)

    @property
    def max_points(self) -> float:
        return sum(test.max_points for test in self.tests)

    def cell(self, name: str) -> list[TestResult]:
        """The results whose points belong to the test cell `name`, in the suite's order."""
        return [test for test in self.tests if test.cell == name]

    def cell_points(self, name: str) -> float:
        # A plain float: nbgrader reads the repr of a NumPy number as full marks.
        return float(sum(test.points for test in self.cell(name)))

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> SubmissionResult:
        data = json.loads(text)
        tests = [
            TestResult(**{**test, "panels": tuple(Panel(**panel) for panel in test["panels"])})
            for test in data.pop("tests")
        ]
        return cls(tests=tests, **data)
