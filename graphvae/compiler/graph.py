"""ModelGraph: what the text means. p and q as graphs over the same variables, every name bound, every default filled in.

Its verb stands in `resolve`, and the rules it must keep in `structure`. `graph.spec` says in full what was meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

from graphvae.compiler.dag import ancestors
from graphvae.compiler.errors import Span
from graphvae.compiler.families import Family
from graphvae.compiler.inversion import Mode
from graphvae.compiler.shown import Shown
from graphvae.compiler.spec import Conditional, Role, Spec

if TYPE_CHECKING:
    import networkx as nx

    from graphvae.compiler.expressions import Expression

SideName = Literal["p", "q"]


@dataclass(frozen=True)
class VariableNode:
    """A variable: its role, its family (None if deterministic), and the shape of one value inside the model.

    `number` is the whole number that its family needs, such as a total count, or 0. `masked` says that elements of it may be
    missing though it is observed. `plates` repeat it, the outermost first. `values` are the numbers that its categories
    stand for. `collapse` says that an unknown value is the mean of its conditional. `submodel` is the path to the sub-model
    that it belongs to, such as "glyph". `symbol` is its LaTeX, or "" where its name says it.
    """

    name: str
    role: Role | Literal["deterministic"]
    family: Family | None
    event: tuple[int, ...]
    span: Span | None
    soft: bool = False
    number: int = 0
    masked: bool = False
    plates: tuple[str, ...] = ()
    values: tuple[int, ...] | None = None
    collapse: bool = False
    submodel: str = ""
    symbol: str = ""

    @property
    def numbers(self) -> tuple[int, ...]:
        """What the categories stand for: the `values`, or their own numbers from 0."""
        return self.values or tuple(range(self.event[-1]))

    @property
    def inferred(self) -> bool:
        """Whether q has a conditional for it: it is unknown in some row or in all."""
        return self.role in ("latent", "supervised")

    @property
    def evidence(self) -> bool:
        """Whether it is known in every row, so that q may condition on it."""
        return self.role in ("observed", "given")

    @property
    def elements(self) -> tuple[int, ...]:
        """The shape of its mask: a vector that is one value is there or missing as a whole."""
        return self.event[: len(self.event) - (self.family.joint if self.family else 0)]


@dataclass(frozen=True)
class ConditionalNode:
    """One factor: the variable, its family on this side, its completed conditional, and where it was written.

    `number` is the family's whole number, as in a VariableNode. `why` says why q draws it as it does. `indices` are the parents
    that are plates, `gathered` the plates that a parent is in and the variable is not, and `counts` the variables that say how
    many slots are active of any plate that matters to it. `expressions` compute parameters, or the `value`. `submodel` is the
    path to the sub-model whose own conditional this is. `slots` is how often it stands in its plates.
    """

    variable: VariableNode
    family: Family | None
    conditional: Conditional
    span: Span | None
    number: int = 0
    why: str = ""
    indices: tuple[str, ...] = ()
    gathered: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    expressions: Mapping[str, Expression] = field(default_factory=dict)
    submodel: str = ""
    slots: int = 1

    @property
    def parents(self) -> tuple[str, ...]:
        """The variables that it reads, in the same slot."""
        written = (parent for parent in self.conditional.parents if not parent.previous)
        return tuple(parent.variable for parent in written if parent.variable not in self.indices)

    @property
    def previous(self) -> tuple[str, ...]:
        """The variables that it reads in the slot before."""
        return tuple(parent.variable for parent in self.conditional.parents if parent.previous)

    @property
    def before(self) -> tuple[str, ...]:
        """What must be there before it: its parents, and the counts of its plates."""
        return (*self.parents, *(name for name in self.counts if name not in self.parents))

    @property
    def heads(self) -> tuple[str, ...]:
        """The parameters that the network computes."""
        if self.family is None or not self.conditional.parents:
            return ()
        given = {self.family.head(name): value for name, value in self.conditional.parameters.items()}
        return tuple(row.name for row in self.family.parameters if given.get(row.name, "head") == "head")

    @property
    def cells(self) -> tuple[int, int]:
        """How many values the variable has, as a base and a power; only of a finite family."""
        assert self.family is not None
        base, power = self.family.cells(self.variable.event, self.number)
        return base, power * self.slots


@dataclass(frozen=True)
class PlateNode:
    """A plate: how many slots it has, the variable that counts the active ones ("" if all are), and its index in pictures."""

    name: str
    size: int
    count: str = ""
    symbol: str = ""
    span: Span | None = None

    @property
    def index(self) -> str:
        """What stands for the number of a slot: the symbol, or the plate's own name."""
        return self.symbol or self.name.rpartition(".")[2]

    def __str__(self) -> str:
        return f"{self.size} slots, {self.index} < {self.count or self.size}"


@dataclass(frozen=True)
class SubmodelNode:
    """A spec inside another: the path of names that leads to it, its file, what it says in full, and where it stands.

    `spec` is its own completed spec. `weights` is the run folder that its weights come from, "" for none; both paths are as
    seen from the folder of the process.
    """

    name: str
    file: str
    spec: Spec
    plates: tuple[str, ...] = ()
    weights: str = ""
    frozen: bool = False
    span: Span | None = None

    def __str__(self) -> str:
        weights = f", weights of {self.weights}" if self.weights else ""
        return f"{PurePath(self.file).name}{_in(self.plates)}{weights}{', frozen' * self.frozen}"


@dataclass(frozen=True)
class Derived:
    """The conditionals of q that nobody wrote, in q's order, and the inversion of p that they come from.

    `mode` says what is eliminated first, `eliminated` in which order, and `notes` what was assumed. `submodel` is the path to
    the sub-model whose own q it is, "" for the model itself.
    """

    mode: Mode
    conditionals: tuple[str, ...]
    eliminated: tuple[str, ...]
    notes: tuple[str, ...]
    submodel: str = ""

    def __str__(self) -> str:
        return f"q of {', '.join(self.conditionals)} is derived from p ({self.mode})"


@dataclass(frozen=True)
class Group:
    """Conditionals that are computed together: the slots of an ordered plate one after the other, or a sub-model's.

    `name` is that of the plate, or the path to the sub-model.
    """

    kind: Literal["loop", "call"]
    name: str
    members: tuple[Unit, ...]


Unit = str | Group
"""What stands in an order: a conditional by its name, or a group of them."""


@dataclass(frozen=True)
class Side:
    """p or q: a DAG, and the conditionals in topological order (ties by name, so that the order in the text means nothing).

    `units` is the same order with its groups.
    """

    name: SideName
    conditionals: Mapping[str, ConditionalNode]
    units: tuple[Unit, ...] = ()

    @cached_property
    def graph(self) -> nx.DiGraph[str]:
        """The DAG for networkx, frozen; an edge runs from a parent to its child."""
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph(self.edges)
        graph.add_nodes_from(self.parents)
        nx.freeze(graph)
        return graph

    @cached_property
    def parents(self) -> Mapping[str, tuple[str, ...]]:
        """What must come before everything that takes part in this side; what is conditioned on has nothing before it."""
        return _with_roots({name: node.before for name, node in self.conditionals.items()})

    @cached_property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """Every pair of a parent and its child."""
        return tuple((parent, child) for child, parents in self.parents.items() for parent in parents)

    @cached_property
    def conditioned(self) -> list[str]:
        """What this side depends on and does not define, by name."""
        return sorted(self.reach.keys() - self.conditionals.keys())

    def children(self, name: str) -> list[str]:
        """What depends on a variable."""
        return list(self._children.get(name, ()))

    @cached_property
    def _children(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for parent, child in self.edges:
            found.setdefault(parent, []).append(child)
        return found

    def ancestors(self, name: str) -> set[str]:
        """Every variable on which this one depends, however far, in its own slot and in those before."""
        return ancestors(self.reach, name)

    @cached_property
    def reach(self) -> Mapping[str, tuple[str, ...]]:
        """The parents of everything that takes part in this side, in its own slot and in the one before."""
        return _with_roots({name: (*node.before, *node.previous) for name, node in self.conditionals.items()})

    @property
    def factorisation(self) -> str:
        """`q(digit, style | image)`: what is random on this side, given what it is conditioned on."""
        random = [name for name, node in self.conditionals.items() if node.family]
        return factorised(self.name, random, self.conditioned)


@dataclass(frozen=True)
class ModelGraph(Shown):
    """p and q over the same variables, and the completed spec that says the same.

    `derived` says what of q follows from p, the model's own before that of its sub-models.
    """

    spec: Spec
    variables: Mapping[str, VariableNode]
    p: Side
    q: Side
    plates: Mapping[str, PlateNode] = field(default_factory=dict)
    submodels: Mapping[str, SubmodelNode] = field(default_factory=dict)
    derived: tuple[Derived, ...] = ()

    def _shown(self) -> tuple[ModelGraph, list[str]]:
        """Both factorisations, and who has which role."""
        roles = {role: self.named(role) for role in ("observed", "supervised", "latent", "given", "deterministic")}
        lines = [f"{role}: {', '.join(names)}" for role, names in roles.items() if names]
        return self, [self.p.factorisation, self.q.factorisation, *lines]

    def named(self, *roles: str) -> list[str]:
        """The variables with these roles, in the order of the text."""
        return [name for name, node in self.variables.items() if node.role in roles]

    @property
    def notes(self) -> list[str]:
        """What of q nobody wrote, and what was assumed of it."""
        return [note for each in self.derived for note in (str(each), *each.notes)]

    def draws_before(self, name: str) -> list[str]:
        """The sampled variables among a variable's ancestors in q: with one of them, a label's importance weights vary."""
        before = self.q.ancestors(name)
        return [other for other in self.q.conditionals if other in before and sampled(self.q.conditionals[other])]

    def __str__(self) -> str:
        lines = [f"{self.spec.model}"]
        for node in self.variables.values():
            family = node.family.name if node.family else "-"
            event = f"{list(node.event)}{_in(node.plates)}{', collapsed' * node.collapse}"
            lines.append(f"  {node.name:<15} {node.role:<14}{family:<22}{event}")
        for heading, rows in (("plates", self.plates), ("sub-models", self.submodels)):
            lines += [heading, *(f"  {name:<15} {row}" for name, row in rows.items())] if rows else []
        for side in (self.p, self.q):
            lines.append(side.name)
            lines += [f"  {_factor(side.name, node):<39} {_how(node)}".rstrip() for node in side.conditionals.values()]
        return "\n".join(lines) + "\n"

    def slots(self, plates: tuple[str, ...]) -> tuple[int, ...]:
        """The sizes of plates."""
        return tuple(self.plates[name].size for name in plates)

    def shape(self, node: VariableNode) -> tuple[int, ...]:
        """The shape of a variable's value in a row, in all its slots."""
        return (*self.slots(node.plates), *node.event)

    def check(self) -> None:
        """What must hold of any graph that `resolve` makes; a failure is a fault of ours."""
        for side in (self.p, self.q):
            order = {name: place for place, name in enumerate(side.conditionals)}
            assert all(parent in self.variables for parent, _ in side.edges)
            assert all(order[parent] < order[child] for parent, child in side.edges if parent in order)
        assert all(name in self.q.conditionals for name in self.named("latent", "supervised"))
        assert all(name in self.p.conditionals for name in self.named("latent", "supervised", "observed"))


def factorised(side: SideName, random: Sequence[str], given: Sequence[str]) -> str:
    """A side in one line.

    >>> factorised("q", ["digit", "style"], ["image"])
    'q(digit, style | image)'
    """
    return f"{side}({', '.join(random)}{' | ' * bool(given)}{', '.join(given)})"


def _with_roots(parents: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The same with every parent that has none of its own."""
    return {name: () for own in parents.values() for name in own} | parents


def sampled(node: ConditionalNode) -> bool:
    """Whether a conditional of q draws samples: its variable is random and not enumerated."""
    return node.family is not None and node.conditional.gradient != "enumerate" and not node.variable.collapse


def _in(plates: Sequence[str]) -> str:
    return f" in {', '.join(plates)}" if plates else ""


def _factor(side: SideName, node: ConditionalNode) -> str:
    name, parents = node.variable.name, ", ".join(map(str, node.conditional.parents))
    if node.family is None:
        return f"{name} = {node.conditional.value or f'network({parents})'}"
    return f"{side}({name} | {parents})" if parents else f"{side}({name})"


def _how(node: ConditionalNode) -> str:
    conditional = node.conditional
    parts = [node.family.name] if node.family and node.family != node.variable.family else []
    parts += [f"{name}={value}" for name, value in conditional.parameters.items()]
    parts += [f"initial={conditional.initial}"] if conditional.initial else []
    if conditional.network:
        parts.append(str(conditional.network))
    if conditional.gradient:
        parts.append(conditional.gradient)
    return ", ".join(parts)
