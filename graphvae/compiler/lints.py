"""Lints: what is legal and probably wrong. The verb is `lint`; each rule yields warnings."""

from __future__ import annotations

from collections.abc import Iterator

import networkx as nx

from graphvae.compiler.errors import Diagnostic
from graphvae.compiler.graph import ModelGraph


def lint(graph: ModelGraph) -> list[Diagnostic]:
    """Every warning about a graph, rule by rule."""
    return [finding for rule in RULES for finding in rule(graph)]


def _labels_never_drawn(graph: ModelGraph) -> Iterator[Diagnostic]:
    data = graph.spec.data
    drawn = {name for draw in data.labels for name in draw.variables} if data else set()
    for name in graph.named("supervised") if data else ():
        if name not in drawn:
            hint = f"write data.labels: {{{name}: {{rows: 100}}}}"
            yield _warning(
                "GV201", f"no draw of labels reveals '{name}': it is trained as a latent variable", graph, name, hint
            )


def _alpha_zero(graph: ModelGraph) -> Iterator[Diagnostic]:
    objective = graph.spec.objective
    for name in graph.named("supervised"):
        alpha = objective.alpha.get(name, 0.0) if isinstance(objective.alpha, dict) else objective.alpha
        if alpha == 0 and not graph.draws_before(name):
            message = f"alpha is 0 for '{name}': its labels do not train q({name} | ...)"
            yield Diagnostic("GV202", message, objective.span("alpha"), "write alpha: auto, or a number", severity="warning")


def _fewer_labels_than_classes(graph: ModelGraph) -> Iterator[Diagnostic]:
    for draw in graph.spec.data.labels if graph.spec.data else ():
        for name in draw.variables:
            node = graph.variables[name]
            classes = node.event[-1] if node.family and node.family.simplex else 0
            if draw.rows is not None and draw.rows < classes:
                message = f"{draw.rows} rows are fewer than the {classes} categories of '{name}'"
                yield Diagnostic("GV203", message, draw.span("rows"), severity="warning")


def _one_sample(graph: ModelGraph) -> Iterator[Diagnostic]:
    objective = graph.spec.objective
    if objective.samples != 1:
        return
    for name in graph.named("supervised"):
        if draws := graph.draws_before(name):
            message = f"'{name}' is inferred from draws of {', '.join(draws)}, and one sample makes no importance sampling"
            yield Diagnostic("GV204", message, objective.span("samples"), "write samples: 8", severity="warning")


def _unused(graph: ModelGraph) -> Iterator[Diagnostic]:
    observed = graph.named("observed")
    for name, node in graph.variables.items():
        p, q = (graph.p.graph, graph.q.graph)
        children = {child for side in (p, q) if name in side for child in side.successors(name)}
        if node.role in ("given", "deterministic") and not children:
            yield _warning("GV205", f"nothing depends on '{name}'", graph, name)
        elif node.inferred and not (_reaches(p, name, observed) or (name in q and any(q.successors(name)))):
            yield _warning("GV205", f"'{name}' reaches no observed variable in p, and nothing in q depends on it", graph, name)


def _reaches(graph: nx.DiGraph[str], name: str, targets: list[str]) -> bool:
    return not nx.descendants(graph, name).isdisjoint(targets)


def _never_looked_at(graph: ModelGraph) -> Iterator[Diagnostic]:
    for name in graph.named("observed"):
        if not any(graph.q.graph.successors(name)):
            yield _warning("GV206", f"q never looks at the observed variable '{name}'", graph, name)


def _warning(code: str, message: str, graph: ModelGraph, name: str, hint: str = "") -> Diagnostic:
    return Diagnostic(code, message, graph.variables[name].span, hint, severity="warning")


RULES = (_labels_never_drawn, _alpha_zero, _fewer_labels_than_classes, _one_sample, _unused, _never_looked_at)
