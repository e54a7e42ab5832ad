"""From p's DAG to q's: the conditionals that nobody wrote, by faithful inversion (NaMI, Webb et al. 2018).

The form is `Inversion`, the verb `invert`. Variables are eliminated one by one from the moral graph of p, each from what it is
joined to, which become its parents in q; so q samples them in the reverse order. Whatever the order, q then states no
independence that the posterior lacks. In an order that is natural for p, from its roots or from its leaves, and with no barren
variable left in, it can spare no edge either.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from itertools import product
from typing import Literal

from graphvae.compiler.dag import Parents, ancestors, topological_order

Mode = Literal["topological", "reverse"]
"""What is eliminated first: the roots of p, so that q begins next to the data, or its leaves, so that q begins at the roots."""

Node = tuple[str, tuple[int, ...]]
"""A variable and its slot in each of its plates."""


@dataclass(frozen=True)
class Inversion:
    """The parents of every derived conditional, in a topological order of q with ties by name.

    Parents are what is always known, by name, and then what is inferred, in q's order. `eliminated` is the order of the
    elimination. `barren` are the variables that nothing known depends on, whose parents are those in p. `between` are pairs of
    a child and a parent in another slot of a plate that both are in: with any, `parents` alone is not faithful. `notes` say in
    full sentences what was assumed.
    """

    parents: dict[str, tuple[str, ...]]
    eliminated: tuple[str, ...] = ()
    barren: tuple[str, ...] = ()
    between: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plates:
    """The plates of every variable in some, the outermost first; the count of a plate; what is read in the slot before."""

    around: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counts: Mapping[str, str] = field(default_factory=dict)
    previous: Parents = field(default_factory=dict)

    def copies(self, variable: str) -> list[Node]:
        """A variable in two slots of each of its plates, the last first: as many as it takes to see how slots depend."""
        return [(variable, slot) for slot in product((1, 0), repeat=len(self.around.get(variable, ())))]

    def slots(self, node: Node) -> dict[str, int]:
        """The slot of a node in each of its plates."""
        return dict(zip(self.around.get(node[0], ()), node[1], strict=True))

    def meet(self, node: Node, other: Node) -> bool:
        """Whether two nodes stand in the same slot of every plate that both are in."""
        slots = self.slots(node)
        return all(slots.get(plate, index) == index for plate, index in self.slots(other).items())

    def before(self, node: Node) -> Node | None:
        """The node in the slot before of its innermost plate; none before the first."""
        variable, slot = node
        return (variable, (*slot[:-1], slot[-1] - 1)) if slot and slot[-1] else None

    def depth(self, variable: str) -> int:
        """0 for what counts no plate, else one more than for anything in the plates that it counts."""
        counted = {plate for plate, count in self.counts.items() if count == variable}
        members = [name for name, plates in self.around.items() if counted & set(plates)]
        return 1 + max(map(self.depth, members), default=0) if counted else 0


_NO_PLATES = Plates()


def invert(
    parents: Parents,
    inferred: Collection[str],
    *,
    mode: Mode,
    labelled: Collection[str] = (),
    written: Parents | None = None,
    computed: Collection[str] = (),
    plates: Plates = _NO_PLATES,
) -> Inversion:
    """The conditionals of q for what is inferred and not written, given the parents of every node of p.

    What is `labelled` on some rows is eliminated last where the order of the mode leaves a choice. What is `written` in q is
    sampled before what is derived, like evidence; none of it may have a parent that is left out (see `misplaced`). What is
    `computed` in p gives way to its parents. A count of a plate is sampled before everything else.

    >>> p = {"digit": (), "style": (), "image": ("digit", "style")}
    >>> invert(p, ["digit", "style"], mode="topological", labelled=["digit"]).parents
    {'digit': ('image',), 'style': ('image', 'digit')}
    """
    written = written or {}
    left_out = set(inferred) - written.keys()
    assert not misplaced(written, left_out)
    above = _collapsed(_unrolled(parents, plates), computed)
    barren = left_out - _alive(above, {name for name in parents if _is_known(name, left_out, labelled, mode)})
    moral = _Moral({node: before for node, before in above.items() if node[0] not in barren})
    elimination = _Elimination(moral, plates, labelled)
    for group in _by_depth(left_out - barren, plates):
        elimination.run(group, _waits(above, group, mode, plates))
    found = elimination.found | {node: set(before) for node, before in above.items() if node[0] in barren}
    order = _order({name: {other for other, _ in near} for (name, _), near in found.items()}, written)
    return Inversion({})


def misplaced(written: Parents, left_out: Collection[str]) -> tuple[tuple[str, str], ...]:
    """Every pair of a written conditional and a parent of it that is left out, and so sampled after it.

    >>> misplaced({"digit": ("image", "style")}, {"style"})
    (('digit', 'style'),)
    """
    return tuple((child, parent) for child, parents in written.items() for parent in parents if parent in left_out)
