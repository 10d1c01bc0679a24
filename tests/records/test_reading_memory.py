"""What a report costs in memory, whatever it is given: at most 600 MB, interpreter and libraries too."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bsr
import synthetic
from bsr.experiments import Grid
from bsr.experiments.grid import MOST_BYTES
from bsr.text.bounded_json import MOST_PARTS
from plugin_support import REPOSITORY

MOST: int = 600 * 2**20


def filled(unit: bytes, before: bytes = b"", after: bytes = b"") -> bytes:
    """As much of it as a file may have."""
    room = MOST_BYTES - len(before) - len(after)
    return before + unit * (room // len(unit)) + after


def study(folder: Path) -> bytes:
    """As many runs as a session may plan."""
    results = [case.result for case in synthetic.session(grid=Grid(runs=798)).cases]
    return bsr.write(folder / "study.json", results).read_bytes()


def many(part: bytes, unit: bytes) -> bytes:
    """As many of a part as a file may have, each in a unit."""
    return b'{"benchmarks":[' + unit * (MOST_PARTS[part] // unit.count(part) - 10) + b"0]}"


CORPUS = {
    "brackets": lambda: filled(b"["),
    "quotes": lambda: filled(b'"'),
    "empty strings": lambda: filled(b'"",', b'{"benchmarks":[', b'""]}'),
    "short strings": lambda: filled(b'"abc",', b'{"benchmarks":[', b'""]}'),
    "numbers": lambda: filled(b"1.5,", b'{"benchmarks":[', b"1]}"),
    "integers": lambda: filled(b"1234567,", b'{"benchmarks":[', b"1]}"),
    "empty objects": lambda: filled(b"{},", b'{"benchmarks":[', b"{}]}"),
    "objects": lambda: filled(b'{"a":1},', b'{"benchmarks":[', b"{}]}"),
    "one string": lambda: filled(b"a", b'{"benchmarks":["', b'"]}'),
    "wide characters": lambda: filled("\U0001f600".encode(), b'{"benchmarks":["', b'"]}'),
    "escapes": lambda: filled(b"\\\\", b'{"benchmarks":["', b'"]}'),
    "lines": lambda: filled(b"\n", b'{"benchmarks":[', b"]}"),
    "long lines": lambda: many(b",", b'\n{"a":[' + b"1.5," * 240_000 + b"1]},"),
    "short lines": lambda: filled(b"\n{}", b'{"benchmarks":[', b"]}"),
    "spaces": lambda: filled(b" ", b"{", b'"benchmarks":[]}'),
    "zeros": lambda: filled(b"\0"),
    "digits": lambda: filled(b"1", b'{"benchmarks":[', b"]}"),
    "most numbers": lambda: many(b",", b"-1.234567,"),
    "most strings": lambda: many(b'"', b'"abcdefghijkl",'),
    "most objects": lambda: many(b"{", b'{"abcdefgh":{"ijklmnop":[1.5]}},'),
    "most lists": lambda: many(b"[", b"[[1.5]],"),
    "too large": lambda: b"[" * (MOST_BYTES + 1),
    "bomb": lambda: gzip.compress(b" " * 2**26) * 64,
    "bomb of strings": lambda: gzip.compress(many(b'"', b'"abcdefghijkl",')),
}


HEADER = b'{"kind":"header","schema":1,"planned":[],"execution":{},"dataset_digest":"","started_at":"",'
RUN = b'{"task":"mean","batch_size":1,"seed":1,"learning_rate":1}'
JOURNALS = {
    "fingerprint": lambda: filled(b"1.5,", HEADER + b'"environment":{"id":[', b"1]}}\n"),
    "fingerprints": lambda: filled(
        b'{"kind":"environment","schema":1,"environment":{"id":"a"}}\n', HEADER + b"}\n"
    ),
    "cases": lambda: (
        HEADER + b'"environment":{"id":"a"},"cases":{' + b'"abc":{},' * 1_400_000 + b'"a":{}}}\n'
    ),
    "curve": lambda: (
        HEADER
        + b'"environment":{"id":"a"}}\n{"kind":"result","schema":1,"key":"a","result":{"status":"ok","run":'
        + RUN
        + b',"test_mse":['
        + b"1.234567," * 5_900_000
        + b"1]}}\n"
    ),
}
"""What a journal may hold that costs the most."""


def peak_of_a_report(path: Path) -> tuple[int, str]:
    """Bytes resident at most, and what it said."""
    code = (
        "import sys; from pathlib import Path; from reports.__main__ import main; code = main(sys.argv[1:]); "
        "print(*[line for line in Path('/proc/self/status').read_text().splitlines() if 'VmHWM' in line]); "
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return int(done.stdout.splitlines()[-1].split()[1]) * 1024, done.stdout + done.stderr


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Path]:
    """A folder whose large files go at once."""
    yield tmp_path
    for path in tmp_path.glob("*.json*"):
        path.unlink()


TELLING = ("wide characters", "most strings", "bomb")
"""The others are tried by make soak."""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of one program")
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.slow if kind in TELLING else pytest.mark.soak)
        for kind in (*CORPUS, *JOURNALS, "study")
    ],
)
def test_a_report_takes_at_most_600_mb(room: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    ending = "journal.jsonl" if kind in JOURNALS else f"json{'.gz' * kind.startswith('bomb')}"
    path = room / f"run.{ending}"
    path.write_bytes(study(room) if kind == "study" else (CORPUS | JOURNALS)[kind]())
    peak, said = peak_of_a_report(path)
    with capsys.disabled():
        print(f"\n{kind}: {path.stat().st_size / 2**20:.0f} MiB, peak {peak / 2**20:.0f} MiB")
    assert peak <= MOST
    assert ("error: " in said) == (kind != "study")
