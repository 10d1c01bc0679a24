"""Text for people: numbers as they are read, and strings from other people's files made harmless."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from bsr.text import listed, printable, shortened

__all__ = [
    "counted",
    "listed",
    "number",
    "power_of_ten",
    "printable",
    "shortened",
    "spreadsheet_cell",
    "tick",
    "ticks",
]
_SUPERSCRIPT: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MINUS: Final = "\N{MINUS SIGN}"
_FORMULA_STARTS: Final = tuple("=+-@\uff1d\uff0b\uff0d\uff20")  # also in full width


def spreadsheet_cell(value: object) -> object:
    """A value for a CSV cell: numbers as they are, None empty, text so that no spreadsheet runs it."""
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return _disarmed(str(value))


@lru_cache(maxsize=10_000)
def _disarmed(said: str) -> str:
    text = printable(said)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def power_of_ten(exponent: int) -> str:
    """`10⁻⁶`."""
    return f"10{str(exponent).translate(_SUPERSCRIPT)}"


def number(value: float | None, digits: int = 4) -> str:
    """A number with `digits` significant digits: `0.2457`, `11,370`, `1.2·10⁻⁹`; a dash for None."""
    if value is None or not math.isfinite(value):
        return "\N{EN DASH}"
    if value == 0 or isinstance(value, int):
        return f"{value:,}" if isinstance(value, int) else "0"
    rounded = float(f"{value:.{digits}g}")
    exponent = math.floor(math.log10(abs(rounded)))
    if -4 <= exponent < 7:
        return f"{rounded:,.{max(digits - 1 - exponent, 0)}f}".replace("-", _MINUS)
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa}·{power_of_ten(int(power))}".replace("-", _MINUS, 1)


def tick(value: float, plain_from: int = -4, plain_to: int = 4) -> str:
    """An axis tick as plain text: `0.01`, `20`, `1,000`; `10⁻⁶` and `5·10⁻⁶` outside the plain exponents."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)) + 1e-9)
    if plain_from <= exponent <= plain_to:
        return f"{value:,.10g}"
    factor = round(value / 10.0**exponent, 4)
    return power_of_ten(exponent) if factor == 1 else f"{factor:g}·{power_of_ten(exponent)}"


def ticks(low: float, high: float) -> Callable[[float, object], str]:
    """A formatter for ticks: powers of ten early where the axis reaches far, so that styles do not mix."""
    near = high <= 30 * low and high < 1e6
    plain_to = 5 if near else 3 if high >= 1e5 else 4
    plain_from = -2 if low < 1e-4 else -4
    return lambda value, _position: tick(value, plain_from, plain_to)


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """`1 seed`, `10 seeds`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
