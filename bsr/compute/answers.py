"""What a process answers is believed once it is checked, by the rules of whoever will read it in a recording.

An answer travels as JSON. One that is none, that is too long, that is of another Run, or that holds what no
recording may hold is refused: its Run is asked for again, and whoever gave three such trains no more.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from bsr.compute.in_process import Computed
from bsr.records.reading.check import FaultError, check_result
from bsr.run import Run
from bsr.text import Refused, printable
from bsr.text.bounded_json import nesting
from bsr.text.strict_json import plain

MOST_BYTES: Final = 2**18
"""Of an answer: of what its evaluations do not lengthen."""
MOST_BYTES_PER_EVALUATION: Final = 300
MOST_DEEP: Final = 16
LONGEST_NAME: Final = 200
"""Of a machine's identity."""
OF_A_TRAINING: Final = frozenset({"ok", "diverged", "dead", "failed", "out_of_memory", "timed_out"})
"""Statuses to which a Run can come that was begun and not interrupted."""


class AnswerError(Refused):
    """An answer that is not believed; the message says expected, got."""


def packed(computed: tuple[Any, ...]) -> bytes:
    """A Computed as it travels from one process to another."""
    return msgspec.json.encode(plain(computed))


def believed(answer: object, run: Run) -> Computed:
    """What an answer says of `run`: bytes of another process, or a Computed. Raises AnswerError."""
    if isinstance(answer, tuple):
        answer = packed(answer)
    if not isinstance(answer, bytes):
        raise AnswerError(
            f"expected an answer in bytes, got one of type {printable(type(answer).__name__, 80)}"
        )
    most = MOST_BYTES + MOST_BYTES_PER_EVALUATION * run.evaluations
    if len(answer) > most:
        raise AnswerError(f"expected an answer of at most {most:,} bytes, got {len(answer):,}")
    if (depth := nesting(answer)) > MOST_DEEP:
        raise AnswerError(f"expected an answer nested at most {MOST_DEEP} deep, got {depth}")
    try:
        computed = msgspec.json.decode(answer, type=Computed)
        check_result(computed.result)
    except (msgspec.MsgspecError, FaultError, ValueError, RecursionError) as error:
        raise AnswerError(
            f"expected a result that a recording can hold, got {printable(str(error), 200)}"
        ) from error
    _check_asked(computed, run)
    return computed


def _check_asked(computed: Computed, run: Run) -> None:
    """It is of that Run, and names the machine that it comes with. Raises AnswerError."""
    result, machine = computed.result, computed.environment.get("id")
    if result.run != run:
        raise AnswerError(
            f"expected the result of {printable(run.label, 300)} ({run.key}), got that of "
            f"{printable(result.run.label, 300)} ({result.run.key})"
        )
    if result.status not in OF_A_TRAINING:
        raise AnswerError(f"expected the status of a training, got {result.status}")
    if not isinstance(machine, str) or not 0 < len(machine) <= LONGEST_NAME or machine != result.environment:
        raise AnswerError(
            f"expected a result that names its machine {printable(str(machine), 80)}, got "
            f"{printable(result.environment, 80)}"
        )
