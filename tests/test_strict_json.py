"""Whatever comes in, what goes out is strict JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsr.text.strict_json import LONGEST_LINE, one_line, plain

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_whatever_comes_in_can_be_written_as_strict_json_and_read_back_the_same(value: Any) -> None:
    made = plain(value)
    assert json.loads(msgspec.json.encode(made)) == made
    assert isinstance(value, dict) is False or len(made) == len(value)
    json.dumps(made, allow_nan=False)


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])), st.floats(allow_nan=False, allow_infinity=False)
    )
)
def test_what_json_can_say_stays_as_it_is(value: dict[str, float]) -> None:
    assert plain(value) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_what_is_not_finite_is_null(value: float) -> None:
    assert plain([value]) == [None]


def test_a_dataclass_is_its_fields() -> None:
    @dataclass(frozen=True, slots=True)
    class Pair:
        left: tuple[int, ...]
        right: float

    assert plain(Pair((1, 2), math.nan)) == {"left": [1, 2], "right": None}


def test_what_json_has_no_word_for_is_its_text() -> None:
    assert plain({(1, 2): 1 + 2j}) == {"(1, 2)": "(1+2j)"}


def test_a_value_that_holds_itself_comes_to_an_end() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert plain(endless) == ["(holds itself)"]


def test_a_value_that_holds_itself_twice_at_every_level_takes_no_time() -> None:
    wide: list[Any] = [1]
    for _ in range(60):
        wide = [wide, wide]
    heard: list[tuple[str, str]] = []
    made = plain(wide, lambda *words: heard.append(words), most=1_000)
    assert len(json.dumps(made)) < 100_000
    assert {what.partition(",")[0] for _, what in heard} <= {"too deep", "too much"}
    assert heard


def test_keys_of_one_text_are_all_kept() -> None:
    heard: list[tuple[str, str]] = []
    made = plain({1: "a", "1": "b"}, lambda *words: heard.append(words))
    assert made == {"1": "a", "1 (str 1)": "b"}
    assert heard == [(".1 (str 1)", "another key of the same text, renamed")]


@pytest.mark.parametrize(("value", "shown"), [(2**64, str(2**64)), (-(10**20), str(-(10**20)))])
def test_an_integer_of_more_than_64_bits_is_its_text(value: int, shown: str) -> None:
    assert plain({"n": value}) == {"n": shown}


def test_an_integer_of_thousands_of_digits_is_named_by_where_it_stands() -> None:
    heard: list[tuple[str, str]] = []
    assert plain({"n": [10**5000]}, lambda *words: heard.append(words)) == {
        "n": ["(an integer of 5,001 digits)"]
    }
    assert heard == [(".n[0]", "an integer of 5,001 digits, kept as text")]


@pytest.mark.parametrize(
    ("value", "kept", "note"),
    [
        ("half \udcff", "half ?", "half a character, kept as ?"),
        (1 + 2j, "(1+2j)", "of type complex, kept as its text"),
        (np.arange(100_000), None, "an object of which only the type is kept"),
    ],
    ids=["a surrogate", "a complex number", "an array of too many"],
)
def test_what_is_not_kept_as_it_came_is_told(value: Any, kept: str | None, note: str) -> None:
    heard: list[tuple[str, str]] = []
    made = plain({"n": [value]}, lambda *words: heard.append(words), most=1_000)
    assert kept is None or made == {"n": [kept]}
    assert heard == [(".n[0]", note)]


@pytest.mark.parametrize(
    ("value", "kept"),
    [(np.arange(2_000).reshape(2, 1_000), 999), (np.float32(0.5), 0.5), (np.bool_(True), True)],
    ids=["an array", "a float of 32 bits", "a boolean"],
)
def test_what_numpy_holds_is_kept_whole(value: Any, kept: float) -> None:
    heard: list[tuple[str, str]] = []
    made = plain(value, lambda *words: heard.append(words))
    assert (made[0][-1] if isinstance(made, list) else made) == kept
    assert not heard


def test_a_value_that_cannot_even_be_shown_stops_nothing() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    assert plain(Broken()) == "Broken"
    assert one_line(ValueError(Broken())) == "ValueError: Broken"


def test_an_exception_is_one_line_of_bounded_length() -> None:
    assert one_line(ValueError("two\n  lines")) == "ValueError: two lines"
    assert one_line(KeyError()) == "KeyError:"
    assert len(one_line(ValueError("x" * 10_000))) == LONGEST_LINE
