"""Refusing what the types of a recording allow and its meaning does not, by the path of the field.

What passes here may be drawn: lengths fit the evaluations, numbers are in range, every key is its run's
digest, and within an experiment runs differ only by task, batch size, seed and the axis that it varies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from bsr.experiments import EXPERIMENTS
from bsr.experiments.grid import MOST_BATCH_SIZES, MOST_TASKS
from bsr.records import agreement
from bsr.records.reading.recording import OF_AN_EPOCH, UP_TO_THE_LAST
from bsr.records.schema import Case, LabelDistribution, SessionRecord
from bsr.result import LARGEST, Result, Trait
from bsr.run import EVALUATED_ON
from bsr.text import FaultError as FaultError  # noqa: PLC0414 - as the reader calls it
from bsr.text import Refused


class RefusedError(Refused):
    """A file that is not read; the message is one line: name, expected, got, remedy."""


Complaint = tuple[str, str, object]
"""Field below the record's path, what was expected, what was found."""


def check(session: SessionRecord) -> None:
    """Refuse values that the types allow and the meaning does not, by the path of the field."""
    if not session.holds_something:
        raise FaultError(
            "$.bsr.cases: expected at least one case, got none; record one with pytest benchmarks"
        )
    _each("cases", session.cases, _case_complaints)
    _each("labels", session.labels, _label_complaints)
    _check_unique(session.cases)
    _check_one_grid(session)


def check_result(result: Result) -> None:
    """Refuse a Result that a recording may not hold, whatever else is in it. Raises FaultError."""
    for where, expected, got in _complaints(result):
        raise FaultError(f"{where}: expected {expected}, got {str(got)[:80]}")


def _each(name: str, records: Sequence[Any], complaints: Callable[[Any], Iterator[Complaint]]) -> None:
    for index, record in enumerate(records):
        for where, expected, got in complaints(record):
            raise FaultError(
                f"$.bsr.{name}[{index}].{where}: expected {expected}, got {str(got)[:80]}; record it again"
            )


def _case_complaints(case: Case) -> Iterator[Complaint]:
    run, result = case.result.run, case.result
    if case.key != run.key:
        yield "key", f"{run.key}, the digest of its run", case.key
    if not case.cases:
        yield "cases", "at least one experiment", "none"
    yield from _complaints(result)


def _complaints(result: Result) -> Iterator[Complaint]:
    yield from _length_complaints(result)
    yield from _complaints_of_other_errors(result)
    yield from _value_complaints(result)


def _length_complaints(result: Result) -> Iterator[Complaint]:
    expected = result.run.evaluations
    trained = len(result.training_seconds)
    for name, most in (
        ("test_mse", expected + 1),
        ("test_mae", expected + 1),
        ("training_loss", expected),
        ("training_seconds", expected),
        ("device_seconds", trained),
        ("evaluation_seconds", expected + 1),
    ):
        if (length := len(getattr(result, name))) > most:
            yield f"result.{name}", f"at most {most} values for {expected} evaluations", f"{length} values"
    if result.final_mse is not None:
        for name, exactly in (
            ("test_mae", expected + 1),
            ("training_loss", expected),
            ("training_seconds", expected),
        ):
            if (length := len(getattr(result, name))) != exactly:
                yield f"result.{name}", f"{exactly} values, since it has a final MSE", f"{length} values"
        if result.baseline_mse is None:
            yield "result.baseline_mse", "a number, since it has a final MSE", None
        if result.test_mae[-1:] == (None,):
            yield "result.test_mae", "a last number, since it has a final MSE", None
    if len(result.test_mse) > trained + 1:
        yield (
            "result.test_mse",
            f"at most {trained + 1} values for {trained} timed stretches",
            f"{len(result.test_mse)}",
        )


def _complaints_of_other_errors(result: Result) -> Iterator[Complaint]:
    for name in UP_TO_THE_LAST:
        measured = len(result.test_mse) if result.run.steps else min(1, len(result.test_mse))
        if (length := len(getattr(result, name))) not in {0, measured}:
            yield f"result.{name}", f"none or {measured} values beside the test MSE", f"{length} values"


def _value_complaints(result: Result) -> Iterator[Complaint]:
    for name in (*OF_AN_EPOCH, *UP_TO_THE_LAST):
        values = getattr(result, name)
        if values and None not in values and min(values) >= 1 / LARGEST and max(values) <= LARGEST:
            continue
        for index, value in enumerate(values):
            if value is not None and not (value == 0 or 1 / LARGEST <= value <= LARGEST):
                yield f"result.{name}[{index}]", f"0, or {1 / LARGEST:g} to {LARGEST:g}", value
            if value is None and name in OF_AN_EPOCH and index < len(values) - 1:
                yield f"result.{name}[{index}]", "null, not finite, only as the last value", "more after it"
    if (value := result.baseline_mse) and not 1 / LARGEST <= value <= LARGEST:
        yield "result.baseline_mse", f"0, or {1 / LARGEST:g} to {LARGEST:g}", value


def _label_complaints(labels: LabelDistribution) -> Iterator[Complaint]:
    names = (
        "minimum",
        "lower_whisker",
        "lower_quartile",
        "median",
        "upper_quartile",
        "upper_whisker",
        "maximum",
    )
    values = [getattr(labels, name) for name in names]
    for name, smaller, larger in zip(names[1:], values, values[1:], strict=False):
        if not smaller <= larger:
            yield name, f"at least {smaller:g}", f"{larger:g}"


def _check_unique(cases: Sequence[Case]) -> None:
    first: dict[str, int] = {}
    for index, case in enumerate(cases):
        if case.key in first:
            raise FaultError(
                f"$.bsr.cases[{index}].key: expected each key once, got {case.key} again after "
                f"cases[{first[case.key]}]; record it again"
            )
        first[case.key] = index


_OF_PARTS: Final = frozenset(name for name, one in EXPERIMENTS.items() if "train_images" in one.varies)
"""Experiments that train on several parts of the images."""


def _check_one_grid(session: SessionRecord) -> None:
    """Within an experiment and a task, runs differ by batch size, seed and the axis it varies."""
    runs = [case.result.run for case in session.cases]
    _check_same_baseline(session.cases)
    _check_same_identity(session.cases)
    _check_few("tasks", {run.task for run in runs}, MOST_TASKS)
    _check_few("batch sizes", {run.batch_size for run in runs}, MOST_BATCH_SIZES)
    for controlled in (False, True):
        cases = [case for case in session.cases if bool(case.result.run.steps) is controlled]
        _check_same(cases, ("dataset", "precision"), "a study")
        whole = [case for case in cases if not _OF_PARTS.issuperset(case.cases)]
        _check_same(whole, ("train_images",), "a study")
        for part in EVALUATED_ON:  # an own validation part may be of another size than the test part
            on = [case for case in cases if case.result.run.evaluate_on == part]
            _check_same(on, ("test_images",), "a study")
    placed: dict[agreement.Place, list[Case]] = defaultdict(list)
    for case in session.cases:
        for name in case.cases:
            placed[name, case.result.run.task, case.result.run.model].append(case)
    for (name, task, _), cases in sorted(placed.items(), key=lambda place: place[0]):
        _check_same(cases, agreement.fixed(name), f"task {task!r} of experiment {name}")
    _check_epochs(session.cases)


def _check_epochs(cases: Sequence[Case]) -> None:
    """The main experiment has one number of epochs, and the longer one has more."""
    usual, longer = ([case for case in cases if name in case.cases] for name in ("batch-size", "longer"))
    _check_same(usual, ("epochs",), "experiment batch-size")
    _check_same(longer, ("epochs",), "experiment longer")
    few, many = (one[0].result.run.epochs if one else None for one in (usual, longer))
    if few is not None and many is not None and many <= few:
        raise FaultError(
            f"$.bsr.cases: expected experiment longer to train for more epochs than batch-size, {few}, "
            f"got {many}; draw them from separate files"
        )


def _check_few(what: str, values: set[Any], most: int) -> None:
    if len(values) > most:
        raise FaultError(
            f"$.bsr.cases: expected at most {most} {what}, got {len(values)}; split the study into several"
        )


def same_baseline(expected: float, got: float) -> bool:
    """Whether two are one number, to the rounding of different machines."""
    return abs(got - expected) <= 1e-3 * expected


def _check_same_baseline(cases: Sequence[Case]) -> None:
    """The best constant predictor of a task is one number, to the rounding of different machines."""
    first: dict[tuple[str, str], float] = {}
    for index, case in enumerate(cases):
        run, got = case.result.run, case.result.baseline_mse
        if got is None:
            continue
        expected = first.setdefault((run.task, run.evaluate_on), got)
        if not same_baseline(expected, got):
            raise FaultError(
                f"$.bsr.cases[{index}].result.baseline_mse: expected {expected:g}, as in the first case of "
                f"its task, got {got:g}; record it again"
            )


def _check_same_identity(cases: Sequence[Case]) -> None:
    """Results that bear one name are of the same labels and the same network."""
    first: dict[str, Trait] = {}
    for index, case in enumerate(cases):
        if found := agreement.held_against(first, case.result.identity):
            raise FaultError(
                f"$.bsr.cases[{index}].result: expected {found.name} {found.one}, as before it, got "
                f"{found.other}; record them in separate files"
            )


def _check_same(cases: Sequence[Case], fields: Iterable[str], where: str) -> None:
    for name in fields:
        if len({getattr(case.result.run, name) for case in cases}) <= 1:
            continue
        for case in cases:
            expected, got = getattr(cases[0].result.run, name), getattr(case.result.run, name)
            if got != expected:
                raise FaultError(
                    f"$.bsr.cases, {case.result.run.label}, run.{name}: expected one value in {where}, "
                    f"{str(expected)[:40]!r}, got {str(got)[:40]!r} too; draw them from separate files"
                )
