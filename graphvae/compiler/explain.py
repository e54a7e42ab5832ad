"""What a spec amounts to, for a person: how each variable is drawn and why, and which terms of the objective are exact.

The verb is `explain`. Everything it says is read off the graph that is compiled.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from graphvae.compiler.gradients import count, divergence
from graphvae.compiler.graph import ConditionalNode, ModelGraph
from graphvae.compiler.plan import ROW, SAMPLE, Compute, schedule
from graphvae.compiler.spec import Schedule


def explain(graph: ModelGraph) -> str:
    """The explanation of a model, as text.

    >>> from graphvae.compiler.check import read_graph
    >>> print(explain(read_graph("specs/digits.yaml")))
    p(digit, style, image)
    q(digit, style | image)
    <BLANKLINE>
    draws of q
      digit   categorical   enumerate: exact: 10 values, 10 of at most 100 cells
      style   normal        reparameterised: a normal draw is a function of noise
    <BLANKLINE>
    log q - log p
      digit   exact: summed over its values
      style   sampled: objective.kl is sampled
    <BLANKLINE>
    labels
      digit   log q(digit | row) is exact: no draw stands before it
    <BLANKLINE>
    objective self_normalised, label term log_mean, 1 sample(s) a row
      passes a row through the networks of q: digit 1, style 10
      passes a row through the networks of p: image 10
      schedules: none
    """
    parts = [
        [graph.p.factorisation, graph.q.factorisation],
        ["draws of q", *_table(_draws(graph))],
        ["log q - log p", *_table(_divergences(graph))],
        ["labels", *_table(_labels(graph))],
        list(_objective(graph)),
    ]
    return "\n\n".join("\n".join(part) for part in parts)


def _table(rows: Iterator[tuple[str, ...]]) -> list[str]:
    """Rows with their columns under each other."""
    found = list(rows)
    if not found:
        return ["  none"]
    widths = [max(map(len, column)) for column in zip(*found, strict=True)]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in found)
    return [f"  {line.rstrip()}" for line in lines]


def _random(graph: ModelGraph) -> Iterator[tuple[str, ConditionalNode]]:
    return ((name, node) for name, node in graph.q.conditionals.items() if node.family)


def _draws(graph: ModelGraph) -> Iterator[tuple[str, ...]]:
    for name, node in _random(graph):
        assert node.family is not None
        gradient = str(node.conditional.gradient) + (" (implicitly)" if _implicit(node) else "")
        yield name, node.family.name, f"{gradient}: {node.why}"


def _implicit(node: ConditionalNode) -> bool:
    return node.family is not None and node.family.implicit and node.conditional.gradient == "reparameterised"


def _divergences(graph: ModelGraph) -> Iterator[tuple[str, ...]]:
    for name, node in _random(graph):
        found = divergence(graph, name)
        if found.closed:
            known = f", sampled in rows that know {' or '.join(found.labels)}" if found.labels else ""
            yield name, f"closed form{known}"
        elif node.conditional.gradient == "enumerate":
            yield name, "exact: summed over its values"
        else:
            yield name, f"sampled: {found.why}"


def _labels(graph: ModelGraph) -> Iterator[tuple[str, ...]]:
    for name in graph.named("supervised"):
        draws = graph.draws_before(name)
        said = f"log q({name} | row) is "
        if not draws:
            summed = [other for other in graph.q.ancestors(name) if other in graph.q.conditionals and _enumerated(graph, other)]
            bound = bool(summed) and graph.spec.objective.label_term == "mean_log"
            why = (
                f"a bound: the mean over {', '.join(sorted(summed))} of its logarithm"
                if bound
                else "exact: no draw stands before it"
            )
            yield name, said + why
        else:
            yield name, f"{said}estimated by importance sampling: {', '.join(draws)} stands before it"


def _enumerated(graph: ModelGraph, name: str) -> bool:
    return graph.q.conditionals[name].conditional.gradient == "enumerate"


def _objective(graph: ModelGraph) -> Iterator[str]:
    objective = graph.spec.objective
    yield f"objective {objective.bound}, label term {objective.label_term}, {objective.samples} sample(s) a row"
    plan = schedule(graph)
    for side in (plan.q, plan.p):
        passes = [f"{step.variable} {_passes(graph, step)}" for step in side.steps if isinstance(step, Compute)]
        yield f"  passes a row through the networks of {side.name}: {', '.join(passes) or 'none'}"
    yield f"  schedules: {', '.join(_schedules(graph)) or 'none'}"


def _passes(graph: ModelGraph, step: Compute) -> int:
    """How often a network is computed for a row: once for every cell and sample of what it depends on."""
    sizes = {f"enumeration {name}": count(node) for name, node in _random(graph) if _enumerated(graph, name)}
    return prod((sizes | {SAMPLE: graph.spec.objective.samples or 1, ROW: 1})[axis] for axis in step.outputs[0].axes)


def _schedules(graph: ModelGraph) -> Iterator[str]:
    objective = graph.spec.objective
    named: dict[str, object] = {"supervision_rate": objective.supervision_rate}
    for key in ("alpha", "beta"):
        value = getattr(objective, key)
        named |= {f"{key}.{name}": each for name, each in value.items()} if isinstance(value, dict) else {key: value}
    named |= {f"temperature.{name}": node.conditional.temperature for name, node in _random(graph)}
    return (f"{name} {value.schedule}" for name, value in named.items() if isinstance(value, Schedule))
