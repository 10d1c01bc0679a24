"""The tables with which a session ends, and what it says of the presets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import synthetic
from bsr.experiments import Grid, plan
from bsr.plugin.session import Session
from bsr.plugin.summary import tables


def test_rates_stand_in_the_order_of_numbers_and_not_of_letters() -> None:
    grid = Grid(tasks=("mean",), runs=1)
    results = {
        run.key: synthetic.result(run) for run in plan(("learning-rate",), grid)["learning-rate"].values()
    }
    header = SimpleNamespace(cases={key: {"learning-rate": ""} for key in results})
    said = tables(cast("Session", SimpleNamespace(results=results, header=header)), 120)
    rates = [float(word[2:]) for word in said.split() if word.startswith("lr")]
    assert len(rates) == len(results)
    assert any(rate < 1e-4 for rate in rates)
    assert rates == sorted(rates)
