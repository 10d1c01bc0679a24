"""The recordings in benchmarks/results, and what README, docs and the package say by them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bsr.experiments import PRESETS, plan, rates
from bsr.records.reading import one_of, read
from reports.analysis import choosing
from reports.analysis import decomposition as gap
from reports.cells import Cells
from reports.chapters import findings
from reports.chapters.adam_memory import finding as adam_memory
from reports.chapters.anchor import finding as anchor
from reports.chapters.choosing import as_long
from reports.chapters.rate_rules import finding as rate_rules
from reports.chapters.tuning import CHAPTER as TUNING
from reports.page import first

ROOT = Path(__file__).parents[2]
TUNING_JOURNALS = sorted((ROOT / "benchmarks" / "results").glob("cpu-tune*.journal.jsonl.gz"))
FACTORS = re.compile("\N{MULTIPLICATION SIGN}[0-9.,]+ \\([^)]*\\)")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not TUNING_JOURNALS, reason="recordings are in a checkout alone"),
]


def recorded(*paths: Path) -> Cells:
    return Cells(one_of([read(path) for path in paths], Path("answer.json")))


def prose(path: str) -> str:
    """A document with its lines joined."""
    return " ".join((ROOT / path).read_text(encoding="utf-8").split())


def test_the_rates_that_ship_are_those_of_the_recordings() -> None:
    (table,) = TUNING.tables(recorded(*TUNING_JOURNALS))
    shipped = rates.SHIPPED.read_bytes().splitlines(keepends=True)
    assert table.csv() == b"".join(line for line in shipped if not line.startswith(b"#"))


def test_the_preset_why_takes_them() -> None:
    grid = PRESETS["why-first"].grid
    shipped = plan(PRESETS["why-first"].experiments, grid)
    assert shipped == plan(PRESETS["why-first"].experiments, replace(grid, rates=rates.shipped()))


@pytest.fixture(scope="module")
def data() -> Cells:
    """The recordings of the first protocol, as one."""
    runs = ROOT / "benchmarks" / "results"
    return recorded(*TUNING_JOURNALS, runs / "cpu-why.journal.jsonl.gz", runs / "cpu-native.json.gz")


@pytest.fixture(scope="module")
def answer() -> Cells:
    """The second protocol's A and the study, as the answer's page is drawn from them."""
    runs = ROOT / "benchmarks" / "results"
    paths = [*sorted(runs.glob("cpu-square-*.journal.jsonl.gz")), runs / "cpu-native.json.gz"]
    return Cells(one_of([read(path) for path in paths], Path("answer.json"), several_machines=True))


@pytest.mark.parametrize("target", [0.01, 0.005])
def test_docs_say_which_batch_size_is_soonest(answer: Cells, target: float) -> None:
    found = {one.timed: one for one in choosing.answers(replace(answer, target=target))}
    for loop in ("native, one core", "eager, 2 threads"):
        ratios = found[f"{loop}, alone"].ratios
        said = " | ".join(as_long(ratio) for size, ratio in ratios.items() if size > 16)
        assert f"| {loop} | {100 * target:g}% | {said} |".replace(" times as long", "") in prose(
            "docs/choosing.md"
        )
    if target == 0.01:
        times = as_long(found["native, one core, alone"].ratios[1024]).partition(" (")[0]
        assert f"1024 takes [{times.replace(' as long', '')}](docs/choosing.md)" in prose("README.md")
        fewer = choosing.updates_over(answer, target, 16)[1024].factor
        assert f"to 1% it needs {fewer:.2f} times the updates" in prose("docs/choosing.md")


def test_the_page_says_what_readme_does(answer: Cells) -> None:
    found = findings(answer)
    said = first.conclusion(found)
    assert len(said.split()) <= first.MOST_WORDS
    assert said.endswith("after equal updates larger batches are better.")
    parts = [line.what for line in first.parts(found)]
    assert parts == ["To a given error", "After equal epochs", "After equal updates"]
    told = FACTORS.findall(found.answer.sentence)
    assert len(told) == 9
    assert [factor for factor in told if factor not in prose("README.md")] == []


def test_the_first_protocol_s_page_says_what_docs_do(data: Cells) -> None:
    why = prose("docs/why-first.md")
    assert [factor for factor in FACTORS.findall(gap.answer(data)) if factor not in why] == []
    (rules,), (memory,), (meets,) = rate_rules(data), adam_memory(data), anchor(data)
    told = [*FACTORS.findall(rules.sentence), *FACTORS.findall(memory.sentence)[:1]]
    assert len(told) == 7
    assert [factor for factor in told if factor not in why] == []
    assert rules.verdict == "cannot tell"  # five seeds carry no p-value
    assert all("n = 5 seeds" in line for line in rules.statistics[:2])
    assert meets.verdict == "shown"
    assert "0.970 times" in meets.sentence
    assert "(90% interval 0.888 to 1.06)" in meets.sentence
    assert "(90% interval 0.888 to 1.06)" in why


def test_the_first_screen_concludes_in_a_sentence_and_holds_every_part_that_was_measured(data: Cells) -> None:
    found = findings(data)
    said = first.conclusion(found)
    assert len(said.split()) <= first.MOST_WORDS
    assert "fewer updates" in said
    assert "16" in said
    whole, itself = (line.finding.short for line in first.parts(found)[1:])
    assert whole.number in gap.sentences(data)[0]
    assert gap.factor(gap.primary(data).parts["batch size"]) == itself.number  # type: ignore[union-attr]
    assert all("to zero" in one.sentence for one in (whole, itself))
