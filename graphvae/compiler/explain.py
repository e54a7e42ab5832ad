"""What a spec amounts to: how each variable is drawn and why, which terms are exact, what it costs, which labels it sees.

The form is `Explanation`, the verb `explain`. Everything it says is read off the graph that is compiled. It prints as text for
a person, and as plain data for a program.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from graphvae.compiler.cost import Cost, cost
from graphvae.compiler.errors import Diagnostic
from graphvae.compiler.families import Gradient
from graphvae.compiler.gradients import divergence
from graphvae.compiler.graph import ConditionalNode, ModelGraph, Side
from graphvae.compiler.lints import lint
from graphvae.compiler.plan import SAMPLE, schedule
from graphvae.compiler.spec import Data, LabelDraw, Schedule


@dataclass(frozen=True)
class Factorisation:
    """A side as the product of its factors, and what it computes on the way: `trunk = network(image)`."""

    joint: str
    factors: tuple[str, ...]
    computed: tuple[str, ...]


@dataclass(frozen=True)
class Drawn:
    """How q draws a variable, and why so; `implicit` says that the reparameterised gradient is implicit."""

    variable: str
    family: str
    gradient: Gradient
    implicit: bool
    why: str


@dataclass(frozen=True)
class Divergence:
    """How the objective takes log q - log p of a variable: summed over its values, in closed form, or at the sample.

    Where one of `labels` is known in a row, a closed form is sampled there all the same.
    """

    variable: str
    taken: Literal["summed", "closed", "sampled"]
    labels: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Label:
    """What log q(label | row) is: exact, a lower bound, or estimated by importance sampling, because of these variables."""

    variable: str
    log_q: Literal["exact", "bound", "importance sampling"]
    because: tuple[str, ...]


@dataclass(frozen=True)
class Objective:
    """The objective that is maximised. A schedule is named by what it changes."""

    bound: str
    label_term: str
    kl: str
    samples: int
    schedules: Mapping[str, str]


@dataclass(frozen=True)
class Revealed:
    """The labels of one variable that training may see: how many at most, and the draws that reveal them.

    `classes` is None for a variable that has none, and `at_most` where only the data can say.
    """

    variable: str
    classes: int | None
    at_most: int | None
    draws: tuple[str, ...]


@dataclass(frozen=True)
class Budget:
    """The labels that training may see, and the rows set aside for validation, all of whose labels are read."""

    revealed: tuple[Revealed, ...]
    validation: int


@dataclass(frozen=True)
class Explanation:
    """All that there is to say about a model before it is trained. `budget` is None for a spec without data."""

    model: str
    p: Factorisation
    q: Factorisation
    draws: tuple[Drawn, ...]
    divergences: tuple[Divergence, ...]
    labels: tuple[Label, ...]
    objective: Objective
    cost: Cost
    budget: Budget | None
    warnings: tuple[Diagnostic, ...]

    def __str__(self) -> str:
        parts = [
            [*_factorised(self.p), *_factorised(self.q)],
            ["draws of q", *_table(map(_drawn, self.draws))],
            ["log q - log p", *_table(map(_divergence, self.divergences))],
            ["log q of labels", *_table(map(_label, self.labels))],
            _maximised(self.objective),
            ["cost of a row without labels", *_table(_costs(self.cost)), *_axes(self.cost)],
            ["labels that training may see", *_labels(self.budget)],
            *([["warnings", *map(str, self.warnings)]] if self.warnings else []),
        ]
        return "\n\n".join("\n".join(part) for part in parts)

    def record(self, file: str) -> dict[str, object]:
        """The same as plain data; `file` is what was read."""
        totals = {"cells": self.cost.cells, "parameters": self.cost.parameters, "multiply_adds": self.cost.multiply_adds}
        warnings = [finding.record(file) for finding in self.warnings]
        return {**asdict(self), "cost": totals | asdict(self.cost), "warnings": warnings}


def explain(graph: ModelGraph) -> Explanation:
    """The explanation of a model.

    >>> from graphvae.compiler.check import read_graph
    >>> print(explain(read_graph("specs/digits.yaml")))
    p(digit, style, image) = p(digit) p(style) p(image | digit, style)
    q(digit, style | image) = q(digit | image) q(style | image, digit)
    <BLANKLINE>
    draws of q
      digit   categorical   enumerate: exact: 10 values, 10 of at most 100 cells
      style   normal        reparameterised: a normal draw is a function of noise
    <BLANKLINE>
    log q - log p
      digit   exact: summed over its values
      style   sampled: objective.kl is sampled
    <BLANKLINE>
    log q of labels
      digit   exact: no draw stands before it
    <BLANKLINE>
    objective self_normalised, label term log_mean, 1 sample(s)
    <BLANKLINE>
    cost of a row without labels
          variable   network   passes   parameters   multiply-adds
      q   digit      mlp            1       19,210          18,944
      q   style      mlp           10       23,312          82,944
      p   image      mlp           10       21,312         209,920
          in all                            63,834         311,808
      10 cell(s): 10 of digit; 1 sample(s)
    <BLANKLINE>
    labels that training may see
      digit   10 classes   at most 50   50 rows, balanced, seed 0
    """
    return Explanation(
        model=graph.spec.model,
        p=_factorisation(graph.p),
        q=_factorisation(graph.q),
        draws=tuple(_how_drawn(name, node) for name, node in _random(graph)),
        divergences=tuple(_how_taken(graph, name) for name, _ in _random(graph)),
        labels=tuple(_how_known(graph, name) for name in graph.named("supervised")),
        objective=_objective(graph),
        cost=cost(graph, schedule(graph)),
        budget=_budget(graph),
        warnings=tuple(lint(graph)),
    )


def _factorisation(side: Side) -> Factorisation:
    factors, computed = [], []
    for name, node in side.conditionals.items():
        parents = ", ".join(map(str, node.conditional.parents))
        if node.family is None:
            computed.append(f"{name} = network({parents})")
        else:
            factors.append(f"{side.name}({name}{' | ' * bool(parents)}{parents})")
    return Factorisation(side.factorisation, tuple(factors), tuple(computed))


def _random(graph: ModelGraph) -> Iterator[tuple[str, ConditionalNode]]:
    return ((name, node) for name, node in graph.q.conditionals.items() if node.family)


def _how_drawn(name: str, node: ConditionalNode) -> Drawn:
    family, gradient = node.family, node.conditional.gradient
    assert family is not None
    assert gradient is not None
    return Drawn(name, family.name, gradient, family.implicit and gradient == "reparameterised", node.why)


def _how_taken(graph: ModelGraph, name: str) -> Divergence:
    found = divergence(graph, name)
    if found.closed:
        return Divergence(name, "closed", found.labels, "")
    summed = _is_enumerated(graph, name)
    return Divergence(name, "summed" if summed else "sampled", (), found.why)


def _is_enumerated(graph: ModelGraph, name: str) -> bool:
    node = graph.q.conditionals.get(name)
    return node is not None and node.conditional.gradient == "enumerate"


def _how_known(graph: ModelGraph, name: str) -> Label:
    if draws := graph.draws_before(name):
        return Label(name, "importance sampling", tuple(draws))
    summed = tuple(sorted(other for other in graph.q.ancestors(name) if _is_enumerated(graph, other)))
    if summed and graph.spec.objective.label_term == "mean_log":
        return Label(name, "bound", summed)
    return Label(name, "exact", ())


def _objective(graph: ModelGraph) -> Objective:
    objective = graph.spec.objective
    assert objective.samples is not None
    return Objective(objective.bound, objective.label_term, objective.kl, objective.samples, dict(_schedules(graph)))


def _schedules(graph: ModelGraph) -> Iterator[tuple[str, str]]:
    objective = graph.spec.objective
    named: dict[str, object] = {"supervision_rate": objective.supervision_rate}
    for key in ("alpha", "beta"):
        value = getattr(objective, key)
        named |= {f"{key}.{name}": each for name, each in value.items()} if isinstance(value, dict) else {key: value}
    named |= {f"temperature.{name}": node.conditional.temperature for name, node in _random(graph)}
    return ((name, value.schedule) for name, value in named.items() if isinstance(value, Schedule))


def _budget(graph: ModelGraph) -> Budget | None:
    data = graph.spec.data
    if data is None:
        return None
    revealed = tuple(_revealed(graph, data, name) for name in graph.named("supervised"))
    return Budget(revealed, data.validation.rows if data.validation else 0)


def _revealed(graph: ModelGraph, data: Data, name: str) -> Revealed:
    draws = [draw for draw in data.labels if name in draw.variables]
    counts = [_rows(graph, draw) for draw in draws]
    at_most = None if None in counts or not draws else sum(count or 0 for count in counts)
    return Revealed(name, _classes(graph, name), at_most, tuple(_draw_of_labels(name, draw) for draw in draws))


def _classes(graph: ModelGraph, name: str) -> int | None:
    """How many values a variable has, if it is a single one of finitely many."""
    node = graph.p.conditionals[name]
    if node.family is None or not node.family.finite:
        return None
    values, draws = node.cells
    return values if draws == 1 else None


def _rows(graph: ModelGraph, draw: LabelDraw) -> int | None:
    """How many rows a draw has at most."""
    for name, each in (draw.rows_per or {}).items():
        classes = _classes(graph, name)
        return each * classes if classes else None
    return draw.rows


def _draw_of_labels(name: str, draw: LabelDraw) -> str:
    amounts = [f"{draw.rows:,} rows"] if draw.rows is not None else []
    amounts += [f"{draw.fraction:g} of the rows that have them"] if draw.fraction is not None else []
    amounts += [f"{each:,} rows for each value of {other}" for other, each in (draw.rows_per or {}).items()]
    others = [other for other in draw.variables if other != name]
    options = ["balanced"] * draw.balanced + [f"together with {', '.join(others)}"] * bool(others) + [f"seed {draw.seed}"]
    return ", ".join([*amounts, *options])


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows with their columns under each other, a column of numbers to the right."""
    columns = list(zip(*rows, strict=True))
    if not columns:
        return ["  none"]
    lines = zip(*map(_aligned, columns), strict=True)
    return [f"  {'   '.join(line).rstrip()}" for line in lines]


def _aligned(column: Sequence[str]) -> list[str]:
    width, numbers = max(map(len, column)), any(cell.replace(",", "").isdigit() for cell in column)
    return [cell.rjust(width) if numbers else cell.ljust(width) for cell in column]


def _factorised(side: Factorisation) -> Iterator[str]:
    yield f"{side.joint} = {' '.join(side.factors)}" if side.factors else side.joint
    yield from (f"  {line}" for line in side.computed)


def _drawn(row: Drawn) -> tuple[str, ...]:
    return row.variable, row.family, f"{row.gradient}{' (implicitly)' * row.implicit}: {row.why}"


def _divergence(row: Divergence) -> tuple[str, ...]:
    sampled = f", sampled in rows that know {' or '.join(row.labels)}" if row.labels else ""
    said = {"summed": "exact: summed over its values", "closed": f"closed form{sampled}", "sampled": f"sampled: {row.why}"}
    return row.variable, said[row.taken]


def _label(row: Label) -> tuple[str, ...]:
    because = ", ".join(row.because)
    said = {
        "exact": "exact: no draw stands before it",
        "bound": f"a bound: the mean over {because} of its logarithm",
        "importance sampling": f"estimated by importance sampling: {because} stands before it",
    }
    return row.variable, said[row.log_q]


def _maximised(row: Objective) -> list[str]:
    lines = [f"objective {row.bound}, label term {row.label_term}, {row.samples} sample(s)"]
    return lines + [f"  {name} follows a {how} schedule" for name, how in row.schedules.items()]


def _costs(found: Cost) -> Iterator[tuple[str, ...]]:
    yield "", "variable", "network", "passes", "parameters", "multiply-adds"
    for row in found.networks:
        yield row.side, row.variable, row.kind, f"{row.passes:,}", _counted(row.parameters), _counted(row.multiply_adds)
    for tensor in found.learned:
        yield tensor.side, f"{tensor.variable}.{tensor.parameter}", "learned", "", _counted(tensor.parameters), ""
    yield "", "in all", "", "", _counted(found.parameters), _counted(found.multiply_adds)


def _counted(number: int | None) -> str:
    return "not known" if number is None else f"{number:,}"


def _axes(found: Cost) -> Iterator[str]:
    sizes = ", ".join(f"{size:,} of {axis.removeprefix('enumeration ')}" for axis, size in found.axes.items() if axis != SAMPLE)
    yield f"  {found.cells:,} cell(s){': ' * bool(sizes)}{sizes}; {found.axes[SAMPLE]:,} sample(s)"
    if found.q_passes > 1:
        yield f"  the bound computes q {found.q_passes} times"


def _labels(found: Budget | None) -> list[str]:
    if found is None:
        return ["  the spec has no data"]
    aside = f"  validation: {found.validation:,} rows, all of whose labels are read"
    return _table(map(_of_variable, found.revealed)) + [aside] * bool(found.validation)


def _of_variable(row: Revealed) -> tuple[str, ...]:
    most = "known once the data is read" if row.at_most is None else f"at most {row.at_most:,}"
    return row.variable, f"{row.classes:,} classes" if row.classes else "no classes", most, "; ".join(row.draws) or "no draw"
