"""The `{quiz}` directive: self-check questions from a JSON file, complete in the page and brought to life by quiz.js.

The file has the format of the package jupyterquiz, so `jupyterquiz.display_quiz(file)` shows the same questions in a
notebook. Its own script is not used in the book: it fetches MathJax from another host, and announces nothing to
screen readers. Here text, mathematics and explanations are set when the book is built; without JavaScript the
explanations simply stay visible.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def check_question(question: dict[str, Any]) -> None:
    """Raise ValueError where a question could not be answered or would leave a wrong answer without a reason."""
    text = question.get("question", "")
    kinds = ("multiple_choice", "many_choice", "numeric")
    if question.get("type") not in kinds:
        raise ValueError(f"{text!r}: type must be one of {kinds}, got {question.get('type')!r}")
    right = sum(bool(answer.get("correct")) for answer in question["answers"])
    if right == 0 or (question["type"] == "multiple_choice" and right > 1):
        raise ValueError(f"{text!r}: {question['type']} has {right} correct answers")
    if not all(answer.get("feedback") for answer in question["answers"]):
        raise ValueError(f"{text!r}: every answer needs feedback, right or wrong")
    if question["type"] == "numeric" and question["answers"][-1]["type"] != "default":
        raise ValueError(f"{text!r}: the last answer of a numeric question must be of type 'default'")


class Quiz(SphinxDirective):
    """`{quiz} file.json`, the path relative to the page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        relative, absolute = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(relative)
        try:
            questions = json.loads(Path(absolute).read_text("utf-8"))
            for question in questions:
                check_question(question)
        except (OSError, ValueError, KeyError) as error:
            raise self.error(f"quiz {self.arguments[0]}: {error}") from error
        name = Path(absolute).stem
        output = [html('<div class="quiz">')]
        for number, question in enumerate(questions, 1):
            output += self.question(question, f"{name}-q{number}", number)
        return [*output, html("</div>")]

    def question(self, question: dict[str, Any], identifier: str, number: int) -> list[nodes.Node]:
        form = self.numeric if question["type"] == "numeric" else self.choice
        hint = "<em> Choose all that apply.</em>" if question["type"] == "many_choice" else ""
        return [
            html(f'<div class="quiz-question" role="group" aria-labelledby="{identifier}">'),
            html(f'<div class="quiz-text" id="{identifier}"><span class="quiz-number">Question {number}.</span>'),
            *self.text(question["question"]),
            html(f"{hint}</div>"),
            *form(question["answers"], identifier),
            html("</div>"),
        ]

    def choice(self, answers: list[dict[str, Any]], identifier: str) -> list[nodes.Node]:
        output = []
        for answer in answers:
            verdict = "right" if answer["correct"] else "wrong"
            output += [
                html(f'<div class="quiz-answer"><button type="button" aria-pressed="false" data-verdict="{verdict}">'),
                *self.text(answer["answer"]),
                html("</button>"),
                *self.explanation(answer, verdict),
                html("</div>"),
            ]
        return output

    def numeric(self, answers: list[dict[str, Any]], identifier: str) -> list[nodes.Node]:
        field = f"{identifier}-number"
        output = [
            html('<form class="quiz-answer"><div class="quiz-field">'),
            html(
                f'<label for="{field}">Your number</label><input id="{field}" inputmode="decimal" autocomplete="off">'
            ),
            html('<button type="submit">Check</button></div>'),
        ]
        for answer in answers:
            low, high = {"value": lambda a: (a["value"],) * 2, "range": lambda a: a["range"]}.get(
                answer["type"], lambda a: ("-Infinity", "Infinity")
            )(answer)
            verdict = "right" if answer.get("correct") else "wrong"
            output += [
                html(f'<div data-low="{low}" data-high="{high}">'),
                *self.explanation(answer, verdict),
                html("</div>"),
            ]
        return [*output, html("</form>")]

    def explanation(self, answer: dict[str, Any], verdict: str) -> list[nodes.Node]:
        label = "Right." if verdict == "right" else "Not quite."
        return [
            html(f'<div aria-live="polite"><div class="quiz-why {verdict}"><strong>{label}</strong>'),
            *self.text(answer["feedback"]),
            html("</div></div>"),
        ]

    def text(self, markdown: str) -> list[nodes.Node]:
        """Markdown to inline nodes: the paragraph around them would be invalid inside a button."""
        holder = nodes.Element()
        self.state.nested_parse(StringList([markdown], source=self.arguments[0]), 0, holder)
        return [html("<span>"), *(child for paragraph in holder for child in paragraph.children), html("</span>")]


def html(source: str) -> nodes.raw:
    return nodes.raw("", source, format="html")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("quiz", Quiz)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
