"""Training: the one loop of every engine, what it logs, warming up, kept weights."""

from bsr.training.loop import (
    LOSSES,
    Learner,
    TimeLimitReached,
    baseline_mse,
    data_order,
    identity,
    initial_model,
    make_optimiser,
    orders,
    train,
)

__all__ = [
    "LOSSES",
    "Learner",
    "TimeLimitReached",
    "baseline_mse",
    "data_order",
    "identity",
    "initial_model",
    "make_optimiser",
    "orders",
    "train",
]
