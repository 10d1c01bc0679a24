"""Values as strict JSON can say them: whatever comes in, what goes out can be written and read anywhere.

What comes in may be a stranger's: no method of its class is called, since one may never return.
"""

from __future__ import annotations

import datetime as dt
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import count, islice
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from types import NoneType, WrapperDescriptorType
from typing import Any, Final

from bsr.text import printable

MOST_DEEP: Final = 50
MOST_VALUES: Final = 1_000_000
"""Of one value; some hundred megabytes."""
MOST_DIGITS: Final = 300
"""Of an integer that is kept as text."""
LONGEST_LINE: Final = 300

_SHOWN: Final = frozenset(
    {
        *(NoneType, bool, int, float, str, bytes, complex, range, Decimal, Fraction),
        *(dt.date, dt.datetime, dt.time, dt.timedelta),
        *(PosixPath, PurePosixPath, PureWindowsPath, WindowsPath),
    }
)
"""The types themselves, never a class made from them, whose text is Python's own."""
_CONTAINERS: Final = (dict, list, tuple, set, frozenset)

Told = Callable[[str, str], None]
"""Hears where something could not be kept as it is, and what became of it."""


def plain(value: object, told: Told = lambda _where, _what: None, most: int = MOST_VALUES) -> Any:
    """`value` in dicts with string keys, lists, strings, finite numbers, booleans and None.

    NaN and infinity become None. What JSON has no word for becomes its text where that is Python's own, else
    the name of its type. What holds itself, is deeper than MOST_DEEP or has more than `most` values is cut
    off there, with a word about it in its place.
    """
    return _Plain(told, most).of(value, "")


class _Plain:
    """One value on its way, with the work that is left for it."""

    def __init__(self, told: Told, most: int) -> None:
        self._told = told
        self._left = most
        self._inside: set[int] = set()

    def of(self, value: object, where: str) -> Any:
        self._left -= 1
        kind = type(value)
        if value is None or kind is bool:
            return value
        if issubclass(kind, int):
            return self._integer(int.__int__(value), where)  # type: ignore[arg-type]
        if issubclass(kind, float):
            number = float.__float__(value)  # type: ignore[arg-type]
            return number if math.isfinite(number) else None
        if issubclass(kind, str):
            return self._characters(str.__str__(value), where)
        if is_dataclass(kind):
            value = {field.name: getattr(value, field.name) for field in fields(kind)}
        if issubclass(type(value), _CONTAINERS):
            return self._container(value, where)
        return self._other(value, where)

    def _other(self, value: Any, where: str) -> Any:
        """NumPy's own say what they hold; of anything else there is only its text, or its type."""
        if _is_numpy(value) and value.size < self._left:
            return self.of(value.tolist(), where)
        shown = f"of type {type(value).__name__}, kept as its text"
        self._told(where, shown if _is_shown(value) else "an object of which only the type is kept")
        return _text(value)

    def _characters(self, value: str, where: str) -> str:
        """A lone surrogate is half a character, which no file can hold."""
        said = value.encode("utf-8", "replace").decode()
        if said != value:
            self._told(where, "half a character, kept as ?")
        return said

    def _integer(self, value: int, where: str) -> int | str:
        """Beyond 64 bits readers disagree, and beyond some thousand digits Python does not even show it."""
        if -(2**63) <= value < 2**64:
            return value
        digits = math.ceil(value.bit_length() * math.log10(2))
        self._told(where, f"an integer of {digits:,} digits, kept as text")
        return str(value) if digits <= MOST_DIGITS else f"(an integer of {digits:,} digits)"

    def _container(self, value: object, where: str) -> Any:
        for reached, what in (
            (id(value) in self._inside, "holds itself"),
            (len(self._inside) == MOST_DEEP, "too deep"),
            (self._left <= 0, "too much"),
        ):
            if reached:
                self._told(where, f"{what}, cut off there")
                return f"({what})"
        self._inside.add(id(value))
        try:
            if issubclass(type(value), dict):
                return self._mapping(value, where)
            return self._items(elements(value), where)
        finally:
            self._inside.discard(id(value))

    def _items(self, value: Iterator[Any], where: str) -> list[Any]:
        items = [*islice(value, max(self._left, 0) + 1)]
        if set(map(type, items)) == {float} and len(items) < self._left and all(map(math.isfinite, items)):
            self._left -= len(items)  # as nearly every list of a recording is
            return items
        made: list[Any] = []
        for index, item in enumerate(items):
            made.append(self.of(item, f"{where}[{index}]"))
            if self._left <= 0:
                break
        return made

    def _mapping(self, value: Any, where: str) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, item in dict.items(value):
            name = _text(key)
            if name in made:
                name = next(
                    new for n in count(1) if (new := f"{name} ({type(key).__name__} {n})") not in made
                )
                self._told(f"{where}.{name}", "another key of the same text, renamed")
            made[name] = self.of(item, f"{where}.{name}")
            if self._left <= 0:
                break
        return made


def one_line(error: BaseException) -> str:
    """An exception's type and message, on one line of at most `LONGEST_LINE` characters."""
    return printable(" ".join(f"{type(error).__name__}: {words(error)}".split()), LONGEST_LINE)


def words(error: BaseException) -> str:
    """What an exception says, if Python itself says it; of one with words of its own what it was made of."""
    kind = type(error)
    arguments = BaseException.args.__get__(error)  # type: ignore[attr-defined]
    speaks = next(base.__dict__["__str__"] for base in kind.__mro__ if "__str__" in base.__dict__)
    files = (OSError.filename, OSError.filename2) if issubclass(kind, OSError) else ()
    if type(speaks) is WrapperDescriptorType and all(
        map(_is_shown, (*arguments, *(file.__get__(error) for file in files)))
    ):
        try:
            return _writable(str(error))
        except Exception as other:  # noqa: BLE001 - an integer of too many digits
            return f"({kind.__name__} that cannot be shown: {type(other).__name__})"
    return ", ".join(_text(argument) for argument in arguments)


def elements(value: Any) -> Iterator[Any]:
    """Of a list, tuple or set, as the base class gives them."""
    base = next(base for base in _CONTAINERS if issubclass(type(value), base))
    return iter(base.__iter__(value))


def _is_shown(value: object, depth: int = 0) -> bool:
    """Whether its text is Python's own, down to what it holds."""
    kind = type(value)
    if kind in _SHOWN:
        return True
    if kind in {list, tuple} and depth < MOST_DEEP:
        return all(_is_shown(item, depth + 1) for item in value)  # type: ignore[attr-defined]
    return _is_numpy(value, arrays=False)


def _is_numpy(value: object, *, arrays: bool = True) -> bool:
    """Whether it is a scalar of NumPy itself, or an array."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return False
    scalars = set(numpy.sctypeDict.values()) - {numpy.object_, numpy.void}
    return type(value) in scalars or (arrays and type(value) is numpy.ndarray)


def _text(value: object) -> str:
    """Text where it is Python's own, else the name of the type."""
    if not _is_shown(value):
        return type(value).__name__
    try:
        return _writable(str(value))
    except Exception as error:  # noqa: BLE001 - an integer of too many digits
        return f"({type(value).__name__} that cannot be shown: {type(error).__name__})"


def _writable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()  # a lone surrogate is no character
