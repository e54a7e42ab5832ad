"""What a spec amounts to: how each variable is drawn and why, which terms are exact, what it costs, which labels it sees.

The form is `Explanation`, the verb `explain`. Everything it says is read off the graph that is compiled. It prints as text for
a person, and as plain data for a program.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from graphvae.compiler.cost import ENUMERATION, Cost, cost
from graphvae.compiler.errors import Diagnostic
from graphvae.compiler.factors import Factorisation, bounds, factorise
from graphvae.compiler.families import Gradient
from graphvae.compiler.gradients import divergence
from graphvae.compiler.graph import ConditionalNode, Derived, ModelGraph, Side, SideName, SubmodelNode
from graphvae.compiler.lints import lint
from graphvae.compiler.order import flat, loops
from graphvae.compiler.plan import SAMPLE
from graphvae.compiler.schedule import schedule
from graphvae.compiler.spec import Data, LabelDraw, Schedule

WIDTH = 128  # of a factorisation on one line


@dataclass(frozen=True)
class Plated:
    """A plate: the index of its slots, how many there are, the variable that counts the active ones, and who is in it."""

    plate: str
    slots: str
    size: int
    count: str | None
    members: tuple[str, ...]


@dataclass(frozen=True)
class Looped:
    """A plate whose slots a side computes one after the other, and what each hands on to the next."""

    side: SideName
    plate: str
    members: tuple[str, ...]
    carried: tuple[Carried, ...]


@dataclass(frozen=True)
class Carried:
    """A variable that is read in the slot after its own, and what stands before the first slot."""

    variable: str
    initial: Literal["zero", "learned"]


@dataclass(frozen=True)
class Gathered:
    """A conditional that reads all slots of plates that its variable is not in, and how: by a pool, or in an expression."""

    side: SideName
    variable: str
    parents: tuple[str, ...]
    plates: tuple[str, ...]
    by: str


@dataclass(frozen=True)
class Component:
    """A sub-model: its file, its plates, where its weights come from, and what this model changes.

    `drawn` are the draws that it overrides, `collapsed` the variables that are their mean where they are not known, and
    `conditionals` those that this model adds.
    """

    submodel: str
    file: str
    plates: tuple[str, ...]
    weights: str | None
    frozen: bool
    drawn: Mapping[str, str]
    collapsed: tuple[str, ...]
    conditionals: tuple[str, ...]


@dataclass(frozen=True)
class Drawn:
    """How q draws a variable, and why so; `implicit` says that the reparameterised gradient is implicit.

    A collapsed variable is not drawn: it is the mean. `cells` are the values of an enumerated one, as a base and a power.
    """

    variable: str
    family: str
    plates: tuple[str, ...]
    gradient: Gradient | Literal["mean"]
    implicit: bool
    cells: tuple[int, int] | None
    why: str


@dataclass(frozen=True)
class Divergence:
    """How the objective takes log q - log p of a variable: over all values, in closed form, at the sample, or not at all.

    Where one of `labels` is known in a row, a closed form is sampled there all the same.
    """

    variable: str
    taken: Literal["summed", "closed", "sampled", "left out"]
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
    """The objective that is maximised. A schedule is named by what it changes.

    `collapsed` are the variables whose mean stands for them where they are not known.
    """

    bound: str
    label_term: str
    kl: str
    samples: int
    collapsed: tuple[str, ...]
    schedules: Mapping[str, str]


@dataclass(frozen=True)
class Revealed:
    """The labels of one variable that training may see: how many at most, and the draws that reveal them.

    `classes` is None for a variable that has none, and `at_most` where only the data can say. A row of a variable in plates has
    a label in each of their slots, or in some.
    """

    variable: str
    plates: tuple[str, ...]
    classes: int | None
    at_most: int | None
    draws: tuple[str, ...]


@dataclass(frozen=True)
class Budget:
    """The labels that training may see, and the rows set aside for validation, all of whose labels are read.

    `order` is that of the slots of a row.
    """

    revealed: tuple[Revealed, ...]
    validation: int
    order: str | None


@dataclass(frozen=True)
class Explanation:
    """All that there is to say about a model before it is trained. `budget` is None for a spec without data."""

    model: str
    p: Factorisation
    q: Factorisation
    derived: tuple[Derived, ...]
    plates: tuple[Plated, ...]
    loops: tuple[Looped, ...]
    gathered: tuple[Gathered, ...]
    submodels: tuple[Component, ...]
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
            *(part for each in self.derived for part in _paragraph("derived from p", _derived(each))),
            *_paragraph("plates", map(_plated, self.plates)),
            *_paragraph("slot by slot", map(_looped, self.loops)),
            *_paragraph("gathered over slots", map(_gathered, self.gathered)),
            *_paragraph("sub-models", map(_component, self.submodels)),
            ["draws of q", *_table(map(_drawn, self.draws))],
            ["log q - log p", *_table(map(_divergence, self.divergences))],
            ["log q of labels", *_table(map(_label, self.labels))],
            _maximised(self.objective),
            ["cost of a row without labels", *_table(_costs(self.cost)), *_axes(self.cost, self.draws)],
            ["labels that training may see", *_labels(self.budget, self.plates)],
            *([["warnings", *map(str, self.warnings)]] if self.warnings else []),
        ]
        return "\n\n".join("\n".join(part) for part in parts)

    def record(self, file: str) -> dict[str, object]:
        """The same as plain data; `file` is what was read."""
        totals = {key: getattr(self.cost, key) for key in ("cells", "parameters", "frozen", "multiply_adds")}
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
        p=factorise(graph, graph.p),
        q=factorise(graph, graph.q),
        derived=graph.derived,
        plates=tuple(_plates(graph)),
        loops=tuple(row for side in (graph.q, graph.p) for row in _loops(side)),
        gathered=tuple(row for side in (graph.q, graph.p) for row in _gathers(graph, side)),
        submodels=tuple(_submodel(graph, node) for node in graph.submodels.values()),
        draws=tuple(_how_drawn(name, node) for name, node in _random(graph)),
        divergences=tuple(_how_taken(graph, name) for name, _ in _random(graph)),
        labels=tuple(_how_known(graph, name) for name in graph.named("supervised")),
        objective=_objective(graph),
        cost=cost(graph, schedule(graph)),
        budget=_budget(graph),
        warnings=tuple(lint(graph)),
    )


def _plates(graph: ModelGraph) -> Iterator[Plated]:
    for name, plate in graph.plates.items():
        members = tuple(node.name for node in graph.variables.values() if name in node.plates)
        yield Plated(name, bounds(graph, name), plate.size, plate.count or None, members)


def _loops(side: Side) -> Iterator[Looped]:
    for group in loops(side.units):
        members = flat(group.members)
        carried = dict.fromkeys(name for member in members for name in side.conditionals[member].previous)
        yield Looped(side.name, group.name, tuple(members), tuple(_carried(side, name) for name in carried))


def _carried(side: Side, name: str) -> Carried:
    node = side.conditionals.get(name)
    return Carried(name, (node and node.conditional.initial) or "zero")


def _gathers(graph: ModelGraph, side: Side) -> Iterator[Gathered]:
    for name, node in side.conditionals.items():
        if node.gathered:
            parents = tuple(parent for parent in node.parents if {*graph.variables[parent].plates} & {*node.gathered})
            network = node.conditional.network
            yield Gathered(side.name, name, parents, node.gathered, (network and network.pool) or "expression")


def _submodel(graph: ModelGraph, node: SubmodelNode) -> Component:
    """A sub-model, and what the spec that it stands in changes of it."""
    outer, _, name = node.name.rpartition(".")
    block = (graph.submodels[outer].spec if outer else graph.spec).submodels[name]
    own = [variable for variable in graph.variables.values() if variable.submodel == node.name]
    added = [
        f"{side.name}({variable.name})"
        for side in (graph.p, graph.q)
        for variable in own
        if variable.name in side.conditionals and side.conditionals[variable.name].submodel != node.name
    ]
    drawn = {f"{node.name}.{key}": draw.gradient or "another temperature" for key, draw in block.q.items()}
    collapsed = tuple(variable.name for variable in own if variable.collapse)
    return Component(node.name, node.file, node.plates, node.weights or None, node.frozen, drawn, collapsed, tuple(added))


def _random(graph: ModelGraph) -> Iterator[tuple[str, ConditionalNode]]:
    return ((name, node) for name, node in graph.q.conditionals.items() if node.family)


def _how_drawn(name: str, node: ConditionalNode) -> Drawn:
    family, gradient, plates = node.family, node.conditional.gradient, node.variable.plates
    assert family is not None
    if node.variable.collapse:
        return Drawn(name, family.name, plates, "mean", False, None, "where it is not known, it is the mean of its conditional")
    assert gradient is not None
    cells = node.cells if gradient == "enumerate" else None
    return Drawn(name, family.name, plates, gradient, family.implicit and gradient == "reparameterised", cells, node.why)


def _how_taken(graph: ModelGraph, name: str) -> Divergence:
    if graph.variables[name].collapse:
        return Divergence(name, "left out", (), "where it is not known, its mean stands for it on each side")
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
    collapsed = tuple(name for name, node in graph.variables.items() if node.collapse)
    schedules = dict(_schedules(graph))
    return Objective(objective.bound, objective.label_term, objective.kl, objective.samples, collapsed, schedules)


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
    return Budget(revealed, data.validation.rows if data.validation else 0, data.slots.order if data.slots else None)


def _revealed(graph: ModelGraph, data: Data, name: str) -> Revealed:
    draws = [draw for draw in data.labels if name in draw.variables]
    counts = [_rows(graph, draw) for draw in draws]
    at_most = None if None in counts or not draws else sum(count or 0 for count in counts)
    plates, classes = graph.variables[name].plates, _classes(graph, name)
    return Revealed(name, plates, classes, at_most, tuple(_draw_of_labels(name, draw) for draw in draws))


def _classes(graph: ModelGraph, name: str) -> int | None:
    """How many values a variable has in a slot, if it is a single one of finitely many."""
    node = graph.p.conditionals[name]
    if node.family is None or not node.family.finite:
        return None
    values, draws = node.family.cells(node.variable.event, node.number)
    return values if draws == 1 else None


def _rows(graph: ModelGraph, draw: LabelDraw) -> int | None:
    """How many rows a draw has at most."""
    for name, each in (draw.rows_per or {}).items():
        classes = _classes(graph, name)
        return each * classes if classes else None
    return draw.rows


def _draw_of_labels(name: str, draw: LabelDraw) -> str:
    amounts = [f"{draw.rows:,} rows"] if draw.rows is not None else []
    amounts += [_share(draw.fraction, one=len(draw.variables) == 1)] if draw.fraction is not None else []
    amounts += [f"{each:,} rows for each value of {other}" for other, each in (draw.rows_per or {}).items()]
    others = [other for other in draw.variables if other != name]
    options = ["balanced"] * draw.balanced + [f"together with {', '.join(others)}"] * bool(others)
    options += [f"seed {draw.seed}"] * (draw.fraction != 1)
    return ", ".join([*amounts, *options])


def _share(fraction: float, one: bool) -> str:
    """A share of the rows that have a label, or several."""
    labels = "one" if one else "all of them"
    return f"every row that has {labels}" if fraction == 1 else f"{100 * fraction:g}% of the rows that have {labels}"


def _paragraph(heading: str, rows: Iterable[Sequence[str]]) -> list[list[str]]:
    """A heading over rows, where there are any."""
    listed = list(rows)
    return [[heading, *_table(listed)]] if listed else []


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
    flat = f"{side.joint} = {' '.join(side.factors)}" if side.factors else side.joint
    if len(flat) <= WIDTH:
        yield flat
    else:
        yield f"{side.joint} ="
        yield from (line for factor in side.factors for line in _broken(factor))
    yield from (f"  {line}" for line in side.computed)


def _broken(product: str) -> list[str]:
    """A product on as many lines as it needs, broken behind its factors alone."""
    wrapper = textwrap.TextWrapper(WIDTH, " " * 4, " " * 6, break_long_words=False, break_on_hyphens=False)
    lines = wrapper.wrap(re.sub(r"(?<!\)) ", "\N{NO-BREAK SPACE}", product))
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _derived(row: Derived) -> Iterator[tuple[str, str]]:
    """An inversion of p: what it makes of q, in the opposite of the order in which it takes variables out of p."""
    first = {"topological": "the roots of p are eliminated first", "reverse": "the leaves of p are eliminated first"}
    yield row.mode, first[row.mode]
    yield "eliminated", ", ".join(row.eliminated) or "nothing"
    yield "sampled", ", ".join(row.conditionals)
    yield from (("assumed", note) for note in row.notes)


def _plated(row: Plated) -> tuple[str, ...]:
    most = f", {row.size:,} at most" if row.count else ""
    return row.plate, f"{row.slots}{most}", ", ".join(row.members) or "nothing"


def _looped(row: Looped) -> tuple[str, ...]:
    begins = {"zero": "from zero", "learned": "from a learned value"}
    carried = ", ".join(f"{each.variable} {begins[each.initial]}" for each in row.carried)
    return row.side, row.plate, ", ".join(row.members), f"carrying {carried}"


def _gathered(row: Gathered) -> tuple[str, ...]:
    how = "in its expression" if row.by == "expression" else f"by {row.by} pooling"
    return row.side, row.variable, f"{', '.join(row.parents)} over {', '.join(row.plates)}", how


def _component(row: Component) -> tuple[str, ...]:
    """A sub-model, and what is changed of it."""
    weights = f"weights of {row.weights}" if row.weights else "new weights"
    changes = [f"{name} drawn by {gradient}" for name, gradient in row.drawn.items()]
    changes += [f"{name} collapsed to its mean" for name in row.collapsed]
    changes += [f"{conditional} written outside of it" for conditional in row.conditionals]
    place = f"in {', '.join(row.plates)}" if row.plates else "once"
    return row.submodel, row.file, place, f"{weights}, {'frozen' if row.frozen else 'trained'}", "; ".join(changes)


def _in_plates(plates: Sequence[str]) -> str:
    return f" in {', '.join(plates)}" if plates else ""


def _drawn(row: Drawn) -> tuple[str, ...]:
    return row.variable, f"{row.family}{_in_plates(row.plates)}", f"{row.gradient}{' (implicitly)' * row.implicit}: {row.why}"


def _divergence(row: Divergence) -> tuple[str, ...]:
    sampled = f", sampled in rows that know {' or '.join(row.labels)}" if row.labels else ""
    said = {"summed": "exact: summed over its values", "closed": f"closed form{sampled}", "sampled": f"sampled: {row.why}"}
    said["left out"] = f"left out: {row.why}"
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
    if row.collapsed:
        lines.append(
            f"  {', '.join(row.collapsed)} collapsed: a row without them is one of a model that has the mean in their place"
        )
    return lines + [f"  {name} follows a {how} schedule" for name, how in row.schedules.items()]


def _costs(found: Cost) -> Iterator[tuple[str, ...]]:
    yield "", "variable", "network", "passes", "parameters", "multiply-adds"
    for row in found.networks:
        yield (
            row.side,
            row.variable,
            row.kind + _frozen(row.frozen),
            f"{row.passes:,}",
            _counted(row.parameters),
            _counted(row.multiply_adds),
        )
    for tensor in found.learned:
        kind = "learned" + _frozen(tensor.frozen)
        yield tensor.side, f"{tensor.variable}.{tensor.parameter}", kind, "", _counted(tensor.parameters), ""
    yield "", "in all", "", "", _counted(found.parameters), _counted(found.multiply_adds)
    if found.frozen != 0:
        yield "", "of which frozen", "", "", _counted(found.frozen), ""


def _counted(number: int | None) -> str:
    return "not known" if number is None else f"{number:,}"


def _frozen(frozen: bool) -> str:
    return ", frozen" * frozen


def _axes(found: Cost, draws: Iterable[Drawn]) -> Iterator[str]:
    cells = {ENUMERATION + row.variable: row.cells for row in draws if row.cells}
    powers = {axis: f"{cells[axis][0]:,}{f'^{cells[axis][1]}' * (cells[axis][1] > 1)}" for axis in found.axes if axis in cells}
    sizes = ", ".join(f"{power} of {axis.removeprefix(ENUMERATION)}" for axis, power in powers.items())
    yield f"  {found.cells:,} cell(s){': ' * bool(sizes)}{sizes}; {found.axes[SAMPLE]:,} sample(s)"
    if found.q_passes > 1:
        yield f"  the bound computes q {found.q_passes} times"


def _labels(found: Budget | None, plates: Iterable[Plated]) -> list[str]:
    counts = {row.plate: row.slots for row in plates if row.count}
    evidence = [
        f"  a label of {row.variable} says of its slot that {counts[plate]}"
        for row in (found.revealed if found else ())
        for plate in row.plates
        if plate in counts
    ]
    if found is None:
        return ["  the spec has no data"]
    order = [f"  the slots of a row stand {found.order.replace('_', ' ')}"] if found.order else []
    aside = [f"  validation: {found.validation:,} rows, all of whose labels are read"] * bool(found.validation)
    return [*_table(map(_of_variable, found.revealed)), *order, *evidence, *aside]


def _of_variable(row: Revealed) -> tuple[str, ...]:
    most = "known once the data is read" if row.at_most is None else f"at most {row.at_most:,}"
    classes = f"{row.classes:,} classes" if row.classes else "no classes"
    return row.variable, f"{classes}{_in_plates(row.plates)}", most, "; ".join(row.draws) or "no draw"
