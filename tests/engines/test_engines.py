"""Every engine says which Runs it can train, and refuses the others by name before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from bsr.data.images import Split
from bsr.engines import ENGINES, EngineError, fallback_reason, placed, train, unavailable_reason
from bsr.run import Execution, Run

RUN = Run(task="mean", batch_size=8, seed=1, learning_rate=0.001, epochs=1, train_images=16, test_images=8)
CPU = Execution(device="cpu")
AUTO = Execution(engine="auto", device="cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterRun(Run):
    """A Run as a later version may have it."""

    weight_decay: float = 0.0


def later(weight_decay: float) -> LaterRun:
    return LaterRun(task="mean", batch_size=8, seed=1, learning_rate=0.001, weight_decay=weight_decay)


def where(engine: str) -> Execution:
    """A device that the engine is for."""
    return Execution(engine=engine, device="cuda:0" if engine == "graph" else "cpu")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_field_that_an_engine_was_not_taught_is_refused_by_name(engine: str) -> None:
    with pytest.raises(EngineError, match=f"^{engine} does not know a Run's weight_decay, here 10; use "):
        placed(where(engine), [RUN, later(10)])


@pytest.mark.parametrize("engine", ENGINES)
def test_and_is_not_trained_as_if_it_were_not_there(engine: str) -> None:
    blank = torch.zeros(16, 28, 28, dtype=torch.uint8), torch.zeros(16)
    with pytest.raises(EngineError, match="does not know a Run's weight_decay"):
        train(later(10), Split(*blank, *blank, digest="", task=RUN.task), where(engine))


@pytest.mark.parametrize("engine", ENGINES)
def test_with_its_default_it_is_a_run_as_before(engine: str) -> None:
    assert placed(where(engine), [later(0)]).engine in {engine, "eager"}


def test_auto_takes_an_engine_that_trains_every_run() -> None:
    in_another_precision = Run(task="mean", batch_size=8, seed=1, learning_rate=0.001, precision="bfloat16")
    assert placed(AUTO, [RUN, in_another_precision]).engine == "eager"
    assert fallback_reason("auto", [RUN, in_another_precision], CPU) == (
        "native computes in float32; the precision is bfloat16"
    )
    assert fallback_reason("auto", [RUN], Execution(device="cuda:0")) == ""


def test_an_engine_for_another_device_is_refused_in_one_line() -> None:
    with pytest.raises(EngineError, match="^graph needs a CUDA device; this is cpu; use eager or auto$"):
        placed(Execution(engine="graph", device="cpu"), [RUN])


def test_auto_trains_the_fastest_engine_of_a_processor() -> None:
    expected = "eager" if unavailable_reason("native") else "native"
    assert placed(AUTO, [RUN]).engine == expected


def test_auto_on_a_gpu_is_the_engine_that_was_measured_there() -> None:
    assert placed(Execution(engine="auto", device="cuda:0"), [RUN]).engine == "eager"


def test_native_by_name_means_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert placed(Execution(engine="native", device="auto"), [RUN]).device == "cpu"


def test_an_unknown_engine_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        EngineError, match="^unknown engine 'fast'; expected one of eager, native, graph, auto"
    ):
        placed(Execution(engine="fast"), [RUN])


def test_auto_works_from_python() -> None:
    images = torch.randint(0, 255, (24, 28, 28), dtype=torch.uint8)
    labels = images.double().mean((1, 2)).float()
    split = Split(images[:16], labels[:16], images[16:], labels[16:], digest="", task=RUN.task)
    result = train(RUN, split, AUTO)
    assert (result.status, result.device) == ("ok", "cpu")
    assert result.engine in {"native", "eager"}
