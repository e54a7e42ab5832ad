"""The order of a side: a conditional behind its parents, the slots of an ordered plate in a loop, a sub-model in one piece.

The verb is `arrange`. What a loop holds is no more than it must: what reads a variable in the slot before, what is read so, and
what lies between. Everything else in the plate is computed for all slots at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from graphvae.compiler.dag import ancestors, find_cycle, topological_order
from graphvae.compiler.errors import SpecError
from graphvae.compiler.graph import ConditionalNode, Group, SideName, Unit

Nodes = Mapping[str, ConditionalNode]
Pieces = Mapping[str, tuple[str, ...]]
"""What must come before each piece, which is a conditional or a whole sub-model."""


def arrange(side: SideName, nodes: Nodes) -> tuple[Unit, ...]:
    """The units of a side in topological order, whichever comes first by name where several could.

    Raises SpecError where a loop or a sub-model would have to stand both before and behind something.
    """
    return _arranged(side, nodes, "")


def flat(units: Iterable[Unit]) -> list[str]:
    """The conditionals of units, in their order.

    >>> flat(["a", Group("loop", "slot", ("b", "c")), "d"])
    ['a', 'b', 'c', 'd']
    """
    return [name for unit in units for name in (flat(unit.members) if isinstance(unit, Group) else [unit])]


def loops(units: Iterable[Unit]) -> list[Group]:
    """Every loop, wherever it stands."""
    groups = [unit for unit in units if isinstance(unit, Group)]
    return [found for group in groups for found in ([group] * (group.kind == "loop") + loops(group.members))]


def nested(units: Iterable[Unit]) -> set[str]:
    """What is computed in a loop that runs anew in every slot of another."""
    return {name for outer in loops(units) for inner in loops(outer.members) for name in flat([inner])}


def _arranged(side: SideName, nodes: Nodes, path: str) -> tuple[Unit, ...]:
    """The units of what belongs to the sub-model at a path, "" for the model itself."""
    piece = {name: _submodel(node, path) or name for name, node in nodes.items()}
    pieces = _joined(nodes, piece)
    bodies = {f"loop {number}": body for number, body in enumerate(_bodies(side, nodes, piece, pieces))}  # no name has a space
    looped = {each: name for name, body in bodies.items() for each in body.pieces}
    outer = _joined(nodes, {name: looped.get(own, own) for name, own in piece.items()})
    _check_apart(side, outer, nodes)

    def unit(each: str) -> Unit:
        if each in nodes:
            return each
        return Group("call", each, _arranged(side, {name: node for name, node in nodes.items() if piece[name] == each}, each))

    def loop(body: _Body) -> Group:
        inside = {each: tuple(before for before in pieces[each] if before in body.pieces) for each in body.pieces}
        return Group("loop", body.plate, tuple(map(unit, topological_order(inside))))

    return tuple(loop(bodies[each]) if each in bodies else unit(each) for each in topological_order(outer))


class _Body(NamedTuple):
    """What is computed slot by slot of a plate."""

    plate: str
    pieces: frozenset[str]


def _submodel(node: ConditionalNode, path: str) -> str:
    """The sub-model directly inside the one at a path that a conditional belongs to, "" for none."""
    if node.submodel == path:
        return ""
    prefix = f"{path}." if path else ""
    return prefix + node.submodel.removeprefix(prefix).split(".")[0]


def _joined(nodes: Nodes, piece: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What must come before each piece, among the pieces."""
    before: dict[str, dict[str, None]] = {each: {} for each in piece.values()}
    for name, node in nodes.items():
        others = (piece[parent] for parent in node.before if parent in piece)
        before[piece[name]] |= dict.fromkeys(other for other in others if other != piece[name])
    return {each: tuple(found) for each, found in before.items()}


def _bodies(side: SideName, nodes: Nodes, piece: Mapping[str, str], pieces: Pieces) -> list[_Body]:
    """The loops: one over each ordered plate, or several where something has to wait for all its slots in between."""
    ordered: dict[str, set[str]] = {}
    readers: set[str] = set()
    links = {each: set(before) for each, before in pieces.items()}
    for name, node in nodes.items():
        read = {piece[other] for other in node.previous if other in piece}
        links[piece[name]] |= read
        if node.previous and piece[name] == name:
            ordered.setdefault(node.variable.plates[-1], set()).update({name}, read)
            readers.add(name)
    above = {each: ancestors(pieces, each) for each in pieces} if ordered else {}
    around = {each: tuple(before) for each, before in links.items()}
    reach = {each: ancestors(around, each) for each in pieces} if ordered else {}
    bodies = []
    for plate, body in ordered.items():
        whole = body | {each for each in pieces if above[each] & body and any(each in above[other] for other in body)}
        parts = [frozenset(whole)]
        if any(plate not in node.variable.plates for name, node in nodes.items() if piece[name] in whole):
            circles = [frozenset({each, *(o for o in reach[each] if each in reach[o])}) for each in body & readers]
            parts = sorted(set(circles), key=min)
        for part in parts:
            _check_body(side, plate, [node for name, node in nodes.items() if piece[name] in part])
        bodies += [_Body(plate, part) for part in parts]
    return bodies


def _check_body(side: SideName, plate: str, nodes: Iterable[ConditionalNode]) -> None:
    """What lies between the slots of a loop stands in the plate itself, and the loop is over the innermost plate."""
    for node in nodes:
        name, plates = node.variable.name, node.variable.plates
        if plate not in plates:
            message = f"'{name}' lies between the slots of '{plate}' in {side}, and is not in that plate"
            hint = f"a slot can wait for the slots before it, and not for all of them: write plate: {plate}, or another parent"
            raise SpecError.of("GV118", message, node.span, hint)
        if plates[-1] != plate and not node.submodel:
            message = f"'{name}' is computed slot by slot of '{plate}', which is not the innermost of its plates"
            raise SpecError.of("GV118", message, node.span, f"write '{plate}' last under 'plates'")


def _check_apart(side: SideName, pieces: Pieces, nodes: Nodes) -> None:
    """No loop and no sub-model stands both before and behind something else."""
    if cycle := find_cycle(pieces):
        message = f"{side} has a circle: {' -> '.join([*cycle, cycle[0]])}"
        hint = "the slots of a loop, and the conditionals of a sub-model, are computed in one piece"
        raise SpecError.of("GV118", message, next(nodes[each].span for each in (*cycle, *nodes) if each in nodes), hint)
