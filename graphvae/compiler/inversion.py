"""From p's DAG to q's: the conditionals that nobody wrote, by faithful inversion (NaMI, Webb et al. 2018, arXiv 1712.00287).

The form is `Inversion`, the verb `invert`. Variables are eliminated one by one from the moral graph of p. What a variable is
joined to at that moment becomes its parents in q, and is joined among itself; so q samples in the reverse order. In whatever
order, q states no independence that the posterior lacks. In an order that is natural for p, from its roots or from its leaves,
q has no edge to spare either, where something observed depends on every variable.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from graphlib import TopologicalSorter
from itertools import product
from operator import or_
from typing import Literal

from graphvae.compiler.dag import Parents, ancestors, topological_order

Mode = Literal["topological", "reverse"]
"""What is eliminated first: the roots of p, so that q begins next to the data; or its leaves, so that q begins at the roots."""

Node = tuple[str, tuple[int, ...]]
"""A variable, and its slot in each of its plates."""

Above = Mapping[Node, Collection[Node]]
"""The parents of every node."""


@dataclass(frozen=True)
class Inversion:
    """The parents of every derived conditional, each variable behind its parents, and ties by name.

    Parents are first what is known everywhere, by name, then what is inferred, in q's order. `eliminated` is the order of the
    elimination. On what is `barren` nothing known depends, and its parents are those that it has in p. `between` holds pairs of
    a child and a parent in another slot of a plate that both are in: with any, `parents` alone is not faithful. `notes` say in
    sentences what was assumed.
    """

    parents: dict[str, tuple[str, ...]]
    eliminated: tuple[str, ...]
    barren: tuple[str, ...]
    between: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Plates:
    """The plates around a variable, the outermost first; what counts a plate's slots; what is read in the slot before.

    A plate is seen as two slots, which is as many as it takes to tell what stays in a slot from what goes between slots; those
    that are `single` have one.
    """

    around: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counts: Mapping[str, str] = field(default_factory=dict)
    previous: Parents = field(default_factory=dict)
    single: frozenset[str] = frozenset()

    def copies(self, variable: str) -> list[Node]:
        """A variable in the slots of each of its plates."""
        slots = [(0,) if plate in self.single else (0, 1) for plate in self.around.get(variable, ())]
        return [(variable, each) for each in product(*slots)]

    def meet(self, node: Node, other: Node) -> bool:
        """Whether two nodes stand in the same slot of every plate that they share."""
        if not (node[1] and other[1]):
            return True
        slots = self._slots(node)
        return all(slots.get(plate, at) == at for plate, at in self._slots(other).items())

    def seen(self, node: Node, variable: str) -> list[Node]:
        """The copies of a variable that a node meets."""
        return [copy for copy in self.copies(variable) if self.meet(node, copy)]

    def earlier(self, node: Node, variable: str) -> list[Node]:
        """The copies of a variable that stand in the slot before, in the innermost plate of a node; none before the first."""
        name, slots = node
        return self.seen((name, (*slots[:-1], slots[-1] - 1)), variable) if slots else []

    def depth(self, variable: str) -> int:
        """0 for what counts no plate, else one more than whatever is in the plates that it counts."""
        counted = {plate for plate, count in self.counts.items() if count == variable}
        members = (name for name, plates in self.around.items() if counted.intersection(plates))
        return 1 + max(map(self.depth, members), default=0) if counted else 0

    def _slots(self, node: Node) -> dict[str, int]:
        return dict(zip(self.around.get(node[0], ()), node[1], strict=True))


NO_PLATES = Plates()


def invert(
    parents: Parents,
    inferred: Collection[str],
    *,
    mode: Mode,
    labelled: Collection[str] = (),
    written: Parents | None = None,
    computed: Collection[str] = (),
    plates: Plates = NO_PLATES,
) -> Inversion:
    """The conditionals of q for what is inferred and not written, given the parents of every node of p.

    What is `labelled` in some rows is eliminated last, and so sampled first, where the mode leaves a choice. What is `written`
    in q is sampled before what is derived, which conditions on it as on evidence; none of it may be `misplaced`. What is
    `computed` in p gives way to its parents. What counts the slots of a plate is sampled before all that counts none.

    >>> p = {"digit": (), "style": (), "image": ("digit", "style")}
    >>> invert(p, ["digit", "style"], mode="topological", labelled=["digit"]).parents
    {'digit': ('image',), 'style': ('image', 'digit')}
    """
    written = written or {}
    left_out = set(inferred) - written.keys()
    assert not misplaced(written, left_out)
    above = _collapsed(_unrolled(parents, plates), set(computed))
    alive = _alive(above, _seen_somewhere(above, left_out, labelled, mode))
    moral = _Moral({node: before for node, before in above.items() if node[0] in alive})
    found: dict[Node, Collection[Node]] = {}
    for group in _by_depth(left_out & alive, plates):
        found |= _eliminated(moral, _waits(above, group, mode, plates), set(labelled), plates)
    eliminated = tuple(dict.fromkeys(variable for variable, _ in found))
    found |= {node: before for node, before in above.items() if node[0] in left_out - alive}
    same, between = _folded(found, plates)
    ordered = _ordered(same, written, set(inferred))
    barren = tuple(name for name in ordered if name not in alive)
    unlabelled = set(inferred).difference(labelled)
    notes = (
        *(_barren_note(name, ordered[name]) for name in barren),
        *_label_notes({**written, **ordered}, ordered.keys() & set(labelled), unlabelled, mode),
        *_computed_notes(parents, computed),
        *_between_notes(between),
    )
    return Inversion(ordered, eliminated, barren, between, notes)


def misplaced(written: Parents, left_out: Collection[str]) -> tuple[tuple[str, str], ...]:
    """Every pair of a written conditional and a parent of it that is left out, and would be sampled after it.

    >>> misplaced({"digit": ("image", "style"), "count": ("image",)}, ["style"])
    (('digit', 'style'),)
    """
    return tuple((child, parent) for child, parents in written.items() for parent in parents if parent in left_out)


def _unrolled(parents: Parents, plates: Plates) -> dict[Node, list[Node]]:
    """The parents of every copy of every variable."""
    above: dict[Node, list[Node]] = {}
    for child, direct in parents.items():
        for node in plates.copies(child):
            above[node] = [other for parent in direct for other in plates.seen(node, parent)]
            above[node] += [other for parent in plates.previous.get(child, ()) for other in plates.earlier(node, parent)]
    return above


def _collapsed(above: Above, computed: set[str]) -> dict[Node, set[Node]]:
    """The random nodes alone, each with the random nodes that it depends on directly or through computed ones."""
    random: dict[Node, set[Node]] = {}
    for node in TopologicalSorter(above).static_order():
        direct = {parent for parent in above[node] if parent[0] not in computed}
        random[node] = direct.union(*(random[parent] for parent in above[node] if parent[0] in computed))
    return {node: parents for node, parents in random.items() if node[0] not in computed}


def _seen_somewhere(above: Above, left_out: set[str], labelled: Collection[str], mode: Mode) -> list[Node]:
    """What q can condition on: all that is not left out, and labels where the order lets them stand before what causes them."""
    left_out = left_out.difference(labelled if mode == "topological" else ())
    return [node for node in above if node[0] not in left_out]


def _alive(above: Above, seen: list[Node]) -> set[str]:
    """The variables that are seen, and those on which something seen depends; the others are barren."""
    found, waiting = set(seen), list(seen)
    while waiting:
        new = set(above[waiting.pop()]) - found
        found |= new
        waiting += new
    return {variable for variable, _ in found}


def _by_depth(variables: set[str], plates: Plates) -> list[set[str]]:
    """The variables in groups to be eliminated one after the other: a conditional needs the counts of its plates."""
    groups: dict[int, set[str]] = {}
    for name in variables:
        groups.setdefault(plates.depth(name), set()).add(name)
    return [groups[depth] for depth in sorted(groups)]


def _waits(above: Above, group: set[str], mode: Mode, plates: Plates) -> dict[str, set[str]]:
    """What must be eliminated before each variable of a group: its parents among them, or its children."""
    waits: dict[str, set[str]] = {name: set() for name in group}
    for child, parents in above.items():
        for parent in parents:
            if child[0] in group and parent[0] in group and plates.meet(child, parent):
                first, then = (parent, child) if mode == "topological" else (child, parent)
                waits[then[0]].add(first[0])
    return waits


def _eliminated(moral: _Moral, waits: Mapping[str, set[str]], labelled: set[str], plates: Plates) -> dict[Node, list[Node]]:
    """The nodes of a group in the order of their elimination, and what each is joined to then."""
    found: dict[Node, list[Node]] = {}
    frontier = _Frontier(moral, labelled)
    sorter = TopologicalSorter(waits)
    sorter.prepare()
    while sorter.is_active():
        for name in sorter.get_ready():
            frontier.enter(plates.copies(name)[0])
        name = frontier.pop()
        for node in plates.copies(name):
            found[node] = frontier.eliminate(node)
        sorter.done(name)
    return found


class _Moral:
    """The moral graph of what is not eliminated: of each node, its neighbours as the bits of a whole number.

    What q conditions on is never eliminated, and grows into a large clique. Joining it takes a step for each node in this form,
    and for each pair of nodes in a set of edges.
    """

    def __init__(self, above: Above) -> None:
        self.nodes = sorted(above)
        self.number = {node: number for number, node in enumerate(self.nodes)}
        self.near = [0] * len(self.nodes)
        for node, parents in above.items():
            self.join(sum(1 << self.number[each] for each in {node, *parents}))

    def join(self, nodes: int) -> None:
        """Join every pair of these nodes."""
        for each in _bits(nodes):
            self.near[each] |= nodes & ~(1 << each)

    def eliminate(self, node: int) -> int:
        """Take a node out and join its neighbours, which are the answer."""
        around = self.near[node]
        self.join(around)
        for each in _bits(around):
            self.near[each] &= ~(1 << node)
        return around

    def fill(self, node: int, joined: int = 0) -> int:
        """How many pairs of a node's neighbours are not joined, knowing that all those in `joined` are."""
        inside, outside = self.near[node] & joined, self.near[node] & ~joined
        apart = [~self.near[each] for each in _bits(outside)]
        across = sum((inside & away).bit_count() for away in apart)
        return across + sum((outside & away).bit_count() - 1 for away in apart) // 2


class _Frontier:
    """What may be eliminated next: unlabelled before labelled, then the smallest fill, then the first by name."""

    def __init__(self, moral: _Moral, labelled: set[str]) -> None:
        self.moral = moral
        self.labelled = labelled
        self.heap: list[tuple[bool, int, int]] = []
        self.fills: dict[int, int] = {}
        self.waiting = 0

    def enter(self, node: Node) -> None:
        """Let a node be eliminated from now on."""
        number = self.moral.number[node]
        self.waiting |= 1 << number
        self._put(number, self.moral.fill(number))

    def pop(self) -> str:
        """The variable to be eliminated next; an entry whose fill is no longer right is passed over."""
        while True:
            _, fill, number = heapq.heappop(self.heap)
            if self.fills.get(number) == fill:
                del self.fills[number]
                self.waiting ^= 1 << number
                return self.moral.nodes[number][0]

    def eliminate(self, node: Node) -> list[Node]:
        """Take a node out of the moral graph; the answer is what it was joined to."""
        around = self.moral.eliminate(self.moral.number[node])
        for number in self._touched(around):
            fill = self.moral.fill(number, around)
            if fill != self.fills[number]:
                self._put(number, fill)
        return [self.moral.nodes[number] for number in _bits(around)]

    def _put(self, number: int, fill: int) -> None:
        self.fills[number] = fill
        heapq.heappush(self.heap, (self.moral.nodes[number][0] in self.labelled, fill, number))

    def _touched(self, around: int) -> Iterator[int]:
        """Those whose fill can have changed: the neighbours of what was taken out, and whoever has two of these neighbours."""
        near = self.moral.near
        reach = reduce(or_, (near[each] for each in _bits(around)), around)
        for number in _bits(reach & self.waiting):
            if around >> number & 1 or (near[number] & around).bit_count() > 1:
                yield number


def _bits(number: int) -> Iterator[int]:
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest


def _folded(found: Above, plates: Plates) -> tuple[dict[str, set[str]], tuple[tuple[str, str], ...]]:
    """The parents of each variable, and the pairs of a child and a parent in another slot."""
    same: dict[str, set[str]] = {}
    between: set[tuple[str, str]] = set()
    for node, others in found.items():
        own = {other for other in others if plates.meet(node, other)}
        same.setdefault(node[0], set()).update(variable for variable, _ in own)
        between |= {(node[0], variable) for variable, _ in set(others) - own}
    return same, tuple(sorted(between))


def _ordered(same: Mapping[str, Collection[str]], written: Parents, inferred: set[str]) -> dict[str, tuple[str, ...]]:
    """The derived conditionals in q's order, and their parents too."""
    made = {**written, **same}
    order = topological_order({name: tuple(parent for parent in made[name] if parent in made) for name in made})
    rank = {name: number for number, name in enumerate(order)}
    return {
        name: tuple(sorted(same[name], key=lambda parent: (parent in inferred, rank.get(parent, 0), parent)))
        for name in order
        if name in same
    }


def _barren_note(name: str, parents: tuple[str, ...]) -> str:
    factor = f"({name}{' | ' * bool(parents)}{', '.join(parents)})"
    return (
        f"nothing observed depends on '{name}' in p, so q{factor} = p{factor}; "
        "an auxiliary variable is something else, and needs its own conditional in q"
    )


def _label_notes(q: Parents, labels: Collection[str], unlabelled: set[str], mode: Mode) -> Iterator[str]:
    """Labels that the order of the mode puts behind draws."""
    everything = {parent: () for parents in q.values() for parent in parents} | dict(q)
    for name in sorted(labels):
        if draws := sorted(ancestors(everything, name) & unlabelled):
            yield (
                f"'{name}' has labels, and the {mode} order of p samples it after {', '.join(draws)}; "
                "to sample it first, write its conditional in q"
            )


def _computed_notes(parents: Parents, computed: Collection[str]) -> Iterator[str]:
    read = {parent for direct in parents.values() for parent in direct}
    for name in sorted(read.intersection(computed)):
        yield f"'{name}' is computed in p: what it is computed from stands in its place"


def _between_notes(between: tuple[tuple[str, str], ...]) -> Iterator[str]:
    for child, parent in between:
        yield f"a slot of '{child}' depends on '{parent}' in other slots, which a plate can say through .previous at most"
