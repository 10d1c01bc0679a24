"""Measures of several seeds per batch size, for tests of the statistics."""

from collections.abc import Sequence

import numpy as np

SEVEN = {16: [1.0], 32: [1.1], 64: [0.9], 128: [1.3], 256: [1.7], 512: [2.1], 1024: [3.0]}


def noisy(means: Sequence[float], seeds: int = 10, spread: float = 0.3) -> dict[int, list[float]]:
    """Log-normal values around geometric means, at batch sizes 16, 32, ..."""
    rng = np.random.default_rng(7)
    return {16 * 2**i: (mean * np.exp(rng.normal(0, spread, seeds))).tolist() for i, mean in enumerate(means)}
