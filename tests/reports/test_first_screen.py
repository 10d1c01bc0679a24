"""The first screen of a page: one sentence, the parts of the answer, and what the study concluded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import synthetic
from bsr.experiments import Grid
from bsr.records.reading import Recording, read
from reports.cells import Cells
from reports.chapters import figures, findings
from reports.chapters.chapter import OUTSIDE
from reports.page import first
from reports.text.glossary import WORDS, Glossary
from reports.text.verdicts import Finding, Findings, Short

ROOT = Path(__file__).parents[2]
NOTHING = Finding("question", "It matters.", "cannot tell", "These data cannot say.")


def of(*learning: Finding, answer: Finding = NOTHING) -> Findings:
    return Findings(answer, learning, ())


def said(part: str, clause: str) -> Finding:
    return Finding(part, "", "shown", "", short=Short("1", part, "It does.", clause))


def test_the_parts_stand_in_the_order_in_which_they_are_asked_whatever_the_order_of_the_findings() -> None:
    found = of(said("With little data", ""), said("After equal updates", ""), said("To a given error", ""))
    asked = ["To a given error", "After equal updates", "With little data"]
    assert [line.what for line in first.parts(found)] == asked


def test_the_first_finding_of_a_part_speaks_for_it() -> None:
    planned, other = said("After equal updates", "planned"), said("After equal updates", "other")
    (line,) = first.parts(of(planned, other))
    assert line.finding is planned


def test_the_conclusion_has_at_most_thirty_words_and_two_numbers() -> None:
    short, long = said("To a given error", "16 is soonest"), said("After equal epochs", "word " * 28 + "last")
    assert first.conclusion(of(short, long)) == "16 is soonest."
    numbers = said("After equal epochs", "1024 has 15 times the error")
    assert first.conclusion(of(short, numbers)) == "16 is soonest."
    words = said("After equal epochs", "larger ones are worse")
    assert first.conclusion(of(short, words)) == "16 is soonest; larger ones are worse."


@pytest.mark.slow  # reads a whole study
def test_what_was_recorded_concludes_in_one_short_sentence_with_its_schedule() -> None:
    path = ROOT / "benchmarks" / "results" / "cpu-native.json.gz"
    if not path.exists():
        pytest.skip("recordings are in a checkout alone")
    sentence = first.conclusion(findings(Cells(read(path))))
    assert len(sentence.split()) <= first.MOST_WORDS
    assert len(re.findall(r"\d[\d.,]*", sentence)) <= first.MOST_NUMBERS
    assert "at a constant rate" in sentence


def test_every_conclusion_of_the_study_has_a_row_and_those_not_measured_come_last() -> None:
    session = synthetic.session(grid=Grid(tasks=("mean",), batch_sizes=(16, 256), runs=3, epochs=2))
    found = findings(Cells(Recording(path=Path("run.json"), session=session)))
    rows = first.conclusions(found)
    assert len(rows) >= 10
    options = [bool(row.finding.options) for row in rows]
    assert options == sorted(options)


def test_readme_draws_the_answer_as_the_page_of_one_seed_says() -> None:
    assert first.DRAW_THE_ANSWER in (ROOT / "README.md").read_text(encoding="utf-8")


def test_at_most_twelve_figures_stand_outside_the_appendix_and_each_exists() -> None:
    placed = figures()
    assert set(OUTSIDE) <= {figure.name for figure in placed}
    assert len(OUTSIDE) <= 12
    titles = [figure.title for figure in placed]
    assert len(set(titles)) == len(titles)


def test_a_word_is_explained_where_it_first_stands_and_once() -> None:
    glossary = Glossary()
    once = glossary.explained("Two <schedules>, and a schedule.")
    assert once.startswith("Two &lt;<dfn>")
    assert once.count("<dfn>") == 1
    assert WORDS["schedule"] in once
    assert "<dfn>" not in glossary.explained("Another schedule")
    assert glossary.met == {"schedule": WORDS["schedule"]}
    assert "\\x1b" in glossary.explained("\x1b[31m")
