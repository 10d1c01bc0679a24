"""What a name stands for: an entry of a table, or `package.module:attribute`, which is imported.

So a task, a network and a data set of a user's own need no registration: every process imports them.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, Final, TypeVar

from bsr.text import Refused

T = TypeVar("T")
IMPORT_PATH: Final = "package.module:attribute"
_PATTERN: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


class NamedError(Refused, LookupError):
    """A name that stands for nothing here; one line: which name, expected, got, remedy."""


def is_import_path(name: str) -> bool:
    """Whether a name is written as `package.module:attribute`."""
    return _PATTERN.fullmatch(name) is not None


def check_name(what: str, name: str, known: Iterable[str]) -> None:
    """Raises NamedError for what is neither `known` nor an import path; imports nothing."""
    if not (name in known or is_import_path(name)):
        raise NamedError(f"{what} {name!r}: expected one of {', '.join(known)}, or {IMPORT_PATH}")


def look_up(what: str, name: str, known: Mapping[str, T]) -> T | Any:
    """The entry of that name, or the callable that an import path names. Raises NamedError.

    `what` says in the message what the name is of: `task`. It also says which machine could not import it.
    """
    if name in known:
        return known[name]
    check_name(what, name, known)
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise NamedError(
            f"{what} {name!r}: expected to import it on {socket.gethostname()}, got {said}; "
            "put its folder on PYTHONPATH there, or install it"
        ) from error
    if not callable(found):
        raise NamedError(
            f"{what} {name!r}: expected a function or a class, got {type(found).__name__}; name another"
        )
    return found
