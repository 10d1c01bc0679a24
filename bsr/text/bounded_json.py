"""Strict JSON and nothing else, in UTF-8, before any of it is kept: bounded in all that costs memory.

No NaN or Infinity, no key twice in one object. What is left to msgspec, which reads what is kept, are half
characters and numbers too large for a float.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import msgspec
import numpy as np
import numpy.typing as npt

from bsr.text import FaultError

Numbers = npt.NDArray[np.int64]
MAX_DEPTH: Final = 64
MOST_PARTS: Final = {
    b'"': 7_000_000,
    b",": 6_000_000,
    b"[": 400_000,
    b"]": 400_000,
    b"{": 400_000,
    b"}": 400_000,
}
"""Of a file: more than one of MOST_BYTES has that a session wrote. Each costs memory when read."""
MOST_WIDE: Final = 192 * 2**20
"""Bytes of its text in memory, which has as many for each character as the widest one needs."""
LONGEST_TEXT: Final = 8 * 2**20
"""Bytes from one quote to the next: a string, or a list of numbers."""
_BRACKETS: Final = np.isin(np.arange(256), list(b"[]{}"))
"""By the byte."""
_OBJECT_ALONE: Final = re.compile(rb"(?m)^\{.{0,1000000}\}(?=,?$)")
"""In a line, at most 1 MB of it."""


def check_strict(content: bytes) -> None:
    """Refuse what is no strict JSON; nothing is built before size, number of parts and depth are known.

    What msgspec does not look at is looked at here: keys given twice, and all that it skips.
    """
    _refuse_costly(content)
    try:
        _walk(_OBJECT_ALONE.sub(_zero_if_usual, content))
    except (ValueError, OverflowError):
        try:
            _walk(content)  # for the place that the error names
        except (ValueError, OverflowError) as error:
            raise FaultError(
                f"expected strict JSON, got {error}; record it again, or export it again"
            ) from error


def _walk(content: bytes) -> None:
    json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_not_finite)


def _zero_if_usual(line: re.Match[bytes]) -> bytes:
    """For an object as msgspec writes it, so without a key given twice: most of a recording.

    No string holds the end of a line, so what stands alone in one is a value, and any other is as good there.
    """
    try:
        usual = msgspec.json.encode(msgspec.json.decode(line[0])) == line[0]
    except (msgspec.MsgspecError, ValueError):
        return line[0]
    return b"0" if usual else line[0]


def refuse_many(content: bytes, parts: Mapping[bytes, int]) -> None:
    """Raises FaultError for more of a part than it may have."""
    characters = np.frombuffer(content, dtype=np.uint8)
    for part, most in parts.items():
        if (count := np.count_nonzero(characters == ord(part))) > most:
            raise FaultError(
                f"expected at most {most:,} of {part.decode()} in a recording, got {count:,}; "
                "split the study into several files"
            )


def _refuse_costly(content: bytes) -> None:
    """What would take more memory than any recording does."""
    refuse_many(content, MOST_PARTS)
    characters = np.frombuffer(content, dtype=np.uint8)
    widest = int(characters.max(initial=0))
    width = 4 if widest >= 0xF0 else 2 if widest >= 0xC4 else 1
    if len(content) * width > MOST_WIDE:
        raise FaultError(
            f"expected at most {MOST_WIDE // width // 2**20} MiB of text with characters of {width} bytes, "
            "got more; split the study into several files"
        )
    quotes = _quotes(content)
    longest = int(np.diff(quotes, prepend=0, append=len(content)).max(initial=0))
    if longest > LONGEST_TEXT:
        raise FaultError(
            f"expected at most {LONGEST_TEXT // 2**20} MiB from one quote to the next, got "
            f"{longest / 2**20:.0f}; it is no recording"
        )
    if (depth := _depth(content, quotes)) > MAX_DEPTH:
        raise FaultError(f"expected JSON nested at most {MAX_DEPTH} deep, got {depth}; it is no recording")


def _quotes(content: bytes) -> Numbers:
    """Where strings begin and end: a quote that is one of a string's own characters does neither."""
    if b"\\" in content:
        content = content.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    return np.flatnonzero(np.frombuffer(content, dtype=np.uint8) == ord('"'))


def nesting(content: bytes) -> int:
    """How deep the brackets of JSON text are nested outside its strings; linear time, no recursion."""
    return _depth(content, _quotes(content))


def _depth(content: bytes, quotes: Numbers) -> int:
    characters = np.frombuffer(content, dtype=np.uint8)
    places = np.flatnonzero(_BRACKETS[characters])
    outside = np.searchsorted(quotes, places) % 2 == 0
    brackets = characters[places[outside]]
    opening = (brackets == ord("[")) | (brackets == ord("{"))
    return int(np.cumsum(np.where(opening, 1, -1)).max(initial=0))


def _unique(pairs: list[tuple[str, Any]]) -> None:
    """Nothing is kept of an object but that its keys differ."""
    if len(dict(pairs)) != len(pairs):
        seen: set[str] = set()
        repeated = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {repeated[:80]!r} twice in one object")


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"the number {name}")
