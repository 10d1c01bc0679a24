"""What a tuning tries next: a grid of rates, its edges, points round the best, more seeds.

One procedure for all problems of a contrast (docs/why.md, the second protocol and its amendments); where
trainings take long there are fewer points. Errors are on validation images; a training that was lost is worse
than any other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from bsr.experiments.settings import AMONG, Among, Problem, Setting
from bsr.experiments.tried_rates import centre
from bsr.result import FINISHED, Result

SEEDS: Final = (100, 101, 102, 103, 104)
"""No seed both chooses a setting and reports its error: reporting begins at 200."""
FIRST: Final = SEEDS[:2]
"""Those of every look but the last."""
FINALISTS: Final = 4
"""Of each row."""
RATES: Final = 5
"""Of the grid, a factor of two apart."""
EXTENSIONS: Final = 3
"""How often an edge is extended at most: of the grid, and again of what was chosen, a factor of two each."""
WARMUP: Final = 0.05
SHORT_MEMORY: Final = 0.99
LONG_RUN, LONGEST_RUN = 2_000_000, 9_000_000
"""Images of one training from which a problem has fewer points, and the fewest."""

Points = Literal["all", "few", "fewest"]
"""How many settings a problem's tuning tries."""
ROWS: Final[tuple[Among, ...]] = ("falling", "constant")
"""Of the square: each is sought as thoroughly as the other, so that no batch size's is the weaker one."""

Tried = Mapping[Setting, Mapping[int, float]]
"""Setting -> tuning seed -> validation error, infinite where the training was lost."""


def tried_settings(results: Iterable[Result]) -> dict[Problem, Tried]:
    """What a tuning's results say, by problem; what did not come to its end was not tried."""
    found: dict[Problem, dict[Setting, dict[int, float]]] = {}
    for result in results:
        if result.status in FINISHED:
            errors = found.setdefault(Problem.of(result.run), {}).setdefault(Setting.of(result.run), {})
            errors[result.run.seed] = math.inf if result.final_mse is None else result.final_mse
    return dict(found)


class Chosen(NamedTuple):
    """The best setting among some, and what it rests on."""

    setting: Setting
    error: float
    """Geometric mean over the seeds."""
    seeds: int
    untried: tuple[float, ...]
    """Twice its rate where no higher one was tried with all else alike, half where no lower one was.

    Where there is one it is at an edge: a better one may lie beyond.
    """


def wanted(
    problem: Problem,
    usual: float,
    tried: Tried,
    rows: tuple[Among, ...] = ROWS,
    offered: Sequence[Setting] | None = (),
    *,
    few: bool = False,
) -> list[tuple[Setting, int]]:
    """The next (setting, seed) to train, round the `usual` rate; none where the tuning has ended.

    `offered` are settings that were chosen for the next smaller batch size, None while that is tuned: with
    `few` points and in long runs none are tried round the best, but those are.
    """
    rates = [usual * 2.0 ** (lowest_power(problem) + power) for power in range(RATES)]
    points = points_of(problem, few=few)
    for look in (_grid(rates, points), *_later_looks(rates, points, tried, rows, offered)):
        if lacking := [(setting, seed) for setting, seed in look if seed not in tried.get(setting, {})]:
            return lacking
    return []


def choice(tried: Tried, among: Among) -> Chosen | None:
    """Of the settings with the most seeds the one with the lowest geometric mean; None where none ended."""
    some = {setting: errors for setting, errors in tried.items() if setting.is_among(among) and errors}
    most = max(map(len, some.values()), default=0)
    ended = {setting: centre([*errors.values()]) for setting, errors in some.items() if len(errors) == most}
    best = min(ended, key=lambda setting: (ended[setting], setting), default=None)
    if best is None or math.isinf(ended[best]):
        return None
    return Chosen(best, ended[best], most, _untried(best, tried))


def points_of(problem: Problem, *, few: bool = False) -> Points:
    """The longer its runs the fewer; `few` where that is planned for runs of any length."""
    if _images(problem) >= LONGEST_RUN:
        return "fewest"
    return "few" if few or _images(problem) >= LONG_RUN else "all"


def _images(problem: Problem) -> int:
    return problem.batch_size * problem.steps


def _grid(rates: Sequence[float], points: Points) -> list[tuple[Setting, int]]:
    """Five rates, falling and constant; of few points three constant ones, of the fewest one seed each."""
    falling = [Setting(rate) for rate in rates]
    if points == "fewest":
        return [(setting, FIRST[0]) for setting in falling]
    constant = [Setting(rate, decay=0.0) for rate in (rates if points == "all" else rates[1:4])]
    return [(setting, seed) for setting in (*falling, *constant) for seed in FIRST]


def lowest_power(problem: Problem) -> int:
    """Of two, times the usual rate: where the window of five rates begins.

    The more images a training sees, and the smaller the batch, the lower the rate that serves best.
    """
    many = int(_images(problem) > LONG_RUN / 4)
    if problem.batch_size < 64:
        return -2 - many
    return -1 - many if problem.batch_size < 256 else 0


def _later_looks(
    rates: Sequence[float],
    points: Points,
    tried: Tried,
    rows: tuple[Among, ...],
    offered: Sequence[Setting] | None,
) -> Iterator[list[tuple[Setting, int]]]:
    """Each once the ones before it have been trained: whoever looks stops at the first that lacks a Run."""
    seeds = FIRST[:1] if points == "fewest" else FIRST
    for decay in (1.0, 0.0):
        grid = {setting for setting, _ in _grid(rates, points) if setting.decay == decay}
        yield [(setting, seed) for setting in _beyond(grid, tried, decay) for seed in seeds]
    if points == "all":
        best = (one for row in rows for one in _best(_of(row, tried, plain=True), 1))
        around = (point for one in best for point in _around(one))
        yield [(setting, seed) for setting in dict.fromkeys(around) for seed in FIRST]
        finalists = (one for row in (*rows, AMONG[0]) for one in _best(_of(row, tried), FINALISTS))
        yield [(setting, seed) for setting in dict.fromkeys(finalists) for seed in SEEDS]
    else:
        taken = [setting for setting in offered or () if setting.decay or points == "few"]
        yield [(setting, seed) for setting in taken for seed in seeds]
        if offered is None:
            return
        if points == "fewest":
            yield [(setting, seed) for setting in _best(tried, 2, seeds) for seed in FIRST]
    beyond = (one for row in (*rows, AMONG[0]) for one in _beyond_choice(rates, tried, row))
    yield [*dict.fromkeys(beyond)]


def _of(row: Among, tried: Tried, *, plain: bool = False) -> Tried:
    """What was tried of a row."""
    return {one: tried[one] for one in tried if one.is_among(row) and (_is_plain(one) or not plain)}


def _is_plain(setting: Setting) -> bool:
    """Whether it is of the grid or beyond its edges, not a point round the best of them."""
    return setting.decay in {0.0, 1.0} and setting == Setting(setting.learning_rate, setting.decay)


def _best(tried: Tried, count: int, seeds: Sequence[int] = FIRST) -> list[Setting]:
    """By their first seeds, which all of them have: seeds that some got later change no earlier choice."""
    first = {
        setting: {seed: error for seed, error in errors.items() if seed in seeds}
        for setting, errors in tried.items()
    }
    ended = [setting for setting, errors in first.items() if errors]
    return sorted(ended, key=lambda setting: (centre([*first[setting].values()]), setting))[:count]


def _around(setting: Setting) -> Iterator[Setting]:
    """Six points."""
    twice = 2 * setting.learning_rate
    yield setting._replace(warmup=WARMUP)
    yield setting._replace(beta2=SHORT_MEMORY)
    yield setting._replace(warmup=WARMUP, beta2=SHORT_MEMORY)
    yield setting._replace(warmup=WARMUP, beta2=SHORT_MEMORY, learning_rate=twice)
    yield setting._replace(warmup=WARMUP, learning_rate=twice)
    yield setting._replace(decay=0.5)


def _beyond(grid: set[Setting], tried: Tried, decay: float) -> Iterator[Setting]:
    """A rate beyond the edge at which the best of a decay lies, where it may still be extended."""
    plain = {setting: tried[setting] for setting in tried if _is_plain(setting) and setting.decay == decay}
    rates = [setting.learning_rate for setting in plain]
    for best in _best(plain, 1):
        extended = len(plain) >= len(grid) + EXTENSIONS
        if not extended and best.learning_rate in {min(rates), max(rates)}:
            yield Setting(best.learning_rate * (2.0 if best.learning_rate == max(rates) else 0.5), decay)


def _beyond_choice(rates: Sequence[float], tried: Tried, among: Among) -> Iterator[tuple[Setting, int]]:
    """What was chosen, at the rates twice and half as high, on its seeds, where they are untried."""
    times = 2.0**EXTENSIONS * 1.001  # rates are rounded
    if found := choice(tried, among):
        for rate in found.untried:
            if min(rates) / times <= rate <= max(rates) * times:
                beyond = found.setting._replace(learning_rate=rate)
                yield from ((beyond, seed) for seed in sorted(tried[found.setting]))


def _untried(setting: Setting, tried: Iterable[Setting]) -> tuple[float, ...]:
    """See `Chosen.untried`."""
    rate = setting.learning_rate
    alike = {one.learning_rate for one in tried if one._replace(learning_rate=rate) == setting}
    return tuple(rate * times for edge, times in ((max(alike), 2.0), (min(alike), 0.5)) if rate == edge)
