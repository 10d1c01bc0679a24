"""One rule says what must agree before results meet, and names what does not with both values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synthetic
from bsr.experiments import PRESETS, Grid
from bsr.experiments.original import batch_size
from bsr.records.agreement import (
    held_against,
    members,
    unlike,
    unlike_circumstances,
    unlike_sessions,
    unlike_trainings,
)
from bsr.records.journal import Header
from bsr.records.schema import SessionRecord
from bsr.result import Trait
from bsr.run import Execution

RUNS = tuple(batch_size(PRESETS["smoke"].grid))
GRID = Grid(tasks=("mean", "median"), batch_sizes=(16, 64), runs=2, epochs=2)
MACHINE = {
    "id": "0123",
    "device": "cpu",
    "device_name": "a processor",
    "threads": 1,
    "torch": "2.9",
    "driver": None,
}
NAMED = st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"))


def header(**changes: Any) -> Header:
    usual = Header(
        planned=RUNS,
        execution=Execution(threads=1),
        dataset_digest="abc",
        environment=MACHINE,
        started_at="2026-01-01T00:00:00+00:00",
    )
    return replace(usual, **changes)


def said(before: Header, now: Header, *, elsewhere: bool) -> list[str]:
    found = unlike_sessions(before, now, elsewhere=elsewhere)
    return [f"{name}: the journal has {one}, this session {other}" for name, one, other in found]


# What bears one name


@given(NAMED, NAMED)
def test_what_is_unlike_one_way_is_unlike_the_other_way(one: dict[str, str], other: dict[str, str]) -> None:
    expected = {name for name in one if name in other and one[name] != other[name]}
    assert {found.name for found in unlike(one, other)} == expected
    assert {found.name for found in unlike(other, one)} == expected


@given(st.lists(NAMED, min_size=1))
def test_what_is_held_one_after_another_is_as_if_every_pair_had_been_held(
    several: list[dict[str, str]],
) -> None:
    known: dict[str, Trait] = {}
    alike = not any(held_against(known, found) for found in several)
    assert alike == (not any(unlike(one, other) for one in several for other in several))


def test_what_a_network_computes_may_differ_by_a_thousandth_and_no_more() -> None:
    known = {"predictions of network own:Net": (4.0, 2.0, *[1.0] * 7)}
    assert unlike(known, {"predictions of network own:Net": (4.001, 2.0, *[1.0] * 7)}) == []
    ((name, one, other),) = unlike(known, {"predictions of network own:Net": (4.1, 2.0, *[1.0] * 7)})
    assert (name, one, other) == (
        "predictions of network own:Net", "4 for the first image", "4.1 for the first image"
    )  # fmt: skip
    assert unlike(known, {}) == []  # one that was not recorded says nothing


def test_recordings_whose_network_computes_otherwise_are_not_pooled() -> None:
    whole = synthetic.session(grid=GRID)
    case = whole.cases[0]
    ones = [
        replace(whole, cases=(replace(case, result=replace(case.result, probe=(first, *[1.0] * 8))),))
        for first in (4.0, 4.5)
    ]
    (found,) = unlike_trainings(*ones)
    assert found.name == f"predictions of network study on {case.result.run.dataset}"


def test_what_is_not_alike_is_not_learnt() -> None:
    known: dict[str, Trait] = {"labels": "1"}
    assert held_against(known, {"network": "9", "labels": "2"}) == ("labels", "1", "2")
    assert known == {"labels": "1"}


# Two recordings


def changed(session: SessionRecord, **fields: Any) -> SessionRecord:
    cases = tuple(replace(case, result=replace(case.result, **fields)) for case in session.cases)
    return replace(session, cases=cases)


CHANGES: dict[str, Callable[[SessionRecord], SessionRecord]] = {
    "dataset digest": lambda session: replace(session, dataset_digest="feed"),
    "labels of mean": lambda session: changed(session, labels_digest="feed"),
    "network study": lambda session: changed(session, network_digest="feed"),
    "epochs": lambda _session: synthetic.session(grid=replace(GRID, epochs=3)),
    "learning_rate": lambda _session: synthetic.session(
        grid=replace(GRID, learning_rates=(("mean", 0.5), ("median", 0.5)))
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_other_trainings_are_named_whichever_file_stands_first(name: str) -> None:
    usual = changed(synthetic.session(grid=GRID), labels_digest="face", network_digest="face")
    other = CHANGES[name](usual)
    assert unlike_trainings(usual, usual) == []
    for pair in ((usual, other), (other, usual)):
        assert any(found.name.startswith(name) for found in unlike_trainings(*pair))


def test_what_labels_a_series_is_no_other_training() -> None:
    usual = synthetic.session(grid=GRID)
    elsewhere = changed(usual, environment="b", engine="native", kernel="c", threads=8, beside=3)
    assert unlike_trainings(usual, elsewhere) == []
    assert [found.name for found in unlike_circumstances(usual, elsewhere, members((usual, elsewhere)))]


# A session that goes on


def test_the_same_plan_on_the_same_machine_has_no_said() -> None:
    assert said(header(), header(started_at="later", command="another"), elsewhere=False) == []


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"dataset_digest": "xyz"}, "dataset digest: the journal has abc, this session xyz"),
        ({"workers": 2}, "trained in: the journal has the session's own process, this session 2 workers"),
        ({"cluster": True}, "trained in: the journal has the session's own process, this session a cluster"),
        ({"kernel": "8b1d2e0286a1"}, "kernel: the journal has none recorded, this session 8b1d2e0286a1"),
        (
            {"execution": Execution(threads=1, engine="graph")},
            "engine: the journal has eager, this session graph",
        ),
        (
            {"execution": Execution(threads=1, deterministic=True)},
            "deterministic: the journal has False, this session True",
        ),
        ({"environment": MACHINE | {"threads": 8}}, "threads: the journal has 1, this session 8"),
        (
            {"planned": tuple(replace(run, precision="tf32") for run in RUNS)},
            "precision: the journal has float32, this session tf32",
        ),
        (
            {"planned": tuple(replace(run, epochs=9) for run in RUNS)},
            "epochs: the journal has 2, this session 9",
        ),
        (
            {"planned": (*RUNS, replace(RUNS[0], batch_size=8))},
            "batch_size: the journal has no other, this session 8",
        ),
        (
            {"planned": tuple(replace(run, seed=index) for index, run in enumerate(RUNS))},
            "seed: the journal has 32, 256, this session 0, 1, 2, 3 and 4 more",
        ),
        ({"planned": RUNS[1:]}, "planned cases: the journal has mean-bs32-seed32, this session no other"),
    ],
)
def test_what_would_mix_unlike_results_is_named_with_both_values(
    changes: dict[str, Any], difference: str
) -> None:
    assert said(header(), header(**changes), elsewhere=False) == [difference]
    assert said(header(), header(**changes), elsewhere=True) == [difference]


@pytest.mark.parametrize(
    ("name", "value"), [("device", "cuda:0"), ("device_name", "H200"), ("driver", "580"), ("torch", "3.0")]
)
def test_another_machine_is_a_difference_unless_it_was_allowed(name: str, value: str) -> None:
    moved = header(environment=MACHINE | {name: value})
    assert said(header(), moved, elsewhere=False) == [
        f"{name}: the journal has {MACHINE[name]}, this session {value.removesuffix(':0')}"
    ]
    assert said(header(), moved, elsewhere=True) == []


def test_two_gpus_of_one_model_are_one_kind_of_device() -> None:
    def on(device: str, **about: str) -> Header:
        environment = {**MACHINE, "device": device, "device_name": "H200", **about}
        return header(environment=environment)

    assert said(on("cuda:0"), on("cuda:1"), elsewhere=False) == []
    assert said(on("cuda:0"), on("cuda:1", device_name="A100"), elsewhere=False) == [
        "device_name: the journal has H200, this session A100"
    ]
    assert said(on("cuda:0"), on("cuda:0", tf32_override="1"), elsewhere=False) == [
        "tf32_override: the journal has None, this session 1"
    ]
