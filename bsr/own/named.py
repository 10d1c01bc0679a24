"""What a name stands for: an entry of a table, or `package.module:attribute`, which is imported.

So a task, a network and a data set of a user's own need no registration: every process imports them.
"""

from __future__ import annotations

import re
import socket
import sys
import traceback
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeVar

from bsr.own.code import imported
from bsr.text import Refused
from bsr.text.strict_json import one_line

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
        found = getattr(imported(module), attribute)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit and its like too: the message names it
        raise NamedError(
            f"{what} {name!r}: expected to import it on {socket.gethostname()}, got "
            f"{one_line(error)[:200]}{_where(error)}; {_remedy(error, module, attribute)}"
        ) from error
    if not callable(found):
        raise NamedError(
            f"{what} {name!r}: expected a function or a class, got {type(found).__name__}; name another"
        )
    return found


def _where(error: BaseException) -> str:
    """The file and line of a user's that raised it, where there is one; of a slip of spelling, its own."""
    if issubclass(type(error), (SyntaxError, ModuleNotFoundError)):
        return ""
    last = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1:]
    files = [(frame.f_code.co_filename, frame.f_lineno) for frame in last if "__file__" in frame.f_globals]
    return next((f" ({Path(file).name}, line {line})" for file, line in files if file != __file__), "")


def _remedy(error: BaseException, module: str, attribute: str) -> str:
    """What helps: the folder is not on the path, or something else is amiss in it."""
    missing = error.name if type(error) is ModuleNotFoundError else None
    if type(missing) is str and f"{module}.".startswith(f"{missing}."):
        return "put its folder on PYTHONPATH there, or install it"
    if type(missing) is str:
        return f"install {missing} there, or put its folder on PYTHONPATH"
    loaded = sys.modules.get(module)
    if type(error) is AttributeError and loaded is not None and attribute not in vars(loaded):
        near = get_close_matches(attribute, [name for name in vars(loaded) if name[:1] != "_"], n=1)
        return f"name something that the module has{f', such as {near[0]}' if near else ''}"
    return "mend the module"
