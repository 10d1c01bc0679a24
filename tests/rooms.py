"""Rooms, arrows and floors of the package and the report, counted from the imports of their source.

A room is a folder or a flat module directly under `bsr` or `reports`; an arrow is a pair of rooms of which
the first imports the second, imports inside functions included, those for type checkers alone not; floors
are the rooms of the longest way along arrows. `python tests/rooms.py` prints them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class House:
    """What is counted."""

    rooms: dict[str, list[Path]]
    """Room -> its Python files."""
    arrows: frozenset[tuple[str, str]]
    """(who imports, who is imported)."""

    @property
    def circle(self) -> list[str]:
        """Rooms that import one another in a circle; empty without one."""
        try:
            TopologicalSorter(self._below()).prepare()
        except CycleError as error:
            return list(error.args[1])
        return []

    @property
    def floors(self) -> int:
        """Rooms on the longest way along arrows. Raises CycleError where there is a circle."""
        heights: dict[str, int] = {}
        for room in TopologicalSorter(self._below()).static_order():
            heights[room] = 1 + max((heights[other] for other in self._below()[room]), default=0)
        return max(heights.values())

    def _below(self) -> dict[str, set[str]]:
        return {room: {lower for upper, lower in self.arrows if upper == room} for room in self.rooms}


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, of both packages."""
    found = {}
    for file in sorted(path for top in ("bsr", "reports") for path in (ROOT / top).rglob("*.py")):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = file
    return found


def house() -> House:
    """Rooms and arrows of this checkout."""
    known = modules()
    rooms: dict[str, list[Path]] = {}
    for name, file in known.items():
        rooms.setdefault(room(name), []).append(file)
    arrows = {(room(name), room(to)) for name, file in known.items() for to in imported(file) if to in known}
    return House(rooms, frozenset(arrow for arrow in arrows if arrow[0] != arrow[1]))


def room(name: str) -> str:
    """`bsr.stats` for `bsr.stats.basis`, `bsr` for itself."""
    return ".".join(name.split(".")[:2])


@cache
def imported(file: Path) -> frozenset[str]:
    """Modules that a file imports: of `from bsr import stats` that is `bsr.stats`, not `bsr`."""
    return frozenset(_imports(tree(file)))


@cache
def tree(file: Path) -> ast.Module:
    """A file's source, read."""
    return ast.parse(file.read_text(encoding="utf-8"))


def _imports(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (one.name for one in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        for one in node.names:
            taken = f"{node.module}.{one.name}"
            yield taken if taken in modules() else node.module
    elif not (isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"):
        for child in ast.iter_child_nodes(node):
            yield from _imports(child)


if __name__ == "__main__":
    found = house()
    print(f"{len(found.rooms)} rooms, {len(found.arrows)} arrows, {found.floors} floors")
    for upper, lower in sorted(found.arrows):
        print(f"{upper} -> {lower}")
