"""The network as an axis: which there are, who trains them, and that none is trained by another's tricks."""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bsr import engines
from bsr.engines.eager import EagerLearner
from bsr.experiments import Grid, plan
from bsr.model import MODELS, ModelError, RegressionCNN, check, identity, network
from bsr.own.named import NamedError
from bsr.run import Execution, Run
from bsr.training.loop import data_order, initial_model, train
from bsr.training.warm_up import undone
from plugin_support import SMOKE, Suite, suite
from trainings import CPU, made_split

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["suite"]
RUN = Run(
    task="mean", batch_size=256, seed=3, learning_rate=0.0015, epochs=2, train_images=600, test_images=40
)
needs_native = pytest.mark.skipif(bool(engines.unavailable_reason("native")), reason="needs a compiler")
OTHERS = tuple(name for name in MODELS if name != "study")


class Normalised(nn.Module):
    """A batch that is cut into pieces is normalised otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, kernel_size=5, stride=4, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.linear = nn.Linear(144, 1)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.norm(self.convolution(images)).relu()
        prediction: Tensor = self.linear(hidden.view(len(hidden), -1))  # which no channels_last allows
        return prediction.squeeze(1)


class Dropping(Normalised):
    """Draws from the global generator at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.Dropout(0.5)  # type: ignore[assignment]


class Square(nn.Module):
    """Gives a column, which broadcasts to another loss."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(784, 1)

    def forward(self, images: Tensor) -> Tensor:
        prediction: Tensor = self.linear(images.flatten(1))
        return prediction


def own(kind: type[nn.Module]) -> str:
    return f"{__name__}:{kind.__name__}"


def plain_loop(run: Run, kind: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """Trained as one writes it down: a batch at once, dropout from the generator that made the weights."""
    split, order = made_split(run), data_order(initial_model(run.seed, run.model)[1], run.train_images)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        model = kind()
        optimiser = torch.optim.Adam(model.parameters(), lr=run.learning_rate)
        for epoch in itertools.islice(order, run.epochs):
            for batch in epoch.split(run.batch_size):
                optimiser.zero_grad()
                images = split.train_images[batch].unsqueeze(1).float()
                functional.mse_loss(model(images), split.train_labels[batch]).backward()
                optimiser.step()
    return model.state_dict()


@pytest.mark.parametrize("kind", [Normalised, Dropping])
def test_a_network_of_one_s_own_trains_at_batch_256_as_in_the_plain_loop(kind: type[nn.Module]) -> None:
    run = replace(RUN, model=own(kind))
    weights: dict[str, Tensor] = {}
    torch.manual_seed(99)  # whatever was drawn before
    train(run, made_split(run), CPU, EagerLearner, on_weights=weights.update)
    for name, expected in plain_loop(run, kind).items():
        torch.testing.assert_close(weights[name], expected, rtol=1e-4, atol=1e-5)


def test_dropout_draws_from_the_run_s_seed_and_shifts_no_order() -> None:
    run = replace(RUN, model=own(Dropping))
    results = []
    for before in (1, 2):
        torch.manual_seed(before)
        state = torch.get_rng_state()
        results.append(train(run, made_split(run), CPU, EagerLearner))
        assert torch.equal(torch.get_rng_state(), state)
    assert results[0].test_mse == results[1].test_mse
    without = train(replace(run, model=own(Normalised)), made_split(run), CPU, EagerLearner)
    assert results[0].order_digest == without.order_digest


@pytest.mark.parametrize("name", OTHERS)
def test_every_network_trains(name: str) -> None:
    result = train(replace(RUN, model=name), made_split(RUN), CPU, EagerLearner)
    assert result.status == "ok"
    assert result.test_mse[-1] is not None
    assert result.test_mse[0] is not None
    assert result.test_mse[-1] < result.test_mse[0]


@pytest.mark.parametrize(("name", "parameters"), [("study", 21_381), ("wide", 52_661), ("deep", 25_001)])
def test_a_network_has_the_parameters_that_its_docstring_says(name: str, parameters: int) -> None:
    assert sum(value.numel() for value in network(name).parameters()) == parameters
    assert f"{parameters:,} parameters" in (MODELS[name].__doc__ or "")


def test_the_graph_engine_refuses_other_networks_by_name() -> None:
    with pytest.raises(
        engines.EngineError, match="^graph does not know a Run's model, here 'wide'; use eager or auto$"
    ):
        engines.placed(Execution(engine="graph", device="cuda:0"), [RUN, replace(RUN, model="wide")])


def test_native_refuses_a_network_that_is_no_chain_by_the_module_s_path() -> None:
    with pytest.raises(
        engines.EngineError,
        match=r"^native knows no buffers, here running_mean of norm \(BatchNorm2d\); use eager or auto$",
    ):
        engines.placed(Execution(engine="native"), [RUN, replace(RUN, model=own(Normalised))])


@pytest.mark.slow
@needs_native
def test_auto_takes_native_for_every_chain_and_else_says_why_it_does_not() -> None:
    auto = Execution(engine="auto", device="cpu")
    chains = [replace(RUN, model=name) for name in (*MODELS, own(Dropping))]
    assert engines.placed(auto, chains).engine == "native"
    assert engines.fallback_reason("auto", chains, auto) == ""
    mixed = [*chains, replace(RUN, model=own(Normalised))]
    assert engines.placed(auto, mixed).engine == "eager"
    assert engines.fallback_reason("auto", mixed, auto) == (
        "native knows no buffers, here running_mean of norm (BatchNorm2d)"
    )


def test_a_column_of_predictions_is_refused() -> None:
    run = replace(RUN, model=own(Square))
    with pytest.raises(
        ModelError, match=r"expected predictions \[40\] for 40 images, got \[40, 1\]; end it with"
    ):
        train(run, made_split(run), CPU, EagerLearner)


def test_images_that_a_network_does_not_take_are_refused_in_one_line() -> None:
    with pytest.raises(ModelError, match=r"^network 'study': expected one for images of 32x32, got images: "):
        check("study", torch.zeros(2, 32, 32, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("widest", r"network 'widest': expected one of study, wide, deep, or package.module:attribute"),
        (
            "nowhere.at_all:Net",
            "expected to import it on .*, got ModuleNotFoundError: No module named 'nowhere'",
        ),
        ("bsr.model:Net", "expected to import it on .*, got AttributeError: .* has no attribute 'Net'"),
        ("bsr.model:PARAMETERS", "expected a function or a class, got int"),
    ],
)
def test_a_network_that_is_not_there_is_refused_by_name(name: str, message: str) -> None:
    with pytest.raises(NamedError, match=message):
        network(name)


def test_something_else_than_a_network_is_refused() -> None:
    with pytest.raises(ModelError, match="expected a class of torch.nn.Module with parameters, got ReLU"):
        network("torch.nn:ReLU")


def test_the_network_s_identity_tells_its_shapes_and_its_source() -> None:
    found = {name: identity(name, network(name)) for name in MODELS}
    assert found["study"].parameter_shapes == "10x1x5x5, 10, 20x10x5x5, 20, 50x320, 50, 1x50, 1"
    assert len(set(found.values())) == len(MODELS)
    dropping, normalised = (identity(own(kind), kind()) for kind in (Dropping, Normalised))
    assert dropping.network_digest != normalised.network_digest


def test_cases_show_the_network_where_it_varies_and_no_two_are_called_the_same() -> None:
    cases = plan(["batch-size"], Grid(tasks=("mean",), batch_sizes=(16,), runs=1, models=("study", "wide")))
    assert list(cases["batch-size"]) == ["mean-bs16-seed16", "mean-bs16-seed16-wide"]
    tried = plan(["learning-rate"], Grid(tasks=("mean",), runs=1, models=("wide", "deep")))["learning-rate"]
    assert "mean-bs32-seed32-wide-lr1e-06" in tried
    assert len(tried) == len({run.key for run in tried.values()})


def test_a_session_trains_several_networks_and_its_report_shows_them(suite: Suite) -> None:
    arguments = ("--bsr-models=study,wide", "--bsr-epochs=1", "--bsr-tasks=mean", "--bsr-batch-sizes=256")
    ended = suite.run(*SMOKE, *arguments, "--benchmark-json=run.json")
    assert ended.code == 0, ended.output
    named = {case["cases"]["batch-size"]: case["result"]["run"]["model"] for case in suite.cases()}
    assert named == {"mean-bs256-seed256": "study", "mean-bs256-seed256-wide": "wide"}
    assert [made["params"]["model"] for made in suite.json()["benchmarks"]] == ["study", "wide"]
    assert "the rate was never tuned for mean with the network wide; tune it: pytest" in ended.output


def test_warming_up_leaves_no_trace_in_batch_normalisation() -> None:
    model = Normalised()
    optimiser = torch.optim.Adam(model.parameters())
    before = copy.deepcopy(model.state_dict())
    with undone(model, optimiser, lambda: None):
        model(torch.rand(4, 1, 28, 28)).sum().backward()
        optimiser.step()
        assert int(model.norm.num_batches_tracked or 0) == 1
    torch.testing.assert_close(model.state_dict(), before)


def test_the_study_s_large_batches_still_go_through_in_pieces() -> None:
    sizes: list[int] = []

    class Counting(RegressionCNN):
        def forward(self, images: Tensor) -> Tensor:
            sizes.append(len(images))
            return super().forward(images)

    learner = EagerLearner(Counting(), RUN, made_split(RUN), CPU)
    learner.train_epoch(torch.arange(256), math.inf)
    assert sizes == [128, 128]
