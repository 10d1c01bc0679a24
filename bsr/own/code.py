"""The code of a user's own: every file of it that an import path reaches, each with a digest.

From the module that is named, by what its files import, inside functions too, and by what is loaded: the
user's files by the digest of their syntax trees, what is installed by its version. The standard library, bsr
and torch are left out; the machine's fingerprint says which Python and which torch it was. A file is read
when it is imported: who edits it later changes nothing that is loaded.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final, NamedTuple

ELSEWHERE: Final = frozenset({"bsr", "torch"})
"""Packages that a result names in other ways."""
ABSENT: Final = "not installed"
SITES: Final = frozenset({"site-packages", "dist-packages"})
_OF_PYTHON: Final = frozenset({"__main__", "__mp_main__", "builtins"})
_STDLIB: Final = Path(sysconfig.get_path("stdlib")).resolve()


class _Read(NamedTuple):
    """A module as it was when it was read."""

    loaded: ModuleType | None
    said: tuple[str, str] | None
    """Its file and digest, or its package and version; None for what is left out."""
    imports: tuple[str, ...]
    own: bool = False


_KNOWN: Final[dict[str, _Read]] = {}
_BROUGHT: Final[dict[str, tuple[str, ...]]] = {}
"""Module -> modules of the user's that were loaded with it, in whatever way they were asked for."""


def imported(name: str) -> ModuleType:
    """The module of that name, all its code read at once. Raises what importing it raises."""
    if name in sys.modules and name in _KNOWN:
        return sys.modules[name]
    before = set(sys.modules)
    module = import_module(name)
    _BROUGHT[name] = tuple(new for new in sys.modules.keys() - before if new != name and _read(new).own)
    digests([name])
    return module


def digests(names: Iterable[str]) -> dict[str, str]:
    """File -> digest of its code, package -> version, of all that these modules reach; in their order."""
    found: dict[str, str] = {}
    todo, seen = list(names), set[str]()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        about = _read(name)
        if about.said is not None:
            found.setdefault(*about.said)
        todo += (*about.imports, *_BROUGHT.get(name, ()))
    return dict(sorted(found.items()))


def _read(name: str) -> _Read:
    """What is known of it, if it is loaded as it was then."""
    loaded = sys.modules.get(name)
    known = _KNOWN.get(name)
    if known is None or known.loaded is not loaded:
        known = _KNOWN[name] = _read_now(name, loaded)
    return known


def _read_now(name: str, loaded: ModuleType | None) -> _Read:
    spec = _found(name, loaded)
    top = name.partition(".")[0]
    if spec is None or top in ELSEWHERE:
        missing = (top, ABSENT) if spec is None and loaded is None and _is_missing(name) else None
        return _Read(loaded, missing, ())
    file = spec.origin if spec.has_location else None
    if file is None:  # built in, or a folder without an __init__
        return _Read(loaded, None, _parents(name) if spec.loader is None else ())
    if installed := _installed(top, name, Path(file).resolve()):
        return _Read(loaded, installed, ())
    if Path(file).resolve().is_relative_to(_STDLIB):
        return _Read(loaded, None, ())
    tree, digest = _parsed(file, name, spec)
    if tree is None and digest is None:
        return _Read(loaded, None, _parents(name))
    is_package = spec.submodule_search_locations is not None
    package = name if is_package else name.rpartition(".")[0]
    reached = {*_parents(name), *(_imports(tree, package) if tree else ()), *_held(loaded)}
    return _Read(loaded, (_key(name, file), digest or ""), tuple(sorted(reached)), own=True)


def _is_missing(name: str) -> bool:
    return bool(name) and "." not in name and name not in {*sys.stdlib_module_names, *_OF_PYTHON}


def _parents(name: str) -> tuple[str, ...]:
    parts = name.split(".")
    return tuple(".".join(parts[:count]) for count in range(1, len(parts)))


def _found(name: str, loaded: ModuleType | None) -> ModuleSpec | None:
    """Where a module is, without running any of it; None where there is none."""
    if loaded is not None:
        spec = loaded.__dict__.get("__spec__")
        file = loaded.__dict__.get("__file__")
        if type(spec) is ModuleSpec:
            return spec
        return importlib.util.spec_from_file_location(name, file) if type(file) is str else None
    parent, _, _ = name.rpartition(".")
    path = None
    if parent:
        above = _found(parent, sys.modules.get(parent))
        if above is None or above.submodule_search_locations is None:
            return None
        path = list(above.submodule_search_locations)
    try:
        return PathFinder.find_spec(name, path)
    except (ImportError, ValueError, OSError):
        return None


def _installed(top: str, name: str, file: Path) -> tuple[str, str] | None:
    """(package, version) of what came with a distribution; None for a user's own, lying anywhere."""
    root = file.parents[name.count(".") + (file.stem == "__init__")]
    if not (SITES.intersection(file.parts) or any(root.glob("*.dist-info"))):
        return None
    found = _version(top)
    return (top, found) if found is not None else None


@functools.cache
def _version(top: str) -> str | None:
    """Of the distribution that a package came with, less what says for which machine it was built."""
    try:
        return version(top).partition("+")[0]
    except (PackageNotFoundError, ValueError):
        distributions = sorted(_distributions().get(top, ()))
    return version(distributions[0]).partition("+")[0] if distributions else None


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    """Half a second; few packages bear another name than their distribution."""
    return packages_distributions()


def _parsed(file: str, name: str, spec: ModuleSpec) -> tuple[ast.Module | None, str | None]:
    """The syntax tree and its digest; of what is no Python the digest alone, of an extension neither."""
    if Path(file).suffix in {".so", ".pyd", ".dylib"}:
        return None, None
    try:
        source = Path(file).read_bytes()
    except OSError:
        get_source = getattr(spec.loader, "get_source", None)  # out of a zip file
        source = ((get_source(name) if get_source is not None else "") or "").encode()
    try:
        tree = ast.parse(source)
        return tree, digest_of(repr(canonical(tree)).encode())
    except (SyntaxError, ValueError, RecursionError):
        return None, digest_of(source)


def digest_of(source: bytes) -> str:
    """12 hexadecimal digits of SHA-256."""
    return hashlib.sha256(source).hexdigest()[:12]


def _key(name: str, file: str) -> str:
    """`package/module.py`, wherever the package lies."""
    path = Path(file)
    return path.name if name == "__main__" else "/".join((*name.split(".")[:-1], _last(name, path)))


def _last(name: str, path: Path) -> str:
    own = name.rpartition(".")[2]
    return f"{own}/{path.name}" if path.stem == "__init__" else f"{own}{path.suffix}"


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """The modules that it names in imports, wherever in it, and in calls of import_module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), package)
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names if base)) if base else ()
        elif isinstance(node, ast.Call) and _called(node.func) in {"import_module", "__import__"}:
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield _absolute(argument.value, package)


def _absolute(name: str, package: str) -> str:
    try:
        return importlib.util.resolve_name(name, package)
    except (ImportError, ValueError):
        return ""


def _called(function: ast.expr) -> str:
    return getattr(function, "attr", getattr(function, "id", ""))


def _held(module: ModuleType | None) -> Iterator[str]:
    """The modules of what a module holds: other modules, functions and classes. Runs nothing of a user's."""
    for value in list(module.__dict__.values()) if module is not None else ():
        yield from name_of_module(value)


def name_of_module(value: Any) -> Iterator[str]:
    """The module that a function or a class is of, or that it is; nothing for anything else."""
    kind = type(value)
    name = None
    if issubclass(kind, ModuleType):
        name = object.__getattribute__(value, "__dict__").get("__name__")
    elif issubclass(kind, type):
        name = type.__getattribute__(value, "__module__")
    elif kind is FunctionType:
        name = value.__module__
    if type(name) is str and name not in _OF_PYTHON:
        yield name


def canonical(node: object) -> object:
    """A syntax tree in plain values, without docstrings and what only some versions of Python have."""
    if isinstance(node, list):
        return [canonical(each) for each in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value is not None and value != []}
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    if isinstance(node, documented) and ast.get_docstring(node) is not None:
        fields["body"] = node.body[1:]
    return type(node).__name__, {name: canonical(value) for name, value in fields.items()}
