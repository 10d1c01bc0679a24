"""What a gap is made of: planted causes are found and no other; no effect is claimed where there is one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bsr.stats import CAUSES, Gaps, Steps, critical_batch_size, decompose
from bsr.stats.basis import PValue
from bsr.stats.decomposition import holm

SEEDS = 10


def planted(
    stream: np.random.Generator, effects: dict[str, float], spread: float = 0.3, tasks: int = 3
) -> list[Gaps]:
    """Log errors of six arms per task: 1024's are the same Runs at equal epochs and at equal updates."""
    rate, updates, size = (math.log(effects.get(name, 1.0)) for name in CAUSES)
    found = []
    for _ in range(tasks):
        large = dict.fromkeys(("study", "tuned"))
        noise = {name: stream.normal(0, spread, SEEDS) for name in (*large, "s00", "s10", "s01", "s11")}
        found.append(
            Gaps(
                range(SEEDS),
                study_epochs=list(noise["study"] - noise["s00"] + rate + updates + size),
                tuned_epochs=list(noise["tuned"] - noise["s10"] + updates + size),
                study_updates=list(noise["study"] - noise["s01"] + rate + size),
                tuned_updates=list(noise["tuned"] - noise["s11"] + size),
            )
        )
    return found


def test_the_parts_multiply_to_the_whole() -> None:
    found = decompose(*planted(np.random.default_rng(1), {"rate": 1.5, "updates": 4.0}))
    assert found is not None
    product = math.prod(found.parts[name].factor for name in CAUSES)
    assert product == pytest.approx(found.parts["whole"].factor)
    for name, orders in {
        "rate": ("rate at equal epochs", "rate at equal updates"),
        "updates": ("updates at the study's rate", "updates at tuned rates"),
    }.items():
        mean = math.sqrt(math.prod(found.parts[order].factor for order in orders))
        assert mean == pytest.approx(found.parts[name].factor)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factor", "tasks"), [(1.5, 3), (3.0, 1)], ids=["1.5-fold pooled", "3-fold per task"]
)
@pytest.mark.parametrize("cause", CAUSES)
def test_a_planted_cause_is_found_and_no_other(
    cause: str, factor: float, tasks: int, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = np.random.default_rng(2)
    right, rounds = 0, 80
    for _ in range(rounds):
        found = decompose(*planted(stream, {cause: factor}, tasks=tasks))
        assert found is not None
        right += found.significant == {cause}
    with capsys.disabled():
        print(f"\n{cause} {factor:g}-fold, {tasks} task(s): attributed alone in {right / rounds:.0%}")
    assert right / rounds >= 0.83  # at least 90% of very many: of eighty, less two standard errors


@pytest.mark.slow
def test_smaller_effects_are_found_less_often_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    stream = np.random.default_rng(3)
    for cause in CAUSES:
        found = [decompose(*planted(stream, {cause: 1.25}, spread=0.2)) for _ in range(40)]
        power = np.mean([one is not None and cause in one.significant for one in found])
        with capsys.disabled():
            print(f"\n{cause} 1.25-fold, spread 0.2, pooled: found in {power:.0%}")
        assert power > 0.5


@pytest.mark.slow
def test_no_remainder_is_wrongly_claimed_in_at_most_5_of_100() -> None:
    stream = np.random.default_rng(4)
    rounds = 300
    wrong = 0
    for _ in range(rounds):
        found = decompose(*planted(stream, {"batch size": 1.25}))
        assert found is not None
        wrong += found.parts["batch size"].no_effect
    assert wrong / rounds <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / rounds)


def test_no_remainder_is_shown_where_there_is_none() -> None:
    stream = np.random.default_rng(5)
    found = [decompose(*planted(stream, {"updates": 4.0}, spread=0.2)) for _ in range(50)]
    assert np.mean([one is not None and one.parts["batch size"].no_effect for one in found]) > 0.9


def test_few_seeds_give_factors_without_intervals_or_claims() -> None:
    gaps = Gaps([200, 201], [1.0, 1.1], [0.5, 0.6], [0.2, 0.3], [0.0, 0.1])
    found = decompose(gaps)
    assert found is not None
    for part in found.parts.values():
        assert part.interval is None
        assert part.p.value is None
        assert not part.no_effect
    assert not found.significant
    assert decompose() is None


def test_three_copies_of_one_task_are_no_more_than_one() -> None:
    stream = np.random.default_rng(5)
    alone, shared = planted(stream, {}), planted(stream, {}, tasks=1) * 3
    apart, together, single = (decompose(*gaps) for gaps in (alone, shared, shared[:1]))
    assert apart is not None
    assert together is not None
    assert single is not None
    assert abs(apart.correlation["whole"] or 1) < 0.5
    assert together.correlation["whole"] == pytest.approx(1.0)
    assert single.correlation["whole"] is None
    assert together.parts["whole"] == single.parts["whole"]


def test_tasks_meet_in_the_seeds_that_all_have() -> None:
    first, second = planted(np.random.default_rng(6), {}, tasks=2)
    found = decompose(first, replace(second, seeds=range(3, 3 + SEEDS)))
    assert found is not None
    assert found.parts["whole"].n == (SEEDS - 3,)
    assert decompose(first, replace(second, seeds=range(100, 100 + SEEDS))) is None


def test_holm_corrects_the_smallest_most() -> None:
    ps = {"a": PValue(0.02), "b": PValue(0.016), "c": PValue(0.04)}
    assert holm(ps) == {"a", "b", "c"}
    assert holm({**ps, "b": PValue(0.018)}) == set()
    assert holm({**ps, "c": PValue(None, "too few")}) == {"a", "b"}


def test_selecting_a_rate_shows_no_optimism_on_fresh_seeds() -> None:
    """Five equally good rates: the winner's own seeds flatter it, fresh ones do not."""
    stream = np.random.default_rng(6)
    flattered, fresh = [], []
    for _ in range(400):
        tuning = stream.normal(0, 0.3, (5, 3)).mean(axis=1)
        flattered.append(tuning.min())
        fresh.append(stream.normal(0, 0.3, SEEDS).mean())
    assert np.mean(flattered) < -0.15
    assert abs(np.mean(fresh)) < 0.02


# The critical batch size


def steps(critical: float, stream: np.random.Generator, cap: float = math.inf) -> dict[int, Steps]:
    """Ten runs at each of six batch sizes, S_min 300, 20% spread, those beyond the cap missed."""
    cells = {}
    for size in (1, 4, 16, 64, 256, 1024):
        drawn = 300 * (1 + critical / size) * stream.lognormal(0, 0.2, 10)
        reached = [float(value) for value in drawn if value <= cap]
        cells[size] = Steps(reached, 10 - len(reached), cap if math.isfinite(cap) else 1e9)
    return cells


@pytest.mark.slow
@pytest.mark.parametrize("critical", [8.0, 60.0])
@pytest.mark.parametrize("cap", [math.inf, 2_344.0], ids=["none missed", "small batches missed"])
def test_the_interval_holds_the_planted_critical_batch_size(critical: float, cap: float) -> None:
    stream = np.random.default_rng(7)
    held = 0
    for _ in range(40):
        fit = critical_batch_size(steps(critical, stream, cap))
        assert fit is not None
        held += not fit.interval.excludes(critical)
    assert held >= 34


def test_dropping_the_misses_would_have_biased_it() -> None:
    stream = np.random.default_rng(8)
    cells = steps(60.0, stream, cap=1_400.0)  # half of those at 16 stop short
    dropped = {size: Steps(cell.reached, 0, cell.cap) for size, cell in cells.items()}
    counted, biased = critical_batch_size(cells), critical_batch_size(dropped)
    assert counted is not None
    assert biased is not None
    assert biased.batch_size < counted.batch_size


def test_where_every_batch_needs_the_same_steps_it_is_only_below_something() -> None:
    stream = np.random.default_rng(9)
    fit = critical_batch_size(steps(0.0, stream))
    assert fit is not None
    assert fit.open_below
    assert fit.interval.high < 1


def test_where_every_doubling_halves_them_it_is_only_above_something() -> None:
    stream = np.random.default_rng(10)
    fit = critical_batch_size(steps(1e9, stream))
    assert fit is not None
    assert fit.open_above


def test_two_batch_sizes_fit_no_curve() -> None:
    cells = steps(8.0, np.random.default_rng(11))
    assert critical_batch_size({size: cells[size] for size in (1, 4)}) is None
