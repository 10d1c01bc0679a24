"""Text that may come from anybody, made harmless for a terminal, a page or a message; and refusals."""

from __future__ import annotations

from collections.abc import Iterable


class Refused(Exception):  # noqa: N818 - what its many kinds are: a refusal
    """What was asked for cannot be done; the message is one line: name, expected, got, remedy."""


class FaultError(Exception):
    """What is wrong with a file: expected, got, remedy."""


def printable(text: str, limit: int = 2000) -> str:
    """`text` with control and other invisible characters as escapes, at most `limit` characters."""
    shown = "".join(letter if letter.isprintable() else _escaped(letter) for letter in text[: limit + 1])
    return shortened(shown, limit)


def _escaped(letter: str) -> str:
    return ascii(letter)[1:-1]


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters, the last an ellipsis where some are missing."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def listed(items: Iterable[object], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    words = [str(item) for item in items]
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
