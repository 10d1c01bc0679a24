"""Findings about the other choices: fluctuation at two rates, optimiser, loss, longer training; collapse."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from bsr import paper, stats
from bsr.run import Result
from reports.figures.longer import usual_epochs
from reports.figures.rates import best_rate, by_rate, rate_finals
from reports.findings.basis import (
    Finding,
    Part,
    Verdict,
    judged,
    lines,
    named,
    p_text,
    times,
    together,
    trend_text,
    within,
)
from reports.frame import Frame, group
from reports.text import counted, listed, number, tick

COLLAPSED = 1e-3
"""A final MSE above this, squared label units, is no collapse to the degenerate task's one label."""


def std_fluctuates(frame: Frame, experiment: str) -> Finding | None:
    """The std task fluctuates more at larger batches, at the rate of one experiment."""
    cells = frame.cells("std", experiment)
    if not cells:
        return None
    rate = tick(cells[0].results[0].run.learning_rate)
    found = {
        cell.batch_size: [
            value for r in cell.finished if (value := stats.fluctuation(r.test_mse)) is not None
        ]
        for cell in cells
    }
    found = {size: values for size, values in found.items() if values}
    trend = stats.rank_trend(found)
    swings = [
        swing for cell in cells for r in cell.finished if (swing := stats.swing(r.test_mse)) is not None
    ]
    verdict = judged(trend.p, agrees=(trend.rho or 0) > 0)
    sentence = {
        "supported": f"At rate {rate} the std task fluctuates more from epoch to epoch at larger batches.",
        "not supported": f"At rate {rate} more fluctuation of the std task at larger batches is not shown.",
        "too little data": f"At rate {rate}: too few epochs or runs to say how the std task fluctuates.",
    }[verdict]
    line = f"Fluctuation, the standard deviation of log changes between epochs: {trend_text(trend)}"
    if found:
        low, high = min(found), max(found)
        line += f"; {number(fmean(found[low]), 2)} at {low}, {number(fmean(found[high]), 2)} at {high}"
    swing_line = f"Largest difference between two epochs of a run: {number(max(swings), 3)}" if swings else ""
    statistics = tuple(line for line in (line, swing_line) if line)
    claim = paper.CLAIMS["std-fluctuates"] + f" At rate {rate}."
    figure = "std-at-0.01" if experiment == "std-at-0.01" else "convergence"
    return Finding(f"std-fluctuates-{experiment}", claim, verdict, sentence, statistics, figure)


def adam(frame: Frame) -> Finding | None:
    """Adam beats SGD, each at its best rate."""
    named_runs = group(frame.results("optimiser"), lambda result: result.run.optimiser)
    rates = {name: by_rate(runs) for name, runs in named_runs.items()}
    finals = {name: rate_finals(rows) for name, rows in rates.items()}
    if set(named_runs) != {"adam", "sgd"}:
        return None
    lost = {name: sum(r.final_mse is None for r in runs) for name, runs in named_runs.items()}
    without = (
        f"Without a final MSE over all rates: Adam {lost['adam']} of {len(named_runs['adam'])}, SGD "
        f"{lost['sgd']} of {len(named_runs['sgd'])}."
    )
    if not all(finals.values()):
        sentence = "Adam and SGD cannot be compared: one of them has no run with a final MSE."
        return Finding("adam", paper.CLAIMS["adam"], "too little data", sentence, (without,), "optimiser")
    best = {name: best_rate(row) for name, row in rates.items()}
    ratio = paired(rates["adam"][best["adam"]], rates["sgd"][best["sgd"]])
    verdict = judged(ratio.p, agrees=(ratio.ratio or 0) > 1)
    said = (
        f"SGD's error is {number(ratio.ratio, 3)} times Adam's"
        if ratio.ratio
        else "their errors cannot be divided"
    )
    sentence = {
        "supported": f"Adam beats SGD, each at its best rate: {said}.",
        "not supported": f"That Adam beats SGD is not shown: {said}.",
        "too little data": f"Too few seeds to compare Adam with SGD: {said}.",
    }[verdict]
    lines = (
        f"Adam at {tick(best['adam'])} against SGD at {tick(best['sgd'])}: {difference_text(ratio)}",
        f"{without} The best rates were chosen on the same runs.",
    )
    return Finding("adam", paper.CLAIMS["adam"], verdict, sentence, lines, "optimiser")


def paired(first: Sequence[Result], second: Sequence[Result], measure: str = "test_mse") -> stats.Difference:
    """The second side's final error over the first's, paired by seed where six seeds are shared."""
    a, b = (
        {r.run.seed: value for r in side if (value := _final(r, measure)) is not None}
        for side in (first, second)
    )
    shared = sorted(set(a) & set(b))
    if len(shared) >= 6 and len(shared) == len(a) == len(b):
        return stats.difference([a[seed] for seed in shared], [b[seed] for seed in shared], paired=True)
    return stats.difference(list(a.values()), list(b.values()))


def _final(result: Result, measure: str) -> float | None:
    values: tuple[float | None, ...] = getattr(result, measure)
    return values[-1] if len(values) == result.run.epochs + 1 else None


def difference_text(found: stats.Difference) -> str:
    """`1.3-fold (95% interval ...), p = ..., 10 pairs`."""
    n = counted(found.first, "pair") if found.paired else f"{found.first} and {counted(found.second, 'run')}"
    return f"{times(found.ratio)}{within(found.interval)}, {p_text(found.p)}, {n}"


def mse_loss(frame: Frame) -> Finding | None:
    """Training on MSE beats training on MAE, on both measures."""
    parts = []
    for task in frame.tasks_of("loss"):
        sides = group(frame.results("loss", task), lambda result: result.run.loss)
        if set(sides) != {"mse", "mae"} or task in frame.degenerate:
            continue
        for measure, name in (("test_mse", "test MSE"), ("test_mae", "test MAE")):
            ratio = paired(sides["mse"], sides["mae"], measure)
            line = f"{task}, {name}, trained on MAE over trained on MSE: {difference_text(ratio)}"
            parts.append(Part(f"{task} by {name}", judged(ratio.p, agrees=(ratio.ratio or 0) > 1), line))
    if not parts:
        return None
    verdict = together(parts)
    better = named(parts, "supported")
    sentence = {
        "supported": f"Training on MSE is better: {listed(better)}.",
        "not supported": "That training on MSE is better is not shown throughout"
        + (f", only for {listed(better)}." if better else ": for no task, by neither measure."),
        "too little data": "Too few seeds to compare training on MSE with training on MAE.",
    }[verdict]
    return Finding("mse-loss", paper.CLAIMS["mse-loss"], verdict, sentence, lines(parts), "loss")


def overfitting(frame: Frame) -> Finding | None:
    """Training beyond the study's epochs overfits: the test MSE of the same runs later and then."""
    results = [result for result in frame.results("longer") if result.final_mse is not None]
    usual = usual_epochs(frame)
    parts, everything = [], []
    cells = group(results, lambda result: (result.run.task, result.run.batch_size))
    for (task, size), runs in cells.items():
        pairs = [(r.test_mse[usual], r.final_mse) for r in runs if r.test_mse[usual] is not None]
        then, later = ([value for value in side if value is not None] for side in zip(*pairs, strict=True))
        everything += list(zip(then, later, strict=True))
        ratio = stats.difference(then, later, paired=True)
        parts.append(
            Part(
                f"{task} at {size}",
                "too little data",
                f"{task} at batch size {size}: {difference_text(ratio)}",
            )
        )
    if not parts:
        return None
    pooled = stats.difference([a for a, _ in everything], [b for _, b in everything], paired=True)
    verdict = judged(pooled.p, agrees=(pooled.ratio or 0) > 1)
    last, ratio_text = results[0].run.epochs, number(pooled.ratio, 3)
    epochs = f"after {last} epochs the test error is {ratio_text} times that after {usual}"
    sentence = {
        "supported": f"Longer training overfits: {epochs}.",
        "not supported": f"Overfitting is not shown: {epochs}.",
        "too little data": f"Too few runs to say whether longer training overfits: {epochs}.",
    }[verdict]
    lines = (f"All cells, by run: {difference_text(pooled)}", *(part.line for part in parts))
    return Finding("overfitting", paper.CLAIMS["overfitting"], verdict, sentence, lines, "longer")


def collapse(frame: Frame) -> list[Finding]:
    """Degenerate tasks: how many models do not collapse to the one label there is."""
    found: list[Finding] = []
    for task in sorted(frame.degenerate):
        finals = [r.final_mse for r in frame.results("batch-size", task) if r.final_mse is not None]
        if not finals:
            continue
        above = sum(value > COLLAPSED for value in finals)
        verdict: Verdict = "supported" if above else "not supported"
        sentence = (
            f"{task}: every test label is the same, so there is nothing to learn, and its MSE says only how "
            f"far the network collapses to that label. {above} of {counted(len(finals), 'model')} stay "
            f"above an MSE of {COLLAPSED:g}."
        )
        cells = frame.cells(task)
        lines = tuple(
            f"batch size {cell.batch_size}: {sum(value > COLLAPSED for value in cell.finals)} of "
            f"{len(cell.finals)}"
            for cell in cells
        )
        claim = (
            paper.CLAIMS["median-not-zero"]
            if task == "median"
            else f"Some {task} models do not reach an MSE of 0."
        )
        found.append(Finding(f"collapse-{len(found)}", claim, verdict, sentence, lines, "final-mse"))
    return found
