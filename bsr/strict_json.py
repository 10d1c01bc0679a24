"""Values as strict JSON can say them: whatever comes in, what goes out can be written and read anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from itertools import count
from typing import Any, Final

from bsr.text import printable

MOST_DEEP: Final = 50
MOST_VALUES: Final = 1_000_000
"""Of one value; some hundred megabytes."""
MOST_DIGITS: Final = 300
"""Of an integer that is kept as text."""
LONGEST_LINE: Final = 300

Told = Callable[[str, str], None]
"""Hears where something could not be kept as it is, and what became of it."""


def plain(value: object, told: Told = lambda _where, _what: None, most: int = MOST_VALUES) -> Any:
    """`value` in dicts with string keys, lists, strings, finite numbers, booleans and None.

    NaN and infinity become None. What JSON has no word for becomes its text. What holds itself, is deeper
    than MOST_DEEP or has more than `most` values is cut off there, with a word about it in its place.
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
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return self._integer(value, where)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else None
        if isinstance(value, str):
            return self._characters(value, where)
        if is_dataclass(value) and not isinstance(value, type):
            value = {field.name: getattr(value, field.name) for field in fields(value)}
        if isinstance(value, (Mapping, list, tuple, AbstractSet)):
            return self._container(value, where)
        return self._other(value, where)

    def _other(self, value: Any, where: str) -> Any:
        """NumPy's own say what they hold; of anything else there is only its text."""
        if type(value).__module__ == "numpy" and getattr(value, "size", self._left) < self._left:
            return self.of(value.tolist(), where)
        self._told(where, f"of type {type(value).__name__}, kept as its text")
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
            return int(value)
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
            return self._mapping(value, where) if isinstance(value, Mapping) else self._items(value, where)
        finally:
            self._inside.discard(id(value))

    def _items(self, value: Any, where: str) -> list[Any]:
        made = []
        for index, item in enumerate(value):
            made.append(self.of(item, f"{where}[{index}]"))
            if self._left <= 0:
                break
        return made

    def _mapping(self, value: Mapping[Any, Any], where: str) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, item in value.items():
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
    return printable(" ".join(f"{type(error).__name__}: {_text(error)}".split()), LONGEST_LINE)


def _text(value: object) -> str:
    try:
        return str(value).encode("utf-8", "replace").decode()
    except Exception as error:  # noqa: BLE001 - whatever a stranger's __str__ raises
        return f"({type(value).__name__} that cannot be shown: {type(error).__name__})"
