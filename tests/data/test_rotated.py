"""Rotated: the same digits at the same angles on every machine, and turned as geometry has it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.nn import functional

from bsr.data import rotated
from bsr.data.raw_files import DataError
from bsr.experiments.original import untuned
from bsr.experiments.rates import tuned_rate
from bsr.run import Run

if TYPE_CHECKING:
    from bsr.data.images import Images

FEW = 300
EVERYWHERE = {
    "as it is": {},
    "two threads": {"OMP_NUM_THREADS": "2"},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX"},
    "neither": {
        "ATEN_CPU_CAPABILITY": "default",
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX2 FMA3",
    },
}


def turned(images: torch.Tensor, degrees: float) -> torch.Tensor:
    """All by one angle, of which Rotated has no other than multiples of 45 / 32,768."""
    turns = np.full(len(images), round(degrees * rotated.STEPS / 45), np.int64)
    return torch.from_numpy(rotated._turned(images.numpy(), turns))


def test_a_digit_is_turned_anticlockwise_by_an_angle_above_zero() -> None:
    bar = torch.zeros(1, 28, 28, dtype=torch.uint8)
    bar[0, 13:15, 20:26] = 255  # at the right of the centre
    found = turned(bar, 45)[0].nonzero().double().mean(0)
    assert found.tolist() == pytest.approx(
        [13.5 - 9 / 2**0.5, 13.5 + 9 / 2**0.5], abs=0.3
    )  # above, at the right


@pytest.mark.parametrize("degrees", [-45, -10.5, 0, 30, 44.99])
def test_pixels_are_the_bilinear_means_that_torch_computes_in_floats(mnist: Images, degrees: float) -> None:
    angle = torch.tensor(degrees).deg2rad()
    matrix = torch.tensor([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0]])
    some = mnist.test[:50].unsqueeze(1).float()
    grid = functional.affine_grid(matrix.expand(50, 2, 3), list(some.shape), align_corners=False)
    expected = functional.grid_sample(some, grid, align_corners=False).squeeze(1)
    assert (turned(mnist.test[:50], degrees) - expected).abs().max() < 1.0


def test_an_image_that_is_not_turned_stays_as_it_was(mnist: Images) -> None:
    assert torch.equal(turned(mnist.test[:50], 0), mnist.test[:50])


def test_the_angles_are_spread_evenly_and_exact_in_float32() -> None:
    turns = rotated._turns("train", 60_000)
    assert (turns.min(), turns.max()) == (-rotated.STEPS, rotated.STEPS - 1)
    assert abs(turns.mean()) < 0.01 * rotated.STEPS
    assert turns.std() == pytest.approx(rotated.STEPS / 3**0.5, rel=0.01)
    exact = turns * 45 / rotated.STEPS
    assert (exact.astype(np.float32) == exact).all()


def test_cosine_and_sine_are_as_good_as_their_bits() -> None:
    turns = np.arange(-rotated.STEPS, rotated.STEPS)
    radians = np.deg2rad(turns * 45 / rotated.STEPS)
    cosine, sine = (of / rotated.ONE for of in rotated._cosine_and_sine(turns))
    assert np.abs(cosine - np.cos(radians)).max() < 1e-7
    assert np.abs(sine - np.sin(radians)).max() < 1e-7


@pytest.fixture
def few(mnist: Images, monkeypatch: pytest.MonkeyPatch) -> tuple[torch.Tensor, torch.Tensor]:
    """So few images that they are made in no time; they have a digest of their own."""
    monkeypatch.setattr(rotated, "DIGEST", "e28bfc013921bb48")
    return mnist.train[:FEW], mnist.test[:FEW]


def test_what_is_made_is_kept_and_what_is_damaged_is_made_again(
    few: tuple[torch.Tensor, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "deep" / "images.uint8"
    made = rotated.load(*few, cache)
    kept = cache.read_bytes()
    for damaged in (b"", kept[:-1], kept[:-1] + bytes([kept[-1] ^ 1]), b"<html>"):
        cache.write_bytes(damaged)
        assert rotated._digest(*rotated.load(*few, cache)) == rotated.DIGEST
        assert cache.read_bytes() == kept
    monkeypatch.setattr(rotated, "_turned", lambda *_arguments: pytest.fail("made again"))
    assert torch.equal(rotated.load(*few, cache)[0][0], made[0][0])


def test_a_cache_that_cannot_be_written_costs_time_alone(
    few: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    assert rotated._digest(*rotated.load(*few, tmp_path / "file" / "images.uint8")) == rotated.DIGEST


def test_what_another_machine_would_not_make_is_refused(
    few: tuple[torch.Tensor, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotated, "PIXEL_BITS", 9)
    with pytest.raises(
        DataError, match=f"Rotated: expected images and angles with digest {rotated.DIGEST}, got"
    ):
        rotated.load(*few, tmp_path / "images.uint8")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("where", EVERYWHERE)
def test_all_of_it_is_the_same_whatever_the_processor_offers(tmp_path: Path, where: str) -> None:
    code = (
        "import torch; from bsr.data.images import load_images; images = load_images('Rotated');"
        "from bsr.data import rotated; angles = images.targets['angle'];"
        "parts = [(getattr(images, part), angles[part]) for part in ('train', 'test')];"
        "print(rotated._digest(*parts), *(images.shape[0] for images, _ in parts))"
    )
    environment = os.environ | {"BSR_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"} | EVERYWHERE[where]
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["ecff4793f8836806", "60000", "10000"]


def test_its_rate_is_tuned_for_the_studys_network_on_it_alone() -> None:
    run = Run(task="angle", batch_size=32, seed=0, learning_rate=0.001, dataset="Rotated")
    assert untuned(run) == ""
    assert tuned_rate("angle", 32, 10, "Rotated") != tuned_rate("angle", 32, 10, "MNIST")
    for other in ({"dataset": "mine:digits"}, {"model": "wide"}):
        fields = {"task": "angle", "batch_size": 32, "seed": 0, "learning_rate": 0.001, "dataset": "Rotated"}
        assert untuned(Run(**(fields | other))).startswith("angle on")  # type: ignore[arg-type]


def test_the_digest_of_a_few_is_over_images_and_angles(
    few: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    digest = hashlib.sha256()
    for images, angles in rotated.load(*few, tmp_path / "images.uint8"):
        digest.update(images.numpy().tobytes() + angles.numpy().tobytes())
    assert digest.hexdigest()[:16] == rotated.DIGEST
