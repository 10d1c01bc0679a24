"""The network: its size, its shapes, its order of layers, and the weights that a seed gives."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from bsr.model import PARAMETERS, RegressionCNN


def plain_construction() -> nn.Sequential:
    """The layers as one writes them down, in the order in which they draw their weights."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 10, kernel_size=5),
            pool1=nn.MaxPool2d(2),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(10, 20, kernel_size=5),
            pool2=nn.MaxPool2d(2),
            relu2=nn.ReLU(),
            flatten=nn.Flatten(),
            fc1=nn.Linear(320, 50),
            relu3=nn.ReLU(),
            fc2=nn.Linear(50, 1),
        )
    )


def raw_pixels(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 1, 28, 28), generator=generator).float()


def test_it_has_the_parameters_of_the_study() -> None:
    assert sum(parameter.numel() for parameter in RegressionCNN().parameters()) == PARAMETERS == 21_381


@given(count=st.integers(0, 70))
def test_it_gives_one_prediction_per_image(count: int) -> None:
    with torch.no_grad():
        predictions = RegressionCNN()(raw_pixels(count))
    assert predictions.shape == (count,)
    assert predictions.dtype == torch.float32


@given(seed=st.integers(0, 2**63 - 1))
def test_a_seed_gives_the_weights_of_the_plain_construction(seed: int) -> None:
    torch.manual_seed(seed)
    plain = plain_construction().state_dict()
    torch.manual_seed(seed)
    weights = RegressionCNN().state_dict()
    assert list(weights) == list(plain)
    assert all(torch.equal(weights[name], plain[name]) for name in plain)


def test_it_computes_what_the_plain_construction_computes() -> None:
    model, plain = RegressionCNN(), plain_construction()
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(raw_pixels(9)), plain(raw_pixels(9)).squeeze(1))


def test_it_pools_before_the_relu() -> None:
    model, calls = RegressionCNN(), []
    for module in model.modules():
        module.register_forward_hook(lambda module, _inputs, _output: calls.append(type(module).__name__))
    model(raw_pixels(2))
    convolution = ["Conv2d", "MaxPool2d", "ReLU"]
    assert calls == [*convolution, *convolution, "Linear", "ReLU", "Linear", "RegressionCNN"]


def test_training_and_evaluation_predict_the_same() -> None:
    """There is no dropout."""
    model = RegressionCNN()
    torch.testing.assert_close(model.train()(raw_pixels(5)), model.eval()(raw_pixels(5)), rtol=0, atol=0)


def test_an_image_is_predicted_alone_whatever_lies_beside_it() -> None:
    model = RegressionCNN()
    together = model(raw_pixels(6))
    alone = torch.cat([model(image.unsqueeze(0)) for image in raw_pixels(6)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize(
    "shape",
    [(2, 1, 27, 28), (2, 1, 32, 32), (2, 3, 28, 28), (2, 28, 28), (28, 28), (2, 784), (1, 2, 1, 28, 28)],
)
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected shape \[N, 1, 28, 28\], got") as refused:
        RegressionCNN()(torch.zeros(shape))
    assert str(list(shape)) in str(refused.value)
