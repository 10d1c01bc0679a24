"""What recordings of many runs cost: `python tests/scale.py 500 2000 5000 20000`, one line per step and size.

The runs are the study's, ten epochs each, under other seeds, written by `bsr.write`. Every step is a process
of its own, of which processor seconds and peak memory are told, start and libraries too. `--checkout DIR`
measures another version beside this one, step by step in one sitting.
"""

from __future__ import annotations

import argparse
import gzip
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).parents[1]
STUDY: Final = next((HERE / "benchmarks" / "results").glob("cpu-native.json*"))
_MAKE: Final = """
import itertools, sys
from dataclasses import replace
from pathlib import Path
import bsr
from bsr.records.journal import Header, ResultLine, journal_path, line_of
from bsr.run import Execution

def study():
    for result in bsr.read(sys.argv[3]).results:
        run = result.run
        usual = {"mean": 0.0015, "median": 0.1, "std": 0.001, "var": 0.0015}[run.task]
        if (run.epochs, run.optimiser, run.loss, run.learning_rate) == (10, "adam", "mse", usual):
            yield result

def under(result, turn):
    seconds = tuple(second * float(sys.argv[5]) for second in result.training_seconds)
    run = replace(result.run, seed=result.run.seed + 10_000 * turn)
    return replace(result, run=run, training_seconds=seconds)

found = list(study())
turns = (under(result, turn) for turn in itertools.count(int(sys.argv[4])) for result in found)
results = list(itertools.islice(turns, int(sys.argv[2])))
path = bsr.write(sys.argv[1], results)
header = Header(
    cases={case.key: case.cases for case in bsr.read(path).session.cases},
    planned=tuple(result.run for result in results),
    execution=Execution(engine="native", threads=1),
    dataset_digest="",
    environment={"id": results[0].environment},
    started_at=results[0].finished_at,
)
lines = [line_of(header), *(line_of(ResultLine(key=result.run.key, result=result)) for result in results)]
journal_path(Path(path)).write_bytes(b"".join(lines))
"""
STEPS: Final = {
    "read": "import bsr; bsr.read('{0}')",
    "read the journal": "import bsr; bsr.read('{1}')",
    "page": "from reports.__main__ import main; assert not main(['{0}', '--output', '{0}-page'])",
    "merge": "from reports.__main__ import main; assert not main(['merge', '{0}', '{2}', '--output', '{3}'])",
    "compare": "from reports.__main__ import main; assert not main(['{0}', '{4}', '--output', '{0}-two'])",
    "frames": "import bsr; found = bsr.read('{0}'); found.runs, found.epochs",
}
_TOLD: Final = """
import time
began = time.process_time()
{step}
took = time.process_time() - began
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print("told", took, peak)
"""


class Cost(NamedTuple):
    """Of one step at one size."""

    runs: int
    step: str
    seconds: float
    """Of the processor."""
    peak: float
    """MB."""


def in_a_process(code: str, *arguments: object, checkout: Path = HERE) -> subprocess.CompletedProcess[str]:
    """Some Python of that checkout, with one thread."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def made(path: Path, runs: int, checkout: Path, first_turn: int = 0, slower: float = 1.0) -> bool:
    """Write that many runs there, and their journal beside it; whether the version could."""
    study = next((checkout / "benchmarks" / "results").glob("cpu-native.json*"))
    return in_a_process(_MAKE, path, runs, study, first_turn, slower, checkout=checkout).returncode == 0


def costs(folder: Path, runs: int, checkout: Path = HERE) -> Iterator[Cost]:
    """What every step takes at that size; none where it cannot be recorded."""
    whole, again, half, other = (folder / f"{name}.json" for name in ("whole", "again", "half", "other"))
    journal = folder / "whole.journal.jsonl"
    if not made(whole, runs, checkout):
        return
    made(again, runs, checkout, slower=1.1)
    made(half, runs // 2, checkout)
    made(other, runs // 2, checkout, first_turn=1_000)
    for step, code in STEPS.items():
        first = half if step == "merge" else whole
        names = (first, journal, other, folder / "merged.json", again)
        ended = in_a_process(_TOLD.format(step=code.format(*names)), checkout=checkout)
        if ended.returncode:
            print(f"{runs:,} runs, {step}: {ended.stderr.splitlines()[-1]}")
            continue
        _, seconds, peak = ended.stdout.splitlines()[-1].split()
        yield Cost(runs, step, float(seconds), int(peak) / 1000)


def sizes(folder: Path, runs: int) -> str:
    """Bytes a run, as they are and compressed."""
    found = {
        path.suffix: path.read_bytes() for path in (folder / "whole.json", folder / "whole.journal.jsonl")
    }
    said = (
        f"{suffix} {len(content) / runs:,.0f}, compressed {len(gzip.compress(content, 6)) / runs:,.0f}"
        for suffix, content in found.items()
    )
    return "bytes a run: " + "; ".join(said)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("runs", nargs="+", type=int)
    parser.add_argument("--checkout", type=Path, help="another version, measured beside this one")
    options = parser.parse_args()
    checkouts = {"here": HERE, **({"there": options.checkout.resolve()} if options.checkout else {})}
    for runs in options.runs:
        for name, checkout in checkouts.items():
            with tempfile.TemporaryDirectory() as folder:
                for cost in costs(Path(folder), runs, checkout):
                    print(
                        f"{name}, {runs:,} runs, {cost.step}: {cost.seconds:.1f} s, {cost.peak:,.0f} MB",
                        flush=True,
                    )
                written = (Path(folder) / "whole.json").exists()
                print(
                    f"{name}, {runs:,} runs, {sizes(Path(folder), runs) if written else 'refused'}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
