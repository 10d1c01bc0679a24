"""A data set of a user's own: images and, if it has them, targets; checked, and told apart by a digest."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from bsr.data import items
from bsr.data.pieces import pieces
from bsr.data.raw_files import DataError
from bsr.tasks import TASKS

DTYPES: Final = {torch.uint8: "uint8", torch.float32: "float32"}
"""Of images."""
IMAGES: Final = "uint8 or float32, [N, H, W] or [N, C, H, W]"
EXAMPLES: Final = """
    return (images, targets), (test_images, test_targets)
    return bsr.ImageData(train=(images, {"age": ages}), test=(test_images, {"age": test_ages}))"""
"""What a data set may return, under a refusal of something else."""
LOOKED_AT: Final = 1_000
"""Images in which NaN is sought at once."""
FEWEST_ROWS: Final = 5
"""Of an image whose last of three sizes is taken for one; fewer are channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageData:
    """What a data set of a user's own is: a training part, a test part and, if it has one, a validation part.

    Each part is images, a pair `(images, targets)`, a TensorDataset or another map-style torch Dataset of
    such pairs. Images: uint8 or float32, [N, H, W] or [N, C, H, W], tensors or NumPy arrays, taken as they
    are. Targets: float32 [N], or several such by name; in a Dataset a number, or numbers by name, per image.
    """

    train: Any
    test: Any
    validation: Any = None


@dataclass(frozen=True, slots=True)
class Images:
    """A data set, loaded and checked, on the CPU: images uint8 or float32, [N, H, W] or [N, C, H, W]."""

    train: Tensor
    test: Tensor
    digest: str
    """SHA-256, 16 hexadecimal digits: over the pixels, of a user's own also types, shapes and targets."""
    validation: Tensor | None = None
    targets: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """Name -> part, `train`, `test` or `validation` -> float32 [N]."""
    copied_bytes: int = 0
    """Of what had to be copied when it was loaded, which loading takes beside the data set itself."""

    @property
    def loading_bytes(self) -> int:
        """The most that it takes of a process's memory."""
        parts = [part for part in (self.train, self.test, self.validation) if part is not None]
        targets = [values for target in self.targets.values() for values in target.values()]
        return sum(values.nbytes for values in (*parts, *targets)) + self.copied_bytes

    def part(self, name: str) -> Tensor:
        """The images of `train`, `test` or, where it has one, `validation`."""
        found: Tensor | None = getattr(self, name)
        assert found is not None, name
        return found


def checked(returned: object, what: str) -> Images:
    """A data set as its function returned it; `what` says in messages which one. Raises DataError."""
    data = _image_data(returned, what)
    given = {"train": data.train, "test": data.test, "validation": data.validation}
    copies: list[int] = []
    parts = {
        name: _part(value, f"{what}, {name}", copies)
        for name, value in given.items()
        if name != "validation" or value is not None
    }
    images = {name: images for name, (images, _) in parts.items()}
    _check_alike(images, what)
    names = {name: list(targets) for name, (_, targets) in parts.items()}
    if any(set(mine) != set(names["train"]) for mine in names.values()):
        said = "; ".join(f"{part} {', '.join(mine) or 'none'}" for part, mine in names.items())
        raise DataError(f"{what}: expected the same targets in every part, got {said}; give all of them")
    return Images(
        images["train"],
        images["test"],
        _digest(parts),
        images.get("validation"),
        {name: {part: targets[name] for part, (_, targets) in parts.items()} for name in names["train"]},
        sum(copies),
    )


def _image_data(returned: object, what: str) -> ImageData:
    if isinstance(returned, ImageData):
        return returned
    if isinstance(returned, tuple | list | Iterator):
        parts = list(returned)
        if len(parts) == 2:
            return ImageData(train=parts[0], test=parts[1])
        got = f"{len(parts)} parts: {', '.join(map(_kind, parts))}"
        if len(parts) == 3:
            got += " (of three say which is which, bsr.ImageData(train=..., validation=..., test=...))"
    else:
        got = _kind(returned)
    raise DataError(f"{what}: expected a training and a test part, got {got}; return, for example,{EXAMPLES}")


def _part(value: object, what: str, copies: list[int]) -> tuple[Tensor, dict[str, Tensor]]:
    """The images and targets of one part; `copies` hears of what had to be copied, bytes."""
    if isinstance(value, TensorDataset):
        value = value.tensors if len(value.tensors) > 1 else value.tensors[0]
    elif items.is_map_style(value):
        value = items.read(value, what, _check_images)
    if not isinstance(value, tuple | list):
        return _images(value, what, copies), {}
    if len(value) != 2:
        raise DataError(
            f"{what}: expected images, or images and their targets, got {', '.join(map(_kind, value))}; give "
            f"several targets by name, for example{EXAMPLES}"
        )
    images, targets = _images(value[0], what, copies), value[1]
    named = targets if isinstance(targets, Mapping) else {items.USUAL_TARGET: targets}
    for name in named:
        _check_target_name(name, what)
    return images, {
        name: _target(given, f"{what}, target {name!r}", len(images)) for name, given in named.items()
    }


def _check_target_name(name: object, what: str) -> None:
    """Raises DataError for what is no name of a target."""
    if not (isinstance(name, str) and name.isidentifier() and len(name) <= 100):
        raise DataError(
            f"{what}: expected a target's name of letters, digits and _, got {str(name)[:100]!r}; rename it"
        )
    if name in TASKS:
        raise DataError(
            f"{what}, target {name!r}: expected another name than {', '.join(TASKS)}, which are tasks "
            "of bsr.TASKS, computed from the pixels; rename it"
        )


def _images(value: object, what: str, copies: list[int]) -> Tensor:
    _check_images(value, what)
    images = _tensor(value, what, copies)
    if images.dtype == torch.float32 and not all(
        bool(some.isfinite().all()) for some in pieces(images, LOOKED_AT)
    ):
        raise DataError(f"{what}: expected finite pixels, got NaN or infinity; clean the images first")
    return images


def _check_images(value: Any, what: str) -> None:
    """Raises DataError for what are no images of a kind that can be trained on."""
    if not _is_array(value) or _dtype(value) not in DTYPES.values() or len(value.shape) not in {3, 4}:
        raise DataError(
            f"{what}: expected images, {IMAGES}, got {_kind(value)}; return, for example,{EXAMPLES}"
        )
    if 0 in value.shape:
        raise DataError(f"{what}: expected at least one image of one pixel, got {_kind(value)}")
    if len(value.shape) == 4 and value.shape[3] < FEWEST_ROWS <= value.shape[1]:
        raise DataError(
            f"{what}: expected channels before rows and columns, [N, C, H, W], got {_kind(value)}; turn the "
            "axes round, images.transpose(0, 3, 1, 2) in NumPy, images.permute(0, 3, 1, 2) in torch"
        )


def _target(value: Any, what: str, count: int) -> Tensor:
    """One target, float32 [count], finite."""
    expected = f"{what}: expected float32 [{count}], one per image, got {_kind(value)}"
    if not _is_array(value) or _dtype(value) != "float32":
        raise DataError(f"{expected}; convert it, .astype('float32') in NumPy, .float() in torch")
    if len(value.shape) != 1:
        raise DataError(f"{expected}; give each column as a target of its own, such as targets[:, 0]")
    if len(value) != count:
        raise DataError(f"{expected}; give every image one")
    target = _tensor(value, what, [])
    if not bool(target.isfinite().all()):
        missing = int((~target.isfinite()).sum())
        raise DataError(f"{what}: expected finite numbers, got {missing} others; leave those images out")
    return target


def _tensor(array: Any, what: str, copies: list[int]) -> Tensor:
    """The same values, contiguous on the CPU; no copy of what lies so already, read-only or not."""
    contiguous = array.flags.c_contiguous if isinstance(array, np.ndarray) else array.is_contiguous()
    if not contiguous or str(getattr(array, "device", "cpu")) != "cpu":
        items.check_room(array.nbytes, f"{what}, to copy {_kind(array)} into rows")
        copies.append(array.nbytes)
    if isinstance(array, np.ndarray):
        native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes there
            return torch.from_numpy(native)
    found: Tensor = array.detach().as_subclass(Tensor).cpu().contiguous()
    return found


def _check_alike(images: Mapping[str, Tensor], what: str) -> None:
    kinds = {(part.dtype, part.shape[1:]) for part in images.values()}
    if len(kinds) > 1:
        got = " and ".join(f"{name} {_kind(part)}" for name, part in images.items())
        raise DataError(f"{what}: expected parts of one type and size, got {got}; convert or resize them")


def digest_of_pixels(images: Images) -> str:
    """As of the same images without targets, 16 hexadecimal digits."""
    given = {"train": images.train, "test": images.test, "validation": images.validation}
    return _digest({name: (part, {}) for name, part in given.items() if part is not None})


def _digest(parts: Mapping[str, tuple[Tensor, Mapping[str, Tensor]]]) -> str:
    """Of images alone, train and test, as ever; what else there is comes after it, by name."""
    images = [part for part, _ in parts.values()]
    said = [_kind(part) for part in images]
    targets = []
    for part, (_, named) in parts.items():
        for name in sorted(named):
            said.append(f"{part} {name} {_kind(named[name])}")
            targets.append(named[name])
    found = hashlib.sha256(str(said).encode())
    for values in (*images, *targets):
        found.update(values.numpy().data)
    return found.hexdigest()[:16]


def _is_array(value: object) -> bool:
    plain = isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray)
    return plain or (isinstance(value, Tensor) and value.layout == torch.strided)


def _dtype(array: Any) -> str:
    return str(array.dtype if isinstance(array, Tensor) else array.dtype.newbyteorder("=")).removeprefix(
        "torch."
    )


def _kind(value: object) -> str:
    """`torch.uint8 [4, 8, 8]`, `float64 [4, 8, 8]`, or the type's name."""
    if isinstance(value, Tensor | np.ndarray) and not isinstance(value, np.ma.MaskedArray):
        return f"{value.dtype} {list(value.shape)}"
    return type(value).__name__
