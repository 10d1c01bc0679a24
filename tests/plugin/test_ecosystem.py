"""Other people's tools on our files: pytest-benchmark's own comparison, and a CI action that reads JSON."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import bsr
from plugin_support import TWO_CASES, Suite, strict_json
from reports.merge import merge

CASES = {"mean-bs256-seed256", "std-bs256-seed256"}


SAVED = ("--benchmark-autosave",)
COMPARED = ("--benchmark-compare=0001", "--benchmark-compare-fail=mean:100000%")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """Two sessions: `run.json`, saved in the host's storage too, and `again.json`, compared with it."""
    suite = Suite(tmp_path_factory.mktemp("ecosystem"))
    for name, host_options in (("run.json", SAVED), ("again.json", COMPARED)):
        ended = suite.run(*TWO_CASES, f"--benchmark-json={name}", *host_options)
        assert ended.code == 0, ended.output
    return suite


@pytest.fixture(scope="module", params=["a session", "a merged journal", "Python"])
def document(request: pytest.FixtureRequest, recorded: Suite) -> Path:
    """A file of either origin."""
    if request.param == "a session":
        return recorded.folder / "run.json"
    if request.param == "Python":
        return bsr.write(recorded.folder / "python.json", bsr.read(recorded.folder / "run.json").results)
    output = recorded.folder / "merged.json"
    merge([recorded.folder / "run.journal.jsonl"], output)
    return output


def host(folder: Path, *arguments: str | Path) -> str:
    """`pytest-benchmark ARGUMENTS`."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", *map(str, arguments)],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


# pytest-benchmark's own tools


def test_the_hosts_compare_command_shows_the_training_times_of_two_files(document: Path) -> None:
    folder = document.parent
    host(
        folder, "compare", document, folder / "again.json", "--csv=table", "--columns=mean", "--group-by=name"
    )
    with (folder / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    expected = [made["stats"]["mean"] for path in (document, folder / "again.json") for made in entries(path)]
    assert sorted(float(row["mean"]) for row in rows) == pytest.approx(sorted(expected))
    assert len(rows) == 2 * len(CASES)


def test_the_host_saves_and_lists_our_runs(recorded: Suite) -> None:
    (saved,) = (recorded.folder / ".benchmarks").rglob("0001_*.json")
    assert {made["param"] for made in entries(saved)} == CASES
    assert saved.name in host(recorded.folder, "list")


def entries(path: Path) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = strict_json(path.read_text(encoding="utf-8"))["benchmarks"]
    return made


# github-action-benchmark, tool "pytest"


class Bench(NamedTuple):
    """What the action keeps of a case."""

    name: str
    value: float
    unit: str
    range: str
    extra: str


def extracted(path: Path) -> list[Bench]:
    """As the action's src/extract.ts reads a file: strict JSON, then these fields of each case."""
    found = []
    for made in strict_json(path.read_text(encoding="utf-8"))["benchmarks"]:
        stats = made["stats"]
        mean, unit = readable(stats["mean"])
        extra = f"mean: {mean} {unit}\nrounds: {stats['rounds']}"
        found.append(Bench(made["fullname"], stats["ops"], "iter/sec", f"stddev: {stats['stddev']}", extra))
    assert found, "the action refuses a file without a case"
    return found


def readable(seconds: float) -> tuple[float, str]:
    for limit, factor, unit in ((1e-6, 1e9, "nsec"), (1e-3, 1e6, "usec"), (1.0, 1e3, "msec")):
        if seconds < limit:
            return seconds * factor, unit
    return seconds, "sec"


def test_the_action_finds_every_case_with_a_rate_a_spread_and_a_mean(document: Path) -> None:
    found = extracted(document)
    assert {bench.name.partition("[")[2].rstrip("]") for bench in found} == CASES
    for bench, made in zip(found, entries(document), strict=True):
        seconds = made["extra_info"]["training_seconds"]
        assert bench.value == pytest.approx(1 / seconds)
        assert bench.range == "stddev: 0"
        number, unit = bench.extra.removeprefix("mean: ").split("\n")[0].split(" ")
        assert float(number) == pytest.approx(seconds if unit == "sec" else 1000 * seconds)
        assert bench.extra.endswith("\nrounds: 1")


def test_the_action_can_follow_a_case_from_session_to_session(document: Path) -> None:
    before, after = (extracted(path) for path in (document, document.parent / "again.json"))
    names = [[bench.name.removeprefix("benchmarks/") for bench in found] for found in (before, after)]
    assert sorted(names[0]) == sorted(set(names[1]))  # those of a session are relative to where it ran


def test_the_parts_that_readers_of_pytest_benchmark_expect_are_there(document: Path) -> None:
    made = strict_json(document.read_text(encoding="utf-8"))
    assert {"machine_info", "commit_info", "benchmarks", "datetime", "version"} <= set(made)
    assert {"id", "time", "dirty", "project", "branch"} <= set(made["commit_info"])
    assert {"system", "python_version", "cpu"} <= set(made["machine_info"])
    for entry in made["benchmarks"]:
        assert list(entry["extra_info"])[:5] == [
            "final_mse", "normalised_mse", "training_seconds", "seed", "status",
        ]  # fmt: skip
