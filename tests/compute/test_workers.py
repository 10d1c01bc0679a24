"""Worker processes lose nothing but the work of the one that was killed, and never outlive their session."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Future, wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from bsr.compute import process
from bsr.compute.process import CallFailedError, WorkerLostError
from bsr.compute.workers import Workers
from plugin_support import PATIENCE, REPOSITORY, SMOKE, Suite, reported, suite, timeless

__all__ = ["suite"]
FOUR_CASES = (*SMOKE, "-k", "mean or std")
TWO_WORKERS = (*FOUR_CASES, "--bsr-workers=2", "--benchmark-json=run.json")


def my_number() -> int:
    return os.getpid()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_the_first_time(marker: str) -> str:
    if not Path(marker).exists():
        Path(marker).touch()
        die()
    return "survived"


def announce_and_wait(marker: str, seconds: float) -> int:
    Path(marker).write_text(str(os.getpid()))
    time.sleep(seconds)
    return os.getpid()


def tell_of_many_epochs(count: int) -> str:
    for epoch in range(count):
        process._SESSION[0].send(("epoch", "key", epoch))
    return "told"


class Answer(NamedTuple):
    """As executors.Computed is, without torch."""

    result: Any
    spent: str


def lose_the_device(marker: str, status: str, times: int) -> Answer:
    """The first so many times."""
    with Path(marker).open("a+") as file:
        file.write("x")
        file.seek(0)
        spent = "cuda:0 is lost" if len(file.read()) <= times else ""
    return Answer(SimpleNamespace(status=status if spent else "ok", process=os.getpid()), spent)


def leave() -> None:
    raise SystemExit("a library left")


def refuse() -> None:
    raise ValueError("no")


class Stubborn(Exception):  # noqa: N818 - it is not the error
    """Cannot be pickled, nor can what would be made of it be read."""

    def __reduce__(self) -> Any:
        raise TypeError("stays here")


class Trap:
    """Raises where it arrives."""

    def __reduce__(self) -> Any:
        return (eval, ("1 / 0",))


def raise_stubborn() -> None:
    raise Stubborn("said before")


def leave_at_once() -> None:
    raise GeneratorExit("said before")


def give(kind: str) -> object:
    gifts: dict[str, Any] = {"stubborn": Stubborn, "trap": Trap, "lock": threading.Lock, "self": lambda: give}
    return gifts[kind]()


def say(message: object) -> None:
    """To the session, besides what it asked for."""
    process._SESSION[0].send(message)


def say_much(count: int) -> None:
    process._SESSION[0].send_bytes(b"x" * count)


def say_noise() -> None:
    process._SESSION[0].send_bytes(b"noise")


@pytest.fixture(scope="module")
def pool() -> Iterator[Workers]:
    pool = Workers(2)
    yield pool
    pool.shutdown(cancel_futures=True)


def answer(future: Future[object]) -> object:
    return future.result(timeout=PATIENCE)


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_calls_are_answered_by_other_processes(pool: Workers) -> None:
    assert answer(pool.submit(my_number)) != os.getpid()


def test_a_call_that_raises_says_what_and_its_process_goes_on(pool: Workers) -> None:
    with pytest.raises(CallFailedError, match="ValueError: no"):
        answer(pool.submit(refuse))
    with pytest.raises(CallFailedError, match="SystemExit: a library left"):
        answer(pool.submit(leave))
    assert answer(pool.submit(my_number))


@pytest.mark.parametrize(
    ("call", "arguments", "said"),
    [
        (raise_stubborn, (), "Stubborn: said before"),
        (leave_at_once, (), "GeneratorExit: said before"),
        (give, ("stubborn",), "TypeError: stays here"),
        (give, ("lock",), "cannot pickle"),
        (give, ("trap",), "an answer of a worker, got what cannot be read: ZeroDivisionError"),
        (say, (("value",),), "an answer of a worker, got something else"),
        (say, (("raised", 5),), "an answer of a worker, got something else"),
        (say, (("epoch", "key", "many"),), "an answer of a worker, got something else"),
        (say, (None,), "an answer of a worker, got something else"),
        (say_noise, (), "an answer of a worker, got what cannot be read"),
        (say_much, (2**25 + 1,), "an answer of a worker, got a message of more than 33,554,432 bytes"),
    ],
)
def test_an_answer_that_is_none_is_named_and_the_next_call_is_answered(
    pool: Workers, call: Callable[..., Any], arguments: tuple[Any, ...], said: str
) -> None:
    with pytest.raises(CallFailedError) as failed:
        answer(pool.submit(call, *arguments))
    assert said in str(failed.value)
    assert str(failed.value).isprintable()
    assert {answer(pool.submit(my_number)) != os.getpid() for _ in range(4)} == {True}


def test_a_second_answer_to_one_call_is_never_taken_for_the_next_one_s() -> None:
    pool = Workers(1)
    first = pool.submit(say, ("value", "early"))
    assert answer(first) == "early"
    pool.refuse(first, "it is none")
    assert answer(pool.submit(my_number)) != os.getpid()  # and not the None that `say` returned
    pool.shutdown()


def test_a_worker_whose_answer_was_refused_gets_another_process_and_after_three_no_more() -> None:
    pool = Workers(2)
    given: dict[object, int] = {}
    lines: list[str] = []
    with pytest.raises(BrokenExecutor, match=r"3 refused of every worker \(.*: no good\).* --bsr-resume"):
        while True:
            future = pool.submit(my_number)
            process = answer(future)
            given[process] = given.get(process, 0) + 1
            assert pool.refuse(future, "no good")
            lines += pool.news()
            assert pool.workers == 2 - sum("trains no more" in line for line in lines)
    assert sorted(given.values()) == [1] * 6
    waiting = pool.submit(my_number)
    assert pool.workers == pool.capacity == 0
    pool.shutdown(cancel_futures=True)
    assert waiting.cancelled()


def test_a_worker_that_is_trusted_no_more_leaves_its_work_to_the_others() -> None:
    pool = Workers(2)
    slow = [pool.submit(time.sleep, 0.2) for _ in range(2)]
    wait(slow)
    for _ in range(3):
        pool.refuse(slow[0], "no good")
    assert pool.workers == 1
    assert len({answer(pool.submit(my_number)) for _ in range(6)}) == 1
    pool.shutdown()


def test_a_call_that_kills_its_processes_is_not_held_against_a_worker(pool: Workers) -> None:
    deadly = pool.submit(die)
    with pytest.raises(WorkerLostError):
        answer(deadly)
    assert not pool.refuse(deadly, "it died")
    assert pool.workers == 2


def test_a_call_whose_process_dies_is_given_to_another(pool: Workers, tmp_path: Path) -> None:
    assert answer(pool.submit(die_the_first_time, str(tmp_path / "died"))) == "survived"


def test_a_call_that_kills_its_process_twice_is_given_up_and_the_others_never_notice(pool: Workers) -> None:
    deadly = pool.submit(die)
    others = [pool.submit(my_number) for _ in range(10)]
    with pytest.raises(WorkerLostError, match="its process died 2 times, at last with exit code -9"):
        answer(deadly)
    assert all(answer(other) for other in others)


@pytest.mark.parametrize(("status", "again"), [("failed", True), ("out_of_memory", False)])
def test_a_process_that_can_train_no_more_is_replaced_and_a_run_that_failed_of_it_tried_again(
    tmp_path: Path, status: str, again: bool
) -> None:
    pool, marker = Workers(1), str(tmp_path / "lost")
    first = pool.submit(lose_the_device, marker, status, 1).result(timeout=PATIENCE)
    then = pool.submit(lose_the_device, marker, status, 1).result(timeout=PATIENCE)
    pool.shutdown()
    assert first.result.status == ("ok" if again else status)
    assert (first.result.process == then.result.process) == again
    assert (first.spent, then.result.status) == ("", "ok")


def test_a_run_that_costs_two_processes_their_device_has_failed_and_says_of_what(tmp_path: Path) -> None:
    pool, marker = Workers(1), str(tmp_path / "lost")
    found = pool.submit(lose_the_device, marker, "failed", 2).result(timeout=PATIENCE)
    pool.shutdown()
    assert (found.result.status, found.spent) == ("failed", "")
    assert Path(marker).read_text() == "xx"


def test_any_number_of_messages_blocks_nobody(pool: Workers) -> None:
    assert answer(pool.submit(tell_of_many_epochs, 20_000)) == "told"  # a pipe holds about a thousand
    assert len(list(pool.epochs())) == 20_000


def test_the_processes_last_from_call_to_call(pool: Workers) -> None:
    assert len({answer(pool.submit(my_number)) for _ in range(20)}) <= 2


def test_ending_kills_what_runs_and_cancels_what_waits_within_two_seconds(tmp_path: Path) -> None:
    pool = Workers(1)
    marker = tmp_path / "running"
    running = pool.submit(announce_and_wait, str(marker), 1000)
    waiting = pool.submit(my_number)
    eventually(lambda: marker.exists() and marker.read_text())
    began = time.monotonic()
    pool.shutdown(cancel_futures=True)
    assert time.monotonic() - began < 2
    eventually(lambda: not lives(int(marker.read_text())))
    with pytest.raises(CancelledError):
        answer(waiting)
    with pytest.raises(WorkerLostError, match="the session ended"):
        answer(running)


def test_ending_without_haste_finishes_everything_first() -> None:
    pool = Workers(2)
    calls = [pool.submit(my_number) for _ in range(5)]
    pool.shutdown()
    assert all(call.done() and call.result() for call in calls)


def test_no_threads_are_left_behind() -> None:
    before = threading.active_count()
    pool = Workers(3)
    answer(pool.submit(my_number))
    pool.shutdown(cancel_futures=True)
    assert threading.active_count() == before


SESSION = """
import sys, time
sys.path[:0] = {paths!r}
from bsr.compute.workers import Workers
from test_workers import announce_and_wait
if __name__ == "__main__":
    pool = Workers(1)
    pool.submit(announce_and_wait, {marker!r}, 1000)
    time.sleep(1000)
"""


def test_a_worker_ends_in_the_middle_of_a_call_when_its_session_is_killed(tmp_path: Path) -> None:
    marker, script = tmp_path / "running", tmp_path / "session.py"
    script.write_text(
        SESSION.format(
            paths=[str(REPOSITORY / folder) for folder in ("tests/compute", "tests", "")], marker=str(marker)
        )
    )
    session = subprocess.Popen([sys.executable, str(script)])
    try:
        eventually(lambda: marker.exists() and marker.read_text())
        assert lives(int(marker.read_text()))
    finally:
        session.kill()
        session.wait()
    eventually(lambda: not lives(int(marker.read_text())))


def children(pid: int) -> list[int]:
    """Processes that train for a session: its children, but for the one that tracks its resources."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_text()
        except OSError:
            continue
        if parent == pid and "spawn_main" in command:
            found.append(int(folder.name))
    return found


@pytest.fixture(scope="module")
def killed_in(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """A folder with a session on two workers, one of them killed in the middle of a Run, and one without."""
    suite = Suite(tmp_path_factory.mktemp("killed"))
    session = suite.start(*TWO_WORKERS)
    session.until(lambda: suite.journal_lines() > 1, "a case was recorded")
    os.kill(children(session.pid)[0], signal.SIGKILL)
    ended = session.wait()
    assert ended.code == 0, ended.output
    assert suite.run(*FOUR_CASES, "--benchmark-json=here.json").code == 0
    return suite


@pytest.mark.slow
def test_a_killed_worker_costs_no_case(killed_in: Suite) -> None:
    assert set(killed_in.statuses().values()) == {"ok"}
    assert killed_in.json()["bsr"]["finished"] == 4


@pytest.mark.slow
def test_workers_compute_what_one_process_computes_to_the_last_bit(killed_in: Suite) -> None:
    there, here = (killed_in.cases(name) for name in ("run.json", "here.json"))
    assert [case["result"].get("beside", 0) for case in there] == [1] * 4
    assert [case["result"].get("beside", 0) for case in here] == [0] * 4
    for case in (*there, *here):
        case["result"].pop("beside", 0)
    assert timeless(there) == timeless(here)


@pytest.mark.slow
def test_times_taken_beside_others_have_tables_of_their_own(killed_in: Suite) -> None:
    groups = {benchmark["group"] for benchmark in killed_in.json()["benchmarks"]}
    assert groups == {f"{task}, eager, timed in parallel with 1 other run" for task in ("mean", "std")}


@pytest.mark.slow
def test_a_worker_stays_small(killed_in: Suite) -> None:
    assert max(case["result"]["peak_memory_bytes"] for case in killed_in.cases()) < 700 * 2**20


@pytest.mark.slow
def test_ctrl_c_ends_a_session_on_workers_within_two_seconds_and_no_process_stays(suite: Suite) -> None:
    session = suite.start(*TWO_WORKERS, "--bsr-epochs=1000")
    session.until(lambda: len(children(session.pid)) == 2, "both workers began")
    workers = children(session.pid)
    session.until_it_says("bsr: journal")
    began = time.monotonic()
    session.send(signal.SIGINT)
    session.until(lambda: "run.json" in suite.left_behind(), "the JSON was written")
    assert time.monotonic() - began < 2  # and the rest is pytest's
    assert not any(map(lives, workers))
    assert session.wait().code == 2
    assert set(suite.statuses().values()) <= {"interrupted", "not_run"}


@pytest.mark.slow
def test_workers_exit_when_their_session_is_killed_and_the_next_one_goes_on(suite: Suite) -> None:
    session = suite.start(*TWO_WORKERS)
    session.until(lambda: suite.journal_lines() > 1, "a case was recorded")
    workers = children(session.pid)
    session.send(signal.SIGKILL)
    killed = session.wait()
    assert killed.code == -signal.SIGKILL
    eventually(lambda: not any(map(lives, workers)))
    assert reported(killed.output) <= set(suite.journalled())
    ended = suite.run(*TWO_WORKERS, "--bsr-resume")
    assert ended.code == 0, ended.output
    assert set(suite.statuses().values()) == {"ok"}
