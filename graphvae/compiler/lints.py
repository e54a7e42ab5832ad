"""Lints: what is legal and probably wrong. The verb is `lint`; each rule yields warnings."""

from __future__ import annotations

from collections.abc import Iterator

from graphvae.compiler.errors import Diagnostic
from graphvae.compiler.gradients import divergence
from graphvae.compiler.graph import ModelGraph, sampled

_WITH_HOLES = ("npz", "csv", "parquet", "images")  # the sources that may have empty cells


def lint(graph: ModelGraph) -> list[Diagnostic]:
    """Every warning about a graph, in the order of its text."""
    return sorted((finding for rule in RULES for finding in rule(graph)), key=lambda finding: finding.place)


def _labels_never_drawn(graph: ModelGraph) -> Iterator[Diagnostic]:
    for name in graph.named("supervised") if graph.spec.data else ():
        if not _may_be_known(graph, name):
            message = f"no draw of labels reveals '{name}': it is trained as a latent variable"
            yield _warning("GV201", message, graph, name, f"write data.labels: {{{name}: {{rows: 100}}}}")


def _alpha_zero(graph: ModelGraph) -> Iterator[Diagnostic]:
    """Where no draw stands before a label, log q(label | ...) cancels out of the bound, and only alpha brings it in."""
    objective, inferred = graph.spec.objective, set(graph.named("latent", "supervised"))
    for name in graph.named("supervised"):
        if inferred & graph.q.ancestors(name):
            continue
        alpha, span = objective.alpha, objective.span("alpha")
        said, hint = "alpha is 0", "write alpha: auto, or a number above 0"
        if isinstance(alpha, dict) and name in alpha:
            alpha, span = alpha[name], objective.span("alpha", name)
        elif isinstance(alpha, dict):
            alpha, said, hint = 0.0, f"alpha leaves out '{name}', whose weight is then 0", f"add {name}: NUMBER to it"
        if alpha == 0:
            yield Diagnostic("GV202", f"{said}: labels do not train q({name} | ...)", span, hint, severity="warning")


def _fewer_labels_than_classes(graph: ModelGraph) -> Iterator[Diagnostic]:
    for draw in graph.spec.data.labels if graph.spec.data else ():
        for name in draw.variables:
            node = graph.variables[name]
            classes = node.event[-1] if node.family and node.family.simplex else 0
            if draw.rows is not None and 0 < draw.rows < classes:
                message = f"{draw.rows} labelled rows cannot show all {classes} categories of '{name}'"
                yield Diagnostic("GV203", message, draw.span("rows"), f"write rows: {classes} or more", severity="warning")


def _one_sample(graph: ModelGraph) -> Iterator[Diagnostic]:
    objective = graph.spec.objective
    if objective.samples != 1:
        return
    for name in graph.named("supervised"):
        if draws := graph.draws_before(name):
            message = f"one sample makes no importance sampling, and '{name}' is inferred from draws of {', '.join(draws)}"
            hint = "write samples: 8, or leave the key out"
            yield Diagnostic("GV204", message, objective.span("samples"), hint, severity="warning")


def _unused(graph: ModelGraph) -> Iterator[Diagnostic]:
    reached = set().union(*(graph.p.ancestors(name) for name in graph.named("observed")))
    for name, node in graph.variables.items():
        children = [*graph.p.children(name), *graph.q.children(name)]
        if node.role in ("given", "deterministic") and not children:
            yield _warning("GV205", f"nothing depends on '{name}'", graph, name, "leave it out, or make it a parent")
        elif node.inferred and name not in reached and not graph.q.children(name):
            message = f"'{name}' has no observed descendant in p, and nothing in q depends on it: no data bears on it"
            yield _warning("GV205", message, graph, name, "leave it out, or make it a parent in p")


def _never_looked_at(graph: ModelGraph) -> Iterator[Diagnostic]:
    for name in graph.named("observed") if graph.q.conditionals else ():
        if not graph.q.children(name):
            yield _warning("GV206", f"q never looks at the observed variable '{name}'", graph, name, "make it a parent in q")


def _rate_without_labels(graph: ModelGraph) -> Iterator[Diagnostic]:
    objective, labels = graph.spec.objective, graph.named("supervised")
    if labels and (graph.spec.data is None or any(_may_be_known(graph, name) for name in labels)):
        return
    for key in ("supervision_rate", "gamma"):
        if getattr(objective, key) is not None:
            message = f"{key} weighs labelled rows, and there are none"
            hint = "leave it out, or draw labels of a supervised variable in data.labels"
            yield Diagnostic("GV207", message, objective.key(key), hint, severity="warning")


def _nothing_closed(graph: ModelGraph) -> Iterator[Diagnostic]:
    """KL in closed form was asked for, and no draw can have it."""
    if graph.spec.objective.kl == "sampled":
        return
    found = {name: divergence(graph, name) for name, node in graph.q.conditionals.items() if sampled(node)}
    if not any(each.closed for each in found.values()):
        why = "; ".join(f"{name}: {each.why}" for name, each in found.items()) or "nothing is drawn"
        yield Diagnostic(
            "GV208", f"no KL divergence has its closed form ({why})", graph.spec.objective.span("kl"), severity="warning"
        )


def _may_be_known(graph: ModelGraph, name: str) -> bool:
    """Whether data may show a supervised variable in some row.

    A draw of labels reveals it; or none names it, and its column has empty cells: then it is known wherever it has a value.
    """
    data = graph.spec.data
    draws = [draw for draw in data.labels if name in draw.variables] if data else []
    if data and not draws:
        return data.source in _WITH_HOLES
    return any(draw.rows_per or draw.rows or draw.fraction for draw in draws)


def _warning(code: str, message: str, graph: ModelGraph, name: str, hint: str = "") -> Diagnostic:
    return Diagnostic(code, message, graph.variables[name].span, hint, severity="warning")


RULES = (
    _labels_never_drawn,
    _alpha_zero,
    _fewer_labels_than_classes,
    _one_sample,
    _unused,
    _never_looked_at,
    _rate_without_labels,
    _nothing_closed,
)
