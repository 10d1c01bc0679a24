"""The file list shows the architecture, and one name is one thing: few rooms, no class or function twice."""

from __future__ import annotations

import ast
from collections import defaultdict

import pytest

import rooms
from bsr.experiments import EXPERIMENTS
from reports.chapters import figures

LARGE = {"bsr.plugin", "bsr.stats", "reports.chapters"}
"""Rooms of more than twelve files: a hook, a statistic or a question each."""
PROTOCOL = {
    "main",  # a command
    "read",  # whatever a module reads
    "check",  # what a module refuses
    "document",  # pytest-benchmark's, made anew by each that writes one
    "identity",  # what must agree
    "measure",  # a probe; the plugin's fixture
    "train",  # a learner, in this process or another
    "spent_reason",  # asked of every engine, whoever trains by it
    "finding",  # a chapter's one, or several
    "findings",
    "figures",
    "tables",
}
"""Functions that several modules have because something asks each for one of that name."""


@pytest.fixture(scope="module")
def house() -> rooms.House:
    return rooms.house()


def test_the_file_list_is_a_house_of_few_rooms(house: rooms.House) -> None:
    assert house.circle == []
    assert (len(house.rooms) <= 34, len(house.arrows) <= 145, house.floors <= 10) == (True, True, True)


def test_the_package_never_looks_up_to_the_report(house: rooms.House) -> None:
    assert [arrow for arrow in house.arrows if arrow[0].startswith("bsr") and "reports" in arrow[1]] == []


def test_no_room_is_crowded(house: rooms.House) -> None:
    crowded = {room for room, files in house.rooms.items() if len(files) > 12}
    assert crowded <= LARGE
    assert len(list((rooms.ROOT / "bsr").glob("*.py"))) <= 9


def defined(kind: type[ast.stmt]) -> dict[str, set[str]]:
    """Public name -> modules that define it at their top."""
    found = defaultdict(set)
    for module, file in rooms.modules().items():
        for node in rooms.tree(file).body:
            if isinstance(node, kind) and not node.name.startswith("_"):  # type: ignore[attr-defined]
                found[node.name].add(module)  # type: ignore[attr-defined]
    return found


def test_no_public_class_is_two_things() -> None:
    assert {name: where for name, where in defined(ast.ClassDef).items() if len(where) > 1} == {}


def test_no_public_function_is_two_things_but_what_a_protocol_asks_for() -> None:
    drawn = {getattr(figure.draw, "__name__", "") for figure in figures()}
    planned = {getattr(one.runs, "__name__", "") for one in EXPERIMENTS.values()}
    asked_for = PROTOCOL | drawn | planned  # figures and experiments have functions' names
    twice = {name: where for name, where in defined(ast.FunctionDef).items() if len(where) > 1}
    assert {name: where for name, where in twice.items() if name not in asked_for} == {}
    assert twice.keys() >= PROTOCOL  # the list holds nothing that is not needed
