"""ModelGraph: what the text means. p and q as graphs over the same variables, every name bound, every default filled in.

Its verb stands in `resolve`, and the rules it must keep in `structure`. `graph.spec` says in full what was meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from graphvae.compiler.dag import ancestors
from graphvae.compiler.errors import Span
from graphvae.compiler.families import Family
from graphvae.compiler.spec import Conditional, Role, Spec

if TYPE_CHECKING:
    import networkx as nx

SideName = Literal["p", "q"]


@dataclass(frozen=True)
class VariableNode:
    """A variable: its role, its family (None if deterministic), and the shape of one value inside the model.

    `number` is the whole number that its family needs, such as a total count, or 0. `masked` says that some of its elements may
    be missing though it is observed.
    """

    name: str
    role: Role | Literal["deterministic"]
    family: Family | None
    event: tuple[int, ...]
    span: Span | None
    soft: bool = False
    number: int = 0
    masked: bool = False

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

    `number` is the family's whole number, as in a VariableNode. `why` says why q draws it as it does.
    """

    variable: VariableNode
    family: Family | None
    conditional: Conditional
    span: Span | None
    number: int = 0
    why: str = ""

    @property
    def parents(self) -> tuple[str, ...]:
        return tuple(parent.variable for parent in self.conditional.parents)

    @property
    def heads(self) -> tuple[str, ...]:
        """The parameters that the network computes."""
        if self.family is None or not self.parents:
            return ()
        given = {self.family.head(name): value for name, value in self.conditional.parameters.items()}
        return tuple(row.name for row in self.family.parameters if given.get(row.name, "head") == "head")

    @property
    def cells(self) -> tuple[int, int]:
        """How many values the variable has, as a base and a power; only of a finite family."""
        assert self.family is not None
        return self.family.cells(self.variable.event, self.number)


@dataclass(frozen=True)
class Side:
    """p or q: a DAG, and the conditionals in topological order (ties by name, so that the order in the text means nothing)."""

    name: SideName
    conditionals: Mapping[str, ConditionalNode]

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
        """The parents of everything that takes part in this side; what is conditioned on has none."""
        own = {name: node.parents for name, node in self.conditionals.items()}
        return {name: () for parents in own.values() for name in parents} | own

    @cached_property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """Every pair of a parent and its child."""
        return tuple((parent, child) for child, parents in self.parents.items() for parent in parents)

    @cached_property
    def conditioned(self) -> list[str]:
        """What this side depends on and does not define, by name."""
        return sorted(self.parents.keys() - self.conditionals.keys())

    def children(self, name: str) -> list[str]:
        """What depends on a variable."""
        return [child for parent, child in self.edges if parent == name]

    def ancestors(self, name: str) -> set[str]:
        """Every variable on which this one depends, however far."""
        return ancestors(self.parents, name)

    @property
    def factorisation(self) -> str:
        """`q(digit, style | image)`: what is random on this side, given what it is conditioned on."""
        random = [name for name, node in self.conditionals.items() if node.family]
        return f"{self.name}({', '.join(random)}{' | ' * bool(self.conditioned)}{', '.join(self.conditioned)})"


@dataclass(frozen=True)
class ModelGraph:
    """p and q over the same variables, and the completed spec that says the same."""

    spec: Spec
    variables: Mapping[str, VariableNode]
    p: Side
    q: Side

    def named(self, *roles: str) -> list[str]:
        """The variables with these roles, in the order of the text."""
        return [name for name, node in self.variables.items() if node.role in roles]

    def draws_before(self, name: str) -> list[str]:
        """The sampled variables among a variable's ancestors in q: with one of them, a label's importance weights vary."""
        before = self.q.ancestors(name)
        return [other for other in self.q.conditionals if other in before and sampled(self.q.conditionals[other])]

    def __str__(self) -> str:
        lines = [f"{self.spec.model}"]
        for node in self.variables.values():
            family = node.family.name if node.family else "-"
            lines.append(f"  {node.name:<16}{node.role:<14}{family:<22}{list(node.event)}")
        for side in (self.p, self.q):
            lines.append(side.name)
            lines += [f"  {_factor(side.name, node):<40}{_how(node)}" for node in side.conditionals.values()]
        return "\n".join(lines) + "\n"

    def check(self) -> None:
        """What must hold of any graph that `resolve` makes; a failure is a fault of ours."""
        for side in (self.p, self.q):
            order = list(side.conditionals)
            assert all(parent in self.variables for parent, _ in side.edges)
            assert all(order.index(parent) < order.index(child) for parent, child in side.edges if parent in side.conditionals)
        assert all(name in self.q.conditionals for name in self.named("latent", "supervised"))
        assert all(name in self.p.conditionals for name in self.named("latent", "supervised", "observed"))


def sampled(node: ConditionalNode) -> bool:
    """Whether a conditional of q draws samples: its variable is random and not enumerated."""
    return node.family is not None and node.conditional.gradient != "enumerate"


def _factor(side: SideName, node: ConditionalNode) -> str:
    name, parents = node.variable.name, ", ".join(map(str, node.conditional.parents))
    if node.family is None:
        return f"{name} = network({parents})"
    return f"{side}({name} | {parents})" if parents else f"{side}({name})"


def _how(node: ConditionalNode) -> str:
    conditional = node.conditional
    parts = [node.family.name] if node.family and node.family != node.variable.family else []
    parts += [f"{name}={value}" for name, value in conditional.parameters.items()]
    if conditional.network:
        parts.append(str(conditional.network))
    if conditional.gradient:
        parts.append(conditional.gradient)
    return ", ".join(parts)
