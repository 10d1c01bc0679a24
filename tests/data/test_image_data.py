"""A data set of a user's own: images and targets as people have them, taken as they are or refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

import bsr
from bsr.data import image_data, items
from bsr.data import images as data
from bsr.data.image_data import checked
from bsr.data.images import DataError, load_images, load_split
from bsr.data.pieces import pieces
from bsr.run import Run
from bsr.tasks import TASKS, batch_of

N, M = 12, 5
NAME = "own_pictures:made"


def pixels(count: int, *size: int, dtype: torch.dtype = torch.uint8, seed: int = 0) -> torch.Tensor:
    """Images of any kind, none like another."""
    draw = torch.Generator().manual_seed(seed)
    found = torch.randint(0, 256, (count, *size), generator=draw)
    return found.to(dtype) if dtype == torch.uint8 else found.to(dtype) / 255


def numbers(count: int) -> torch.Tensor:
    return torch.arange(count, dtype=torch.float32) / 8


def line(returned: object) -> str:
    """The one line with which a data set is refused."""
    with pytest.raises(DataError) as refused:
        checked(returned, "data set 'mine:made'")
    assert "\n" not in str(refused.value)
    return str(refused.value)


class Pictures(Dataset[Any]):
    """A map-style Dataset, and how often each item was read."""

    def __init__(self, images: Any, targets: Any = None, noise: float = 0.0) -> None:
        self.images, self.targets, self.noise = images, targets, noise
        self.reads = [0] * len(images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        self.reads[index] += 1
        image = self.images[index]
        if self.noise:
            image = image + self.noise * torch.rand(())
        return image if self.targets is None else (image, self.targets[index])


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module whose `made` is a data set's function; what it gave before is forgotten."""
    module = ModuleType("own_pictures")
    monkeypatch.setitem(sys.modules, "own_pictures", module)
    data._images.cache_clear()
    data._labels.cache_clear()
    return module


COLOUR = pixels(N, 3, 8, 6, dtype=torch.float32), pixels(M, 3, 8, 6, dtype=torch.float32, seed=1)
PAIRS = (COLOUR[0], numbers(N)), (COLOUR[1], numbers(M))


# What a function may return


@pytest.mark.parametrize(
    "returned",
    [
        PAIRS,
        [list(part) for part in PAIRS],
        tuple(tuple(each.numpy() for each in part) for part in PAIRS),
        tuple((images, {"target": targets}) for images, targets in PAIRS),
        tuple(TensorDataset(*part) for part in PAIRS),
        tuple(Pictures(*part) for part in PAIRS),
        tuple(Pictures(images.numpy(), targets.numpy()) for images, targets in PAIRS),
        tuple(Pictures(x, [{"target": value} for value in y.tolist()]) for x, y in PAIRS),
        bsr.ImageData(train=PAIRS[0], test=PAIRS[1]),
    ],
    ids=["pairs", "lists", "arrays", "named", "TensorDataset", "Dataset", "items", "numbers", "ImageData"],
)  # fmt: skip
def test_everything_that_people_have_is_one_data_set(returned: Any) -> None:
    found = checked(returned, "mine")
    assert torch.equal(found.train, COLOUR[0])
    assert torch.equal(found.test, COLOUR[1])
    assert torch.equal(found.targets["target"]["train"], numbers(N))
    assert torch.equal(found.targets["target"]["test"], numbers(M))
    assert found.digest == checked(PAIRS, "mine").digest


@pytest.mark.parametrize("size", [(7, 9), (1, 7, 9), (3, 7, 9)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_are_taken_as_they_are(size: tuple[int, ...], dtype: torch.dtype) -> None:
    train, test = pixels(N, *size, dtype=dtype), pixels(M, *size, dtype=dtype, seed=1)
    found = checked((train, test), "mine")
    assert found.train.data_ptr() == train.data_ptr()
    assert (found.train.dtype, found.test.shape) == (dtype, (M, *size))
    assert found.targets == {}
    assert found.copied_bytes == 0


def test_two_arrays_of_images_keep_the_digest_that_they_always_had() -> None:
    """By which recordings of earlier versions are resumed and compared."""
    train = torch.arange(96, dtype=torch.uint8).reshape(6, 4, 4)
    assert checked((train, train[:2] + 1), "mine").digest == "f12f557ab001038f"


def test_read_only_and_strided_and_big_endian_arrays_are_taken(tmp_path: Path) -> None:
    kept = COLOUR[0].numpy()
    np.save(tmp_path / "images.npy", kept)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    read_only = numbers(N).numpy()
    read_only.flags.writeable = False
    turned = np.asfortranarray(kept)[:, :, ::-1][:, :, ::-1]
    for images in (mapped, turned, kept.astype(">f4"), COLOUR[0].to(memory_format=torch.channels_last)):
        found = checked(((images, read_only), PAIRS[1]), "mine")
        assert torch.equal(found.train, COLOUR[0])
        assert found.train.is_contiguous()
        assert found.digest == checked(PAIRS, "mine").digest
    assert checked(((mapped, read_only), PAIRS[1]), "mine").copied_bytes == 0
    assert checked(((turned, read_only), PAIRS[1]), "mine").copied_bytes == kept.nbytes


def turned_over(part: Any) -> Any:
    return part[0].transpose(2, 3), part[1]


def in_bytes(part: Any) -> Any:
    return part[0].view(torch.uint8), part[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda train, test, more: (train, test, (more[0] + (more[0] == more[0].max()), more[1])),
        lambda train, test, more: (train, (test[0], -test[1]), more),
        lambda train, test, more: tuple(map(turned_over, (train, test, more))),
        lambda train, test, more: tuple(map(in_bytes, (train, test, more))),
        lambda train, test, more: ((train[0], {"age": train[1]}), (test[0], {"age": test[1]}), None),
        lambda train, test, more: (train, test, None),
        lambda train, test, more: (train, more, test),
    ],
    ids=["a pixel", "targets", "shape", "type", "name", "no validation", "parts"],
)
def test_the_digest_covers_all_of_it(change: Any) -> None:
    parts = (*PAIRS, (COLOUR[1][:3], numbers(3)))

    def digest(train: Any, test: Any, validation: Any) -> str:
        return checked(bsr.ImageData(train=train, test=test, validation=validation), "mine").digest

    assert digest(*change(*parts)) != digest(*parts)


def test_several_targets_and_a_validation_part_of_its_own(named: Any) -> None:
    parts = {
        name: (pixels(count, 3, 4, 4, seed=count), {"age": numbers(count), "size": -numbers(count)})
        for name, count in (("train", 30), ("test", 20), ("validation", 10))
    }
    named.made = lambda: bsr.ImageData(**parts)
    run = Run(
        task="size", batch_size=4, seed=0, learning_rate=0.1, dataset=NAME, train_images=30, test_images=10
    )
    tested, validated = load_split(run), load_split(replace(run, evaluate_on="validation"))
    assert torch.equal(tested.test_images, parts["test"][0][:10])
    assert torch.equal(validated.test_images, parts["validation"][0])
    assert torch.equal(validated.test_labels, parts["validation"][1]["size"])
    assert torch.equal(validated.train_images, parts["train"][0])
    assert validated.validation is None
    assert tested.validation is not None
    assert torch.equal(tested.validation[1], parts["validation"][1]["size"])
    means = load_split(replace(run, task="mean")).train_labels
    torch.testing.assert_close(means, parts["train"][0].double().mean((1, 2, 3)).float())


def test_the_studys_tasks_are_over_all_channels() -> None:
    images = COLOUR[0]
    for name, task in TASKS.items():
        torch.testing.assert_close(task(images), task(images.reshape(N, 24, 6)), msg=name)


def test_a_channel_is_added_where_there_is_none() -> None:
    assert batch_of(pixels(2, 5, 6)).shape == (2, 1, 5, 6)
    assert batch_of(pixels(2, 3, 5, 6)).shape == (2, 3, 5, 6)


def test_what_goes_through_at_once_is_bounded_by_bytes() -> None:
    assert [len(some) for some in pieces(torch.empty(2_100, 28, 28, dtype=torch.uint8), 1_000)] == [
        1_000,
        1_000,
        100,
    ]
    assert [len(some) for some in pieces(torch.empty(1_100, 28, 28), 500)] == [500, 500, 100]
    large = pieces(torch.empty(1, 1, 1, 1).expand(10, 3, 512, 512), 500)
    assert [len(some) for some in large] == [1] * 10


# What is refused, in one line


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (numbers(N - 1), "float32 [12], one per image, got torch.float32 [11]; give every image one"),
        (numbers(N).double(), "got torch.float64 [12]; convert it"),
        (numbers(N).numpy().astype(np.int64), "got int64 [12]; convert it"),
        (numbers(N)[:, None], "got torch.float32 [12, 1]; give each column as a target of its own"),
        (numbers(N).tolist(), "expected float32 [12], one per image, got list; convert it"),
        (numbers(N).index_fill(0, torch.tensor(3), torch.nan), "expected finite numbers, got 1 others"),
        (numbers(N).index_fill(0, torch.tensor(3), torch.inf), "expected finite numbers, got 1 others"),
        ({"mean": numbers(N)}, "target 'mean': expected another name than mean, std, var, median"),
        ({"a=b": numbers(N)}, "expected a target's name of letters, digits and _, got 'a=b'; rename it"),
        ({"a,b": numbers(N)}, "expected a target's name of letters, digits and _, got 'a,b'; rename it"),
        ({"m:f": numbers(N)}, "expected a target's name of letters, digits and _, got 'm:f'; rename it"),
        ({1: numbers(N)}, "expected a target's name of letters, digits and _, got '1'; rename it"),
        (np.ma.array(numbers(N).numpy()), "got MaskedArray"),
    ],
)  # fmt: skip
def test_targets_that_are_none_are_one_line(targets: Any, said: str) -> None:
    got = line(((COLOUR[0], targets), PAIRS[1]))
    assert got.startswith("data set 'mine:made', train")
    assert said in got


def test_targets_of_one_part_alone_are_one_line() -> None:
    assert "expected the same targets in every part, got train target; test none" in line(
        (PAIRS[0], COLOUR[1])
    )


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (pixels(N, 8, 6, 3), "expected channels before rows and columns, [N, C, H, W], got torch.uint8"),
        (COLOUR[0].index_fill(0, torch.tensor(3), torch.nan), "expected finite pixels, got NaN or infinity"),
        (pixels(N, 0, 8), "expected at least one image of one pixel"),
    ],
)  # fmt: skip
def test_images_that_cannot_be_trained_on_are_one_line(images: Any, said: str) -> None:
    assert said in line((images, images))


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (COLOUR[0].double().split(6), "train: expected images, uint8 or float32, [N, H, W] or [N, "),
        ((COLOUR[0],), "expected a training and a test part, got 1 parts: torch.float32 [12, 3, 8, 6]"),
        ((*PAIRS[0], *PAIRS[1]), "got 4 parts: torch.float32 [12, 3, 8, 6], torch.float32 [12], torch"),
        ((*COLOUR, COLOUR[1]), "(of three say which is which, bsr.ImageData(train=..."),
        (PAIRS[0], "or [N, C, H, W], got torch.float32 [12]"),
        (None, "expected a training and a test part, got NoneType"),
        ({"train": PAIRS[0]}, "expected a training and a test part, got dict"),
        ((TensorDataset(*PAIRS[0], numbers(N)), PAIRS[1]), "give several targets by name"),
        ((np.zeros((4, 8, 8), np.float64),) * 2, "got float64 [4, 8, 8]"),
        (iter([1, 2]), "got int"),
    ],
)  # fmt: skip
def test_another_shape_is_refused_with_two_lines_that_show_what_to_return(returned: Any, said: str) -> None:
    with pytest.raises(DataError) as refused:
        checked(returned, "data set 'mine:made'")
    first, *examples = str(refused.value).splitlines()
    assert said in first
    assert [example.split("(")[0] for example in examples] == ["    return ", "    return bsr.ImageData"]


def test_parts_of_several_sizes_or_types_are_one_line() -> None:
    assert (
        "expected parts of one type and size, got train torch.uint8 [12, 8, 8] and test torch.uint8 [5, 8, 9]"
        in (line((pixels(N, 8, 8), pixels(M, 8, 9))))
    )
    assert "test torch.float32" in line((pixels(N, 8, 8), pixels(M, 8, 8, dtype=torch.float32)))


def test_a_function_that_raises_is_named_with_the_example(named: Any) -> None:
    named.made = lambda: np.load("/nowhere/faces.npy")
    with pytest.raises(
        DataError, match="data set 'own_pictures:made': expected a function without arguments"
    ):
        load_images(NAME)


# Map-style Datasets


def test_a_dataset_is_read_once_and_a_few_items_twice() -> None:
    many = Pictures(pixels(100, 4, 4), numbers(100))
    checked((many, Pictures(pixels(M, 4, 4), numbers(M))), "mine")
    assert sorted(set(many.reads)) == [1, 2]
    assert many.reads.count(2) == items.READ_TWICE


@pytest.mark.parametrize("noise", [1e-6, 1.0])
def test_a_dataset_that_augments_at_random_is_one_line(noise: float) -> None:
    drawn = Pictures(COLOUR[0], numbers(N), noise=noise)
    assert "expected the same item each time, got another when read again; leave random aug" in line(
        (drawn, drawn)
    )


@pytest.mark.parametrize(
    ("items_of", "said"),
    [
        ([(pixels(1, 4, 4)[0], 3)], "item 0, target 'target': expected a floating number, got int; c"),
        ([(pixels(1, 4, 4)[0], numbers(2))], "expected a floating number, got torch.float32 [2]"),
        ([("picture.png", 1.0)], "item 0: expected an image, or an image and its target, as te"),
        ([(pixels(1, 4, 4)[0], 1.0), (pixels(1, 4, 5)[0], 1.0)], "item 1: expected torch.uint8 [4, 4]"),
        ([(pixels(1, 4, 4)[0], 1.0), pixels(1, 4, 4)[0]], "with targets target, as in item 0, got torch"),
        ([(pixels(1, 4, 4)[0], torch.nan)], "expected finite numbers, got 1 others"),
    ],
)  # fmt: skip
def test_items_that_are_none_are_one_line(items_of: list[Any], said: str) -> None:
    class Items:
        def __len__(self) -> int:
            return len(items_of)

        def __getitem__(self, index: int) -> Any:
            return items_of[index]

    assert said in line((Items(), Items()))


def test_who_reads_long_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(items, "PATIENT_SECONDS", 0.0)
    checked((Pictures(pixels(3, 4, 4)), pixels(3, 4, 4)), "data set 'mine:made'")
    assert "bsr: data set 'mine:made', train: 2 of 3 images read\n" in capsys.readouterr().err


def test_what_the_memory_cannot_hold_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "usable_memory_bytes", lambda: 5_000_000)
    many = Pictures(np.broadcast_to(pixels(1, 1_000, 1_000).numpy(), (20, 1_000, 1_000)))
    assert "train: expected room for 20 MB, got 5 MB free; take fewer or smaller images" in line((many, many))
    assert many.reads == [1] + 19 * [0]
    strided = np.asfortranarray(pixels(6, 1_000, 1_000).numpy())
    assert "to copy uint8 [6, 1000, 1000] into rows: expected room for 6 MB" in line((strided, strided))


# From Python


def test_splits_of_the_same_images_are_of_one_data_set_whatever_their_targets() -> None:
    (images, age), (test_images, test_age) = PAIRS
    one = bsr.Split.of(images, age, test_images, test_age, task="age")
    other = bsr.Split.of(images, -age, test_images, -test_age, task="height")
    assert one.digest == other.digest == checked((images, test_images), "x").digest
    assert one.labels_digest != other.labels_digest
    held_out = bsr.Split.of(images, age, test_images, test_age, validation=(test_images, test_age))
    assert held_out.validation is not None
    assert torch.equal(held_out.validation[1], test_age)


def test_a_split_of_ones_own_trains() -> None:
    split = bsr.Split.of(*PAIRS[0], PAIRS[1][0].numpy(), PAIRS[1][1], task="age")
    run = Run(task="age", batch_size=4, seed=0, learning_rate=0.1, train_images=N, test_images=M)
    split.check(run)
    with pytest.raises(
        DataError, match=r"split, test, target 'age': expected float32 \[5\], one per image, got"
    ):
        bsr.Split.of(*PAIRS[0], PAIRS[1][0], numbers(N), task="age")
    with pytest.raises(
        ValueError, match=r"split.train_images: expected torch.uint8 or torch.float32 \[11, H, W\]"
    ):
        split.check(
            bsr.Run(task="age", batch_size=4, seed=0, learning_rate=0.1, train_images=11, test_images=M)
        )


def test_a_split_of_two_kinds_of_images_is_refused() -> None:
    run = Run(task="age", batch_size=4, seed=0, learning_rate=0.1, train_images=N, test_images=M)
    split = bsr.Split(COLOUR[0], numbers(N), pixels(M, 8, 6), numbers(M), "", "age")
    with pytest.raises(
        ValueError, match="split.test_images: expected images of one type and size with those to"
    ):
        split.check(run)


def test_the_fewest_rows_are_what_the_refusal_of_channels_last_says() -> None:
    """Images that are really four pixels wide with few channels stay possible."""
    assert image_data.FEWEST_ROWS == 5
    assert checked((pixels(N, 3, 8, 4), pixels(M, 3, 8, 4)), "mine").train.shape == (N, 3, 8, 4)
