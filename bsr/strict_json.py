"""Values as strict JSON can say them: whatever comes in, what goes out can be written and read anywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from typing import Any, Final

MAX_DEPTH: Final = 50
"""Deeper values, and those that hold themselves, are cut off with a word about it."""
LONGEST_LINE: Final = 300


def plain(value: object, depth: int = 0) -> Any:  # noqa: PLR0911 - one per kind of value
    """`value` in dicts with string keys, lists, strings, finite numbers, booleans and None.

    NaN and infinity become None. What JSON has no word for becomes its text.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # a lone surrogate is no character
    if depth == MAX_DEPTH:
        return "(too deep)"
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return {_text(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, AbstractSet)):
        return [plain(item, depth + 1) for item in value]
    return _text(value)


def one_line(error: BaseException) -> str:
    """An exception's type and message, on one line of at most `LONGEST_LINE` characters."""
    text = " ".join(f"{type(error).__name__}: {_text(error)}".split())
    return text if len(text) <= LONGEST_LINE else f"{text[: LONGEST_LINE - 1]}…"


def _text(value: object) -> str:
    try:
        return str(plain(str(value)))
    except Exception as error:  # noqa: BLE001 - whatever a stranger's __str__ raises
        return f"({type(value).__name__} that cannot be shown: {type(error).__name__})"
