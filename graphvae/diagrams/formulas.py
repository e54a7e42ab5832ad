r"""Conditionals, families, networks and expressions as LaTeX's mathematics: the pieces that equations are put together from.

The form is `Formulas`. A variable in plates has their indices below it, and none where a conditional reads all slots; that of a
sub-model has the sub-model's name above it. The weights of p are $\theta$ and those of q $\phi$; a conditional without weights
of its own has neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from graphvae.compiler.expressions import (
    BINDING,
    SIGN,
    Apply,
    Binary,
    Expression,
    Name,
    Negative,
    Number,
    binding,
    sides,
)
from graphvae.compiler.factors import Factor, Product, Seen, Slot, parents_of, seen
from graphvae.compiler.graph import ConditionalNode, ModelGraph, SideName
from graphvae.compiler.latex import Atom, parse_symbol
from graphvae.compiler.names import local_name
from graphvae.diagrams.symbols import symbol_of

WEIGHTS: Mapping[SideName, str] = {"p": r"\theta", "q": r"\phi"}
SUM, PRODUCT = r"\sum", r"\prod"

_REDUCTIONS = {"sum": SUM, "product": PRODUCT, "mean": r"\operatorname*{mean}", "max": r"\max"}
_COMPARED = {"<": "<", ">": ">", "<=": r"\leq", ">=": r"\geq"}
_ALONG = {"softmax": 2, "normalise": 2, "dot": 3}  # how many arguments there are, if the last is an axis


@dataclass(frozen=True)
class Formulas:
    """Writes the pieces of a graph."""

    graph: ModelGraph

    def variable(self, found: Seen, opened: Iterable[str] = ()) -> str:
        """A variable, with the indices of its slots; of an `opened` plate, all slots are one, since it is summed over."""
        slots = [replace(slot, which="own") if slot.plate in opened and slot.which == "all" else slot for slot in found.slots]
        if all(slot.which == "all" for slot in slots):
            slots = []
        indices = tuple(atom for place, slot in enumerate(slots) for atom in ((Atom(","),) * (place > 0) + self._index(slot)))
        return symbol_of(self.graph, found.name, path=True, indices=indices).latex

    def name(self, name: str) -> str:
        """A variable without indices."""
        return self.variable(Seen(name))

    def _index(self, slot: Slot) -> tuple[Atom, ...]:
        own = parse_symbol(symbol_of(self.graph, slot.plate).latex)
        return {"own": own, "before": (*own, Atom("-"), Atom("1")), "all": (Atom(":"),)}[slot.which]

    def listed(self, found: Iterable[Seen]) -> str:
        return ", ".join(map(self.variable, found))

    def names(self, names: Iterable[str]) -> str:
        return ", ".join(map(self.name, names))

    def over(self, sign: str, plates: Iterable[str]) -> str:
        """A sum or a product over the slots of plates, the outermost first."""
        return "".join(rf"{sign}_{{{self.index(plate)} = 1}}^{{{self.last(plate)}}} " for plate in plates)

    def index(self, plate: str) -> str:
        """What counts the slots of a plate, from 1 as in pictures."""
        return symbol_of(self.graph, plate).latex

    def last(self, plate: str) -> str:
        """The size of a plate, or its count."""
        node = self.graph.plates[plate]
        if not node.count:
            return str(node.size)
        return self.variable(Seen(node.count, tuple(map(Slot, self.graph.variables[node.count].plates))))

    def joint(self, side: SideName, random: Iterable[str], given: Iterable[str]) -> str:
        """The distribution of all that is random on a side."""
        behind = self.names(given)
        return f"{side}_{{{WEIGHTS[side]}}}({self.names(random)}{_given(behind)})"

    def factor(self, side: SideName, factor: Factor) -> str:
        """`p(z | x)`, with the weights below it if it has any."""
        return f"{self.letter(side, factor.node)}({self.variable(factor.variable)}{_given(self.listed(factor.given))})"

    def letter(self, side: SideName, node: ConditionalNode) -> str:
        learned = node.conditional.network is not None or "learned" in node.conditional.parameters.values()
        return f"{side}_{{{WEIGHTS[side]}}}" if learned else side

    def product(self, side: SideName, product: Product) -> list[str]:
        """The factors of a product, the first behind its sign, and all in brackets if there are several."""
        factors = [self.factor(side, factor) for factor in product.factors]
        if not product.plates:
            return factors
        sign = self.over(PRODUCT, product.plates)
        if len(factors) == 1:
            return [sign + factors[0]]
        return [f"{sign}\\bigl[ {factors[0]}", *factors[1:-1], f"{factors[-1]} \\bigr]"]

    def network(self, side: SideName, node: ConditionalNode) -> str:
        r"""What a network makes of its parents: $f_\theta^x(y)$."""
        return f"{self.function(side, node)}({self.listed(parents_of(self.graph, node))})"

    def function(self, side: SideName, node: ConditionalNode) -> str:
        return f"f_{{{WEIGHTS[side]}}}^{{{self.name(node.variable.name)}}}"

    def distribution(self, side: SideName, node: ConditionalNode) -> str:
        """The family with its parameters: those of the network, those that are written, and its whole number."""
        assert node.family is not None
        name = r"\mathcal{N}" if node.family.name == "normal" else rf"\mathrm{{{node.family.distribution}}}"
        settings = []
        if node.heads:
            heads = ", ".join(map(upright, node.heads))
            settings.append(f"{f'({heads})' if len(node.heads) > 1 else heads} = {self.network(side, node)}")
        for parameter, value in node.conditional.parameters.items():
            if value != "head":
                settings.append(f"{upright(parameter)} = {self.parameter(side, node, parameter)}")
        if node.family.number:
            settings.append(f"{upright(node.family.number.name)} = {node.number}")
        return f"{name}\\bigl({'; '.join(settings)}\\bigr)"

    def parameter(self, side: SideName, node: ConditionalNode, name: str) -> str:
        """A parameter that no network sets: an expression, a learned value or a number."""
        if name in node.expressions:
            return self.expression(side, node, node.expressions[name])
        value = node.conditional.parameters[name]
        return (
            self.learned(side, node, name) if value == "learned" else f"{value:g}" if isinstance(value, float) else str(value)
        )

    def learned(self, side: SideName, node: ConditionalNode, parameter: str) -> str:
        """A learned value of a conditional."""
        return f"{WEIGHTS[side]}_{{{upright(parameter)}}}^{{{self.name(node.variable.name)}}}"

    def computed(self, side: SideName, node: ConditionalNode) -> str:
        """What a deterministic variable is."""
        tree = node.expressions.get("value")
        return self.expression(side, node, tree) if tree else self.network(side, node)

    def expression(self, side: SideName, node: ConditionalNode, tree: Expression) -> str:
        """An expression of a conditional."""
        parents = node.conditional.parents
        names = {
            local_name(str(parent), node.submodel): seen(self.graph, parent.variable, node, parent.previous)
            for parent in parents
            if parent.variable not in node.indices
        }
        plates = {local_name(plate, node.submodel): plate for plate in self.graph.plates}
        network = self.network(side, node) if node.conditional.network else ""
        return _Translation(self, names, plates, network).text(tree)


@dataclass(frozen=True)
class _Translation:
    """Writes an expression; `names` are the variables by what the text calls them, `opened` the plates that are summed over."""

    formulas: Formulas
    names: Mapping[str, Seen]
    plates: Mapping[str, str]
    network: str
    opened: tuple[str, ...] = ()

    def text(self, tree: Expression) -> str:
        match tree:
            case Number():
                return tree.text
            case Name():
                return self.name(tree.text)
            case Negative():
                return f"-{self.within(tree.part, SIGN)}"
            case Binary():
                return self.binary(tree)
            case Apply():
                return self.call(tree)

    def name(self, text: str) -> str:
        if text == "network":
            return self.network
        if text in self.names:
            return self.formulas.variable(self.names[text], self.opened)
        return symbol_of(self.formulas.graph, self.plates[text]).latex if text in self.plates else upright(text)

    def within(self, tree: Expression, binds: int) -> str:
        """A part of another, in parentheses where it needs them."""
        reduced = isinstance(tree, Apply) and tree.function in _REDUCTIONS and len(tree.arguments) > 1
        return self.text(tree) if binding(tree) >= binds and not reduced else f"\\left({self.text(tree)}\\right)"

    def binary(self, tree: Binary) -> str:
        if tree.operator == "/":
            return rf"\frac{{{self.text(tree.left)}}}{{{self.text(tree.right)}}}"
        left, right = (
            self.within(part, binds) for part, binds in zip((tree.left, tree.right), sides(tree.operator), strict=True)
        )
        if tree.operator == "**":
            return f"{{{left}}}^{{{self.text(tree.right)}}}"
        number = isinstance(tree.left, Number) or isinstance(tree.right, Number)
        sign = {"*": r"\," if number else r"\odot", **_COMPARED}.get(tree.operator, tree.operator)
        return f"{left} {sign} {right}"

    def call(self, tree: Apply) -> str:
        *parts, last = tree.arguments
        if tree.function in _REDUCTIONS and parts:
            return self.reduction(tree.function, parts[0], last)
        if tree.function == "sqrt":
            return rf"\sqrt{{{self.text(last)}}}"
        along = len(tree.arguments) == _ALONG.get(tree.function)
        below, arguments = (f"_{{{self.text(last)}}}", parts) if along else ("", tree.arguments)
        return rf"\operatorname{{{_escaped(tree.function)}}}{below}({', '.join(map(self.text, arguments))})"

    def reduction(self, function: str, part: Expression, axis: Expression) -> str:
        """Over the slots of a plate, or over an axis."""
        plate = self.plates.get(axis.text) if isinstance(axis, Name) else None
        if plate is None:
            return f"{_REDUCTIONS[function]}_{{{self.text(axis)}}} {self.within(part, BINDING['*'])}"
        inside = replace(self, opened=(*self.opened, plate))
        return f"{self.formulas.over(_REDUCTIONS[function], [plate])}{inside.within(part, BINDING['*'])}"


def upright(word: str) -> str:
    """A word that is no variable."""
    return rf"\mathrm{{{_escaped(word)}}}"


def _escaped(word: str) -> str:
    return word.replace("_", r"\_")


def _given(listed: str) -> str:
    return rf" \mid {listed}" if listed else ""
