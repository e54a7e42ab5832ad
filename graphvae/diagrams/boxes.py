"""Plates and sub-models as boxes around variables, each inside another or apart from it. The verb is `nest`.

Two plates that cross, neither of which holds all of the other, cannot both be boxes of Graphviz: the larger one becomes a box,
and of two equals the first in the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from graphvae.compiler.graph import ModelGraph


@dataclass(frozen=True)
class Box:
    """A plate or a sub-model: the variables in it and in no box inside, and the boxes inside."""

    kind: Literal["plate", "sub-model"]
    name: str
    variables: tuple[str, ...]
    boxes: tuple[Box, ...]

    @property
    def members(self) -> tuple[str, ...]:
        """All variables in it."""
        return (*self.variables, *(name for box in self.boxes for name in box.members))


@dataclass(frozen=True)
class Nest:
    """The outermost boxes, the variables in none, and the plates that are no box because they cross one."""

    variables: tuple[str, ...]
    boxes: tuple[Box, ...]
    crossing: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """A plate or a sub-model with all the variables in it."""

    kind: Literal["plate", "sub-model"]
    name: str
    members: frozenset[str]


def groups(graph: ModelGraph) -> list[Group]:
    """What repeats or holds a variable; a sub-model in a plate comes behind it."""
    plates = [Group("plate", name, _in_plate(graph, name)) for name in graph.plates]
    submodels = [Group("sub-model", name, _in_submodel(graph, name)) for name in graph.submodels]
    return [each for each in (*plates, *submodels) if each.members]


def nest(names: Sequence[str], of: Sequence[Group]) -> Nest:
    """Groups as boxes around the variables with these names.

    >>> from graphvae.compiler.check import read_graph
    >>> graph = read_graph("tests/specs/plates.yaml")
    >>> nested = nest(list(graph.variables), groups(graph))
    >>> [(box.name, box.members) for box in nested.boxes], nested.variables, nested.crossing
    ([('part', ('kind', 'place', 'part_in_view'))], ('count', 'whole', 'light'), ('view',))
    """
    kept: list[Group] = []
    crossing = []
    for group in sorted(of, key=lambda each: (-len(each.members), each.name.count("."))):
        if all(_apart_or_inside(group.members, other.members) for other in kept):
            kept.append(group)
        else:
            crossing.append(group.name)
    return Nest(*_filled(names, kept), tuple(each.name for each in of if each.name in crossing))


def _in_plate(graph: ModelGraph, plate: str) -> frozenset[str]:
    return frozenset(name for name, node in graph.variables.items() if plate in node.plates)


def _in_submodel(graph: ModelGraph, path: str) -> frozenset[str]:
    return frozenset(name for name, node in graph.variables.items() if f"{node.submodel}.".startswith(f"{path}."))


def _apart_or_inside(one: frozenset[str], other: frozenset[str]) -> bool:
    return one <= other or not one & other


def _filled(names: Sequence[str], kept: Sequence[Group]) -> tuple[tuple[str, ...], tuple[Box, ...]]:
    """The variables among these that are in no box, and the boxes; a larger one stands before those inside it."""
    boxes = []
    waiting = list(kept)
    while waiting:
        outer = waiting[0]
        inside = [each for each in waiting[1:] if each.members <= outer.members]
        own = [name for name in names if name in outer.members]
        boxes.append(Box(outer.kind, outer.name, *_filled(own, inside)))
        waiting = [each for each in waiting[1:] if each not in inside]
    boxed = {name for box in boxes for name in box.members}
    return tuple(name for name in names if name not in boxed), tuple(boxes)
