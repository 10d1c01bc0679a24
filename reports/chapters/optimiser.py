"""Does Adam beat SGD, each at its best rate?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from bsr import published
from bsr.experiments.tried_rates import Rates, at_edge, best_rate, by_rate, rate_finals
from reports.analysis.study import best_in_words
from reports.cells import Cell, Cells, grouped, span
from reports.chapters.chapter import Chapter, Figure, FigureContent, missing
from reports.drawing.curves import mean_curves
from reports.drawing.marks import MSE
from reports.drawing.panel import Panel
from reports.drawing.rates import RatePanel
from reports.text import listed, number, tick
from reports.text.verdicts import (
    Finding,
    Short,
    difference_text,
    judged,
    paired,
)

Name = Literal["adam", "sgd"]


def _adam(data: Cells) -> Finding | None:
    """Adam beats SGD, each at its best rate."""
    named_runs = grouped(data.results("optimiser"), lambda result: result.run.optimiser)
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
        return Finding("adam", published.CLAIMS["adam"], "cannot tell", sentence, (without,), "optimiser")
    best = {name: best_rate(row) for name, row in rates.items()}
    ratio = paired(rates["adam"][best["adam"]], rates["sgd"][best["sgd"]])
    verdict = judged(ratio.p, agrees=ratio.factor > 1)
    said = (
        f"SGD's error is {number(ratio.factor, 3)} times Adam's"
        if ratio.known
        else "their errors cannot be divided"
    )
    sentence = {
        "shown": f"Adam beats SGD, each at the best of the rates that were tried: {said}.",
        "not shown": f"That Adam beats SGD is not shown: {said}.",
        "cannot tell": f"Too few seeds to compare Adam with SGD: {said}.",
    }[verdict]
    if edges := _at_the_edge(rates, best):
        sentence = f"{sentence} {edges}"
    lines = (
        f"Adam at {tick(best['adam'])} against SGD at {tick(best['sgd'])}: {difference_text(ratio)}",
        f"{without} The best rates were chosen on the same runs.",
    )
    short = Short(f"SGD's error \N{MULTIPLICATION SIGN}{number(ratio.factor, 3)}" if ratio.known else "")
    return Finding("adam", published.CLAIMS["adam"], verdict, sentence, lines, "optimiser", short=short)


def _at_the_edge(rates: Mapping[Name, Rates], best: Mapping[Name, float]) -> str:
    """Whose best rate is the last that was tried, so that a better one may lie beyond."""
    said = [
        f"{_NAMES[name]}'s best rate, {tick(best[name])}, is the "
        f"{'lowest' if best[name] == min(rates[name]) else 'highest'} that was tried"
        for name in best
        if at_edge(best[name], rates[name])
    ]
    return f"{listed(said)}; a better one may lie beyond." if said else ""


_NAMES: Final[dict[Name, str]] = {"adam": "Adam", "sgd": "SGD"}
_CENTRE: Final = "Line: geometric mean over seeds (arithmetic where an MSE is zero); dots: seeds"


def optimiser(data: Cells) -> FigureContent | None:
    """Adam against SGD over the learning rates, and their curves at the best rate of each."""
    results = data.results("optimiser")
    named = grouped(results, lambda result: result.run.optimiser)
    series = {_NAMES[name]: by_rate(runs) for name, runs in named.items()}
    finals = {name: row for name, rates in series.items() if (row := rate_finals(rates))}
    if not finals:
        return None
    best = {name: best_rate(series[name]) for name in finals}
    curves = {f"{name}, rate {tick(rate)}": Cell.of(series[name][rate]) for name, rate in best.items()}
    task, size = results[0].run.task, results[0].run.batch_size
    counts = [len(values) for row in finals.values() for values in row.values()]
    return FigureContent(
        [
            Panel(f"{task}, after the last epoch", RatePanel(series, data), MSE),
            Panel(f"{task}, each at its best rate", mean_curves(curves), MSE),
        ],
        f"Adam and SGD (without momentum) at batch size {size}, SGD at three lower rates too. "
        f"{_CENTRE}; beside it the mean over seeds at the best rate of each, with minimum and maximum. A "
        "plus sign counts runs without a final MSE: on raw pixels SGD soon diverges.",
        "Final test MSE against learning rate for Adam and SGD, and their curves at the best rate of each. "
        + "; ".join(f"{name}: {best_in_words(series[name])}" for name in finals)
        + ".",
        n=f"{span(counts, 'seed')} per rate",
        results=results,
    )


CHAPTER: Final = Chapter(
    section="The other choices",
    options="--bsr-experiments optimiser",
    figures=(Figure("Adam against SGD", optimiser),),
    findings=lambda data: [_adam(data) or missing(data, "adam", "optimiser")],
    experiments=("optimiser",),
)
