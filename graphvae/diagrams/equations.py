r"""What a model says, as equations: both factorisations, the families and networks behind them, the objective, its variables.

The verb is `equations`; its `Page` prints as LaTeX and as Markdown. Everything is read off the graph that is compiled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from graphvae.compiler.factors import products, seen
from graphvae.compiler.families import POSITIVE_FLOOR, SUPERVISED_FLOOR
from graphvae.compiler.graph import ConditionalNode, ModelGraph, Side, VariableNode
from graphvae.compiler.spec import Network
from graphvae.diagrams.formulas import Formulas
from graphvae.diagrams.objective import objective
from graphvae.diagrams.page import Block, Maths, Page, Row, Section, Sentences, Table, listed

WIDEST = 46  # letters of an equation on one line of a paper's column, about


def equations(graph: ModelGraph) -> Page:
    r"""The equations of a model.

    >>> from graphvae.compiler.check import read_graph
    >>> found = equations(read_graph("specs/digits.yaml"))
    >>> print(found.sections[0].blocks[0].rows[1].right)
    \quad = p(\mathit{digit})\, p(\mathit{style})\, p_{\theta}(\mathit{image} \mid \mathit{digit}, \mathit{style})
    """
    formulas = Formulas(graph)
    return Page(
        graph.spec.model,
        (
            Section("Generative model", tuple(_side(formulas, graph.p))),
            Section("Recognition model", tuple(_side(formulas, graph.q))),
            Section("Objective", tuple(map(_fitting, objective(formulas)))),
            Section("Variables", (_variables(formulas),)),
        ),
    )


def _side(formulas: Formulas, side: Side) -> Iterator[Block]:
    """The factorisation, then every conditional in its order, then the networks."""
    nodes = list(side.conditionals.values())
    yield Maths(tuple(_factorisation(formulas, side)))
    yield _fitting(Maths(tuple(_defined(formulas, side, node) for node in nodes)))
    if sentences := tuple(_networks(formulas, side)):
        yield Sentences(sentences)


def _factorisation(formulas: Formulas, side: Side) -> Iterator[Row]:
    """On as many lines as it needs."""
    random = [name for name, node in side.conditionals.items() if node.family]
    factors = [text for product in products(formulas.graph, side) for text in formulas.product(side.name, product)]
    left, lines = formulas.joint(side.name, random, side.conditioned), [""]
    for factor in factors:
        longer = f"{lines[-1]}\\, {factor}" if lines[-1] else factor
        lines = [*lines[:-1], longer] if _letters(longer) <= WIDEST or not lines[-1] else [*lines, factor]
    if _letters(left) + _letters(lines[0]) <= WIDEST:
        yield Row(left, f"= {lines[0]}")
    else:
        yield Row("", left)
        yield Row("", rf"\quad = {lines[0]}")
    yield from (Row("", rf"\quad \, {line}") for line in lines[1:])


def _fitting(block: Block) -> Block:
    """A block whose lines of mathematics are broken where they are too wide."""
    return Maths(tuple(part for row in block.rows for part in _broken(row))) if isinstance(block, Maths) else block


def _broken(row: Row) -> Iterator[Row]:
    """A line, or two that part before the last logarithm that is subtracted, within a divergence, or before a network."""
    parts = re.fullmatch(r"(.*)( - \\log |\\,\\Vert\\, | = f_)(.*)", row.right)
    if parts is None or _letters(row.left + row.right) <= WIDEST:
        yield row
        return
    yield Row(row.left, parts[1])
    yield Row("", rf"\qquad {parts[2].lstrip()}{parts[3]}")


def _letters(latex: str) -> int:
    """About how many letters wide mathematics is."""
    return len(re.sub(r"\\(mathit|mathrm|boldsymbol|,|bigl|bigr|theta|phi)|[{}_^ ]", "", latex).replace(r"\mid", "|"))


def _defined(formulas: Formulas, side: Side, node: ConditionalNode) -> Row:
    """What a variable is drawn from, or what it is."""
    left = formulas.variable(seen(formulas.graph, node.variable.name, node))
    if node.family is None:
        return Row(left, f"= {formulas.computed(side.name, node)}")
    return Row(left, rf"\sim {formulas.distribution(side.name, node)}")


def _networks(formulas: Formulas, side: Side) -> Iterator[str]:
    nodes = side.conditionals.values()
    alike: dict[str, list[str]] = {}
    for node in nodes:
        if node.conditional.network:
            alike.setdefault(_described(node.conditional.network), []).append(f"${formulas.function(side.name, node)}$")
    for described, functions in alike.items():
        yield f"{listed(functions)} {'are each' if len(functions) > 1 else 'is'} {described}."
    learned = [
        f"${formulas.learned(side.name, node, name)}$"
        for node in nodes
        for name, value in node.conditional.parameters.items()
        if value == "learned"
    ]
    if learned:
        yield f"{listed(learned)} {'are' if len(learned) > 1 else 'is'} learned, the same in every row."
    yield from _links(side)
    yield from _initials(formulas, side)


def _described(network: Network) -> str:
    """A kind of network and its widths."""
    units = _widths("a hidden layer", "hidden layers", network.hidden or (), f"{network.activation} units")
    planes = _widths("a convolution", "convolutions", network.channels or (), f"{network.activation} planes")
    kinds = {
        "mlp": f"a multilayer perceptron with {units}" if network.hidden else "a linear map",
        "conv": f"a convolutional network with {planes}{f' and {units}' * bool(network.hidden)}",
        "deconv": f"a network with {f'{units} and ' * bool(network.hidden)}{planes} that enlarge an image",
        "residual": f"a residual network with {units}",
        "gru": f"a gated recurrent unit with a state of {network.size} numbers",
    }
    said = [kinds.get(network.kind, f"a network of the class `{network.kind}`")]
    if network.kind in kinds and (network.hidden or network.channels):
        said += [f"{network.normalisation} normalisation"] if network.normalisation != "none" else []
        said += [f"dropout of {network.dropout:g}"] if network.dropout else []
    pool = f", which gathers slots by {network.pool} pooling" if network.pool else ""
    return ", ".join(said) + pool


def _widths(one: str, several: str, widths: Sequence[int], unit: str) -> str:
    return f"{several if len(widths) > 1 else one} of {listed(list(map(str, widths)))} {unit}"


def _links(side: Side) -> Iterator[str]:
    """How what a network or a learned value gives becomes a parameter that it may be."""
    rows = [
        (node, row)
        for node in side.conditionals.values()
        for row in (node.family.parameters if node.family else ())
        if row.name in node.heads or node.conditional.parameters.get(row.name) == "learned"
    ]
    links = {row.link for _, row in rows}
    if "positive" in links:
        labelled = any(node.variable.role == "supervised" and row.name == "scale" for node, row in rows if side.name == "q")
        floors = f"${_power(POSITIVE_FLOOR)}$" + f", or ${_power(SUPERVISED_FLOOR)}$ for scales of labels" * labelled
        yield f"What must be positive has passed a softplus and has a floor of {floors}."
    if "unit" in links:
        yield "What must lie between 0 and 1 has passed a sigmoid."


def _power(number: float) -> str:
    return f"10^{{{int(f'{number:e}'.partition('e')[2])}}}"


def _initials(formulas: Formulas, side: Side) -> Iterator[str]:
    """What stands before the first slot."""
    nodes = side.conditionals.values()
    read = dict.fromkeys(name for node in nodes for name in node.previous)
    learned = [name for name in read if name in side.conditionals and side.conditionals[name].conditional.initial == "learned"]
    for names, what in ((learned, "learned"), ([name for name in read if name not in learned], "zero")):
        if names:
            which = listed([f"${formulas.name(name)}$" for name in names])
            yield f"Before the first slot, {which} {'are' if names[1:] else 'is'} {what}."


def _variables(formulas: Formulas) -> Table:
    """A column is there if it says something: names do where a symbol was chosen that does not follow from its name."""
    rows = [_row(formulas, node) for node in formulas.graph.variables.values()]
    chosen = any(variable.symbol for variable in formulas.graph.spec.variables.values())
    heading = ("symbol", "name", "role", "family", "shape", "plates")
    kept = [place for place, word in enumerate(heading) if any(row[place] for row in rows) and (chosen or word != "name")]
    return Table(tuple(heading[place] for place in kept), tuple(tuple(row[place] for place in kept) for row in rows))


def _row(formulas: Formulas, node: VariableNode) -> tuple[str, ...]:
    graph = formulas.graph
    in_q = graph.q.conditionals.get(node.name)
    family = node.family.name.replace("_", " ") if node.family else ""
    if in_q and in_q.family and in_q.family != node.family:
        family += f", in $q$ {in_q.family.name.replace('_', ' ')}"
    shape = node.event[:-1] if node.family and node.family.simplex else node.event
    sizes = ["$" + r" \times ".join(map(str, shape)) + "$"] * bool(shape)
    sizes += [f"{node.event[-1]} categories"] if node.family and node.family.simplex else []
    plates = ", ".join(rf"${formulas.index(plate)} \leq {formulas.last(plate)}$" for plate in node.plates)
    role = f"{node.role}{', collapsed' * node.collapse}"
    return f"${formulas.name(node.name)}$", f"`{node.name}`", role, family, " of ".join(sizes) or "scalar", plates
