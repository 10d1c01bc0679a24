"""A call in a process of its own: it may hang, raise or end the process, and the caller lives to say so."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Final

from bsr.text import Refused, printable
from bsr.text.strict_json import one_line, words

LOOK_SECONDS: Final = 0.1
Tell = Callable[[str], None]
"""Hears what is called now."""


class ApartError(Refused):
    """What was called raised, or ended its process; the message is one line."""


def apart(call: Callable[..., Any], *arguments: object, waiting: Callable[[str, float], None]) -> Any:
    """The value of `call(*arguments, tell)`, a function that can be pickled, as its arguments and its value.

    `waiting` is told again and again what the call said last to `tell`, and for how many seconds that goes
    on. What ends the waiting, Ctrl-C, ends the process too. Raises ApartError.
    """
    import torch  # noqa: F401, PLC0415 - which every one of these calls needs: a fork has it

    # a fork has all that is loaded; elsewhere than on Linux system libraries do not survive it
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_called, args=(there, call, arguments), daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which do not compute now
        process.start()
    there.close()
    try:
        return _answer(here, waiting)
    except _EndedError as ended:
        process.join()
        how = _how(process.exitcode)
        raise ApartError(
            f"{ended.at}: expected it to return or to raise, got the end of its process, {how}; mend it"
        ) from None
    finally:
        here.close()
        process.kill()
        process.join()


class _EndedError(Exception):
    def __init__(self, at: str) -> None:
        super().__init__(at)
        self.at = at


def _answer(here: Connection, waiting: Callable[[str, float], None]) -> Any:
    at, since = "a user's own code", time.monotonic()
    while True:
        if not here.poll(LOOK_SECONDS):
            waiting(at, time.monotonic() - since)
            continue
        try:
            kind, content = here.recv()
        except (EOFError, OSError):
            raise _EndedError(at) from None
        if kind == "value":
            return content
        if kind == "raised":
            raise ApartError(content)
        at, since = printable(content), time.monotonic()


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"by {signal.Signals(-code).name}"
    return f"with exit code {code}"


def _called(there: Connection, call: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    """In the process: silent, on one thread, deaf to Ctrl-C, which is the session's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_the_session, daemon=True).start()
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a descriptor is what is wanted
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)  # a fork has none of its parent's threads
    try:
        answer = "value", call(*arguments, lambda what: there.send(("at", what)))
    except Refused as error:
        answer = "raised", words(error)
    except BaseException as error:  # noqa: BLE001 - handed on, whatever it is
        answer = "raised", one_line(error)
    there.send(answer)
    there.close()


def _end_with_the_session() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
