"""A user's own network, used on a few images as it will be: what would fail in a training fails here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from bsr.own.network import seeded, structure

SAME: Final = 1e-4
"""Of the largest prediction: what two calls of one network on the same images may differ by."""
ANEW: Final = (
    "let every call make it anew, keep no state but in parameters and buffers, and draw from torch's global "
    "generator alone"
)


def problem_of_predictions(predictions: object, images: int) -> str:
    """What is wrong with them; empty where they are one floating number per image."""
    if not isinstance(predictions, Tensor) or predictions.shape != (images,):
        got = list(predictions.shape) if isinstance(predictions, Tensor) else type(predictions).__name__
        return f"expected predictions [{images}] for {images} images, got {got}; end it with .squeeze(1)"
    if not predictions.is_floating_point():
        return f"expected floating predictions, got {predictions.dtype}; leave out what makes them whole"
    return ""


def problem_of(make: Callable[[], nn.Module], images: Tensor, batches: Iterable[int] = ()) -> str:
    """Why networks that `make` gives cannot be trained on copies of `images` [N, C, H, W]; empty if they can.

    Raises whatever they raise. Two are made from one seed: they must be alike and compute alike, evaluated as
    trained, at the sizes of `batches` beside that of all images.
    """
    one, other = seeded(make, 0), seeded(make, 0)
    if unlike := _unlike(one, other):
        return unlike
    for name, value in one.named_parameters():
        if not value.is_floating_point():
            return f"expected floating parameters, got {name}, {value.dtype}; register it as a buffer"
    if not any(value.requires_grad for value in one.parameters()):
        return "expected parameters to train, got none that requires a gradient; freeze fewer"
    with torch.inference_mode():
        said = [_predicted(made.eval(), images) for made in (one, other, one)]
    if problem := _problem(said, len(images)):
        return problem
    for size in dict.fromkeys((len(images), *(min(size, len(images)) for size in batches))):
        said = [_predicted(made.train(), images[:size]) for made in (one, other)]
        if problem := _problem(said, size) or _problem_of_gradient(one, said[0]):
            return f"trained on {size} images: {problem}"
        one.load_state_dict(other.state_dict())
    return ""


def _unlike(one: nn.Module, other: nn.Module) -> str:
    """How two networks differ that one seed made."""
    lines = structure(one), structure(other)
    for first, second in zip(*lines, strict=False):
        if first != second:
            return f"expected one network at every call, got {first[:300]}, then {second[:300]}; {ANEW}"
    mine, its = one.state_dict(), other.state_dict()
    if len(lines[0]) != len(lines[1]) or mine.keys() != its.keys():
        return f"expected one network at every call, got other parts at the second; {ANEW}"
    for name, value in mine.items():
        if isinstance(value, Tensor) and not torch.equal(value.nan_to_num(), its[name].nan_to_num()):
            return f"expected one seed to give one network, got another {name} at the second call; {ANEW}"
    return ""


def _predicted(made: nn.Module, images: Tensor) -> Tensor:
    predictions: Tensor = seeded(lambda: made(images.to(torch.float32, copy=True)), 0)
    return predictions


def _problem(said: list[Tensor], images: int) -> str:
    for predictions in said:
        if problem := problem_of_predictions(predictions, images):
            return problem
    first, *others = (predictions.detach().double().nan_to_num() for predictions in said)
    allowed = SAME * float(first.abs().max())
    if any(bool(((first - other).abs() > allowed).any()) for other in others):
        return f"expected the same predictions of the same images at every call, got others; {ANEW}"
    return ""


def _problem_of_gradient(made: nn.Module, predictions: Tensor) -> str:
    """Of a training step's; going backward may raise too."""
    if predictions.requires_grad:
        functional.mse_loss(predictions.float(), torch.zeros(len(predictions))).backward()
    if all(value.grad is None for value in made.parameters()):
        return (
            "expected predictions with a gradient of the parameters, got none; leave out detach() and "
            "torch.no_grad()"
        )
    made.zero_grad(set_to_none=True)
    return ""
