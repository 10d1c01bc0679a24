"""The `bsr` part of a benchmark JSON: what a session planned, and what came of every planned Run.

pytest-benchmark's own document holds the cases that have a measured time; this part, at its top level under
"bsr", holds every planned case with its status. The report reads nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import cache
from typing import Annotated, Any, ClassVar, Final

import msgspec

from bsr.experiments.original import LOG_GRID
from bsr.experiments.rates import TunedRate
from bsr.experiments.settings import TunedSetting
from bsr.result import Amount, Count, Number, Positive, Result
from bsr.run import MOST_IMAGES, MOST_STEPS, SCHEMA, STUDY_MODEL, Run
from bsr.text.strict_json import plain

MOST_VALUES: Final = 20_000_000
"""In a whole record: more than the largest plan's."""
Images = Annotated[int, msgspec.Meta(ge=1, le=MOST_IMAGES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One planned Run. Experiments that need the same Run share the case."""

    key: str
    """`result.run.key`."""
    cases: dict[str, str]
    """Experiment -> the case's pytest id in it."""
    result: Result
    resumed: bool = False
    """Whether the result was taken from an earlier session's journal."""
    second_look: bool | None = None
    """Whether its rate is one of the second look at the learning rates; None where that was not recorded."""

    @property
    def is_second_look(self) -> bool:
        """As recorded; else its rate is none of the first look's."""
        if self.second_look is not None:
            return self.second_look
        return self.result.run.learning_rate not in LOG_GRID


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelDistribution:
    """The labels of one split, label units; whiskers reach the last label within 1.5 interquartile ranges."""

    OF: ClassVar = ("dataset", "task", "split")
    dataset: str
    task: str
    split: str
    count: Positive
    minimum: Number
    lower_whisker: Number
    lower_quartile: Number
    median: Number
    upper_quartile: Number
    upper_whisker: Number
    maximum: Number
    mean: Number
    outliers_below: Count
    outliers_above: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class HarnessTiming:
    """One row of the harness's benchmark of itself: seconds per training epoch, a value per round."""

    OF: ClassVar = ()
    ROW: ClassVar = ("loop", "batch_size", "threads", "model", "dataset")
    loop: str
    """`textbook`, `compiled`, `eager`, `native, one core`, `native, all cores`."""
    batch_size: Images
    threads: int
    seconds: Annotated[tuple[Annotated[float, msgspec.Meta(gt=0, lt=1e9)], ...], msgspec.Meta(min_length=1)]
    train_images: Images = 60_000
    """Of one of those epochs."""
    device: str = "cpu"
    gflop_per_epoch: float | None = None
    peak_gflops: float | None = None
    """Only in recordings of an engine that computed everything: the share of the peak that it reached."""
    model: str = STUDY_MODEL
    dataset: str = "MNIST"
    """As in Run."""

    def answers(self, device: str, images: int, rounds: int, dataset: str = "MNIST") -> bool:
        """Whether it was timed on that device, on epochs of so many of those images, in so many rounds."""
        timed = (self.device, self.train_images, len(self.seconds), self.dataset)
        return timed == (device, images, rounds, dataset)

    @property
    def epoch_seconds(self) -> tuple[float, ...]:
        """Seconds per epoch of 60,000 images, a value per round, whatever part of one was timed."""
        return tuple(seconds * 60_000 / self.train_images for seconds in self.seconds)


SLOWED: Final = 10.0
"""How many times as long as its neighbours a disturbed round takes."""


def steady_seconds(timing: HarnessTiming, timings: Iterable[HarnessTiming]) -> tuple[float, ...]:
    """Its rounds that were not disturbed: ten times slower than the fastest of them.

    Of a single one, than the same loop at any batch size: there an update takes no longer at a smaller batch
    size, an epoch no longer at a larger one.
    """
    single = len(timing.seconds) == 1

    def alike(other: HarnessTiming) -> bool:
        names = ("loop", "model", "threads", "device", "dataset")
        return all(getattr(other, name) == getattr(timing, name) for name in names)

    fastest = min(
        min(other.seconds) / other.train_images * max(1.0, other.batch_size / timing.batch_size)
        for other in (timing, *(timings if single else ()))
        if alike(other)
    )
    return tuple(each for each in timing.seconds if each <= SLOWED * fastest * timing.train_images)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisePoint:
    """The gradient and its noise at one moment of a training, of the mean loss per image; see probes."""

    step: Annotated[int, msgspec.Meta(ge=1, le=MOST_STEPS)]
    """Updates made until then."""
    cooled: bool
    """Whether it was cooled from there."""
    trace: Amount
    """tr(S): the variance of one image's gradient, summed over parameters."""
    square: Amount
    """|G|^2 of the full gradient; the noise scale is `trace / square`."""
    trace_two_batches: float
    square_two_batches: float
    """The same, estimated from batches of two sizes: a cross-check; the second may be below zero."""
    trace_adam: Amount
    square_adam: Amount
    """The same with each parameter weighted by 1 / sqrt(v), v what Adam's second moment tends to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseScale:
    """The noise of the gradient along one training."""

    OF: ClassVar = ("dataset", "task", "batch_size", "seed")
    dataset: str
    task: str
    batch_size: Images
    seed: int
    learning_rate: float
    train_images: int
    engine: str
    points: Annotated[tuple[NoisePoint, ...], msgspec.Meta(min_length=1)]

    def answers(self, run: Run) -> bool:
        """Whether it is of that Run, to its end."""
        mine = (self.dataset, self.task, self.batch_size, self.seed, self.learning_rate, self.train_images)
        its = (run.dataset, run.task, run.batch_size, run.seed, run.learning_rate, run.train_images)
        return mine == its and self.points[-1].step == run.steps

    @property
    def last_cooled(self) -> float:
        """The noise scale after the last cooling, images."""
        return self.points[-1].trace / self.points[-1].square if self.points[-1].square else math.inf


PROBES: Final[dict[str, type[Any]]] = {
    "labels": LabelDistribution,
    "harness": HarnessTiming,
    "noise": NoiseScale,
}
"""What is measured that trains nothing, a type per row: by its list in SessionRecord, its kind in a journal.

`OF` names the fields that say what a measurement is of, so that one replaces an earlier one of the same;
`ROW`, where it has several rows, those that tell them apart.
"""


def row_fields(kind: str) -> tuple[str, ...]:
    """The fields that tell a row of PROBES from every other: its identity, as a Run's key is a Run's."""
    return (*PROBES[kind].OF, *getattr(PROBES[kind], "ROW", ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """One session."""

    schema: int = SCHEMA
    preset: str
    experiments: tuple[str, ...]
    command: str
    """The command line that reproduces it."""
    options: dict[str, Any] = field(default_factory=dict)
    """The options as given, by name."""
    dataset_digest: str
    """SHA-256 over the pixels read, 16 hexadecimal digits."""
    started_at: str
    finished_at: str
    """UTC, ISO 8601."""
    wall_seconds: float
    planned: int
    finished: int
    """How many of the planned cases have a result (ok, diverged or dead)."""
    environments: dict[str, dict[str, Any]]
    """Fingerprint of every machine that trained, by the identity that results name."""
    cases: tuple[Case, ...]
    labels: tuple[LabelDistribution, ...] = ()
    harness: tuple[HarnessTiming, ...] = ()
    noise: tuple[NoiseScale, ...] = ()
    rates: tuple[TunedRate, ...] = ()
    """The tuned rates that its controlled experiments took."""
    settings: tuple[TunedSetting, ...] = ()
    """The tuned settings that the experiments of the second protocol took."""

    @property
    def holds_something(self) -> bool:
        """Whether anything was trained or measured: what holds nothing is not read."""
        return bool(self.cases or any(getattr(self, kind) for kind in PROBES))


ALWAYS_SAID: Final = frozenset(("kind", "schema"))
"""What a reader asks for before it reads the rest."""


def sparse(record: Any) -> Any:
    """A record as dicts, without the fields at their defaults: a default, like a Run's key, is for ever."""
    if is_dataclass(record) and not isinstance(record, type):
        said = ((name, getattr(record, name), usual) for name, usual in _usual(record.__class__))
        return {
            name: sparse(value) for name, value, usual in said if usual is MISSING or not _same(value, usual)
        }
    holds = isinstance(record, tuple | list) and record and is_dataclass(record[0])
    return [sparse(item) for item in record] if holds else record


@cache
def _usual(record: type[Any]) -> tuple[tuple[str, Any], ...]:
    """Every field with its default, MISSING where it is always said."""
    made = ((one, one.default_factory) for one in fields(record))
    found = ((one, one.default if factory is MISSING else factory()) for one, factory in made)
    return tuple((one.name, MISSING if one.name in ALWAYS_SAID else usual) for one, usual in found)


def _same(value: object, usual: object) -> bool:
    return value is usual or (type(value) is type(usual) and value == usual)


def plain_record(record: SessionRecord) -> dict[str, Any]:
    """The session as plain values, each Result with what follows from it: `final_mse`, `normalised_mse`.

    They stand beside the status, since the last MSE of a run that diverged or failed is no final one.
    """
    made: dict[str, Any] = plain(sparse(replace(record, cases=())), most=MOST_VALUES)
    return made | {"cases": [_plain_case(case) for case in record.cases]}


def _plain_case(case: Case) -> dict[str, Any]:
    made: dict[str, Any] = plain(sparse(case), most=MOST_VALUES)
    made["result"] |= derived(case.result)
    return made


def derived(result: Result) -> dict[str, float | None]:
    """What a record says of a Result although it follows from the rest of it."""
    return {"final_mse": result.final_mse, "normalised_mse": result.normalised_mse}


def extra_info(result: Result, experiment: str, *, resumed: bool) -> dict[str, Any]:
    """A case's `extra_info` in pytest-benchmark, flat: the figures first; `bsr.cases` has all, by key."""
    return {
        "final_mse": result.final_mse,
        "normalised_mse": result.normalised_mse,
        "training_seconds": result.total_training_seconds,
        "seed": result.run.seed,
        "status": result.status,
        "experiment": experiment,
        "optimiser": result.run.optimiser,
        "loss": result.run.loss,
        "model": result.run.model,
        "learning_rate": result.run.learning_rate,
        "training_mse": result.final_training_mse,
        "key": result.run.key,
        "images_per_second": result.images_per_second,
        "degenerate": result.degenerate,
        "engine": result.engine,
        "timing": result.timing,
        "disturbed": result.disturbed,
        "resumed": resumed,
    }


def group(result: Result) -> str:
    """pytest-benchmark's group: times of other tasks, engines or circumstances never share a table."""
    disturbed = ", while its GPU was throttled or shared" if result.disturbed else ""
    network = f"network {result.run.model}, " if result.run.model != STUDY_MODEL else ""
    return f"{result.run.task}, {network}{result.engine}, timed {result.timing}{disturbed}"
