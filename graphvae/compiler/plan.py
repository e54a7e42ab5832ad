"""Plan: how to compute, in steps. Every decision that the emitted code embodies is made here; the emitter only writes.

The verb is `schedule`, in a file of its own. A value carries named axes, from left to right `enumeration NAME` (one for each
enumerated variable), `sample`, `row`, its plates and, behind them, the shape of its event. The axes are an upper bound: an axis
is there only if an ancestor brings it, and at run time only if that ancestor is unknown. Inside a loop a value has no axis for
the slots of its plate, and inside a sub-model none for the plates that the sub-model stands in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from graphvae.compiler.errors import Span
from graphvae.compiler.expressions import Expression
from graphvae.compiler.families import Family, Gradient, Link
from graphvae.compiler.gradients import Divergence
from graphvae.compiler.graph import SideName, VariableNode
from graphvae.compiler.names import local_name
from graphvae.compiler.spec import Network

SAMPLE, ROW = "sample", "row"


@dataclass(frozen=True)
class Value:
    """A tensor of the emitted code: [axes..., event...]. `name` is the variable's, or that of a parameter of one."""

    name: str
    python: str
    axes: tuple[str, ...]
    event: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.python} [{', '.join([*self.axes, *map(str, self.event)])}]"


@dataclass(frozen=True)
class NetworkPlan:
    """A network: its attribute, the event shapes of its parents by their Python names, and its heads.

    Without heads it gives its last hidden layer. `state` names the parent that is the state of a recurrent unit.
    """

    attribute: str
    parents: tuple[tuple[str, tuple[int, ...]], ...]
    heads: tuple[tuple[str, tuple[int, ...]], ...]
    block: Network
    state: str = ""


@dataclass(frozen=True)
class PoolPlan:
    """What gathers the slots of plates: an mlp for every slot's parents, and a pool over the last plates, with their sizes."""

    attribute: str
    parents: tuple[tuple[str, tuple[int, ...]], ...]
    hidden: tuple[int, ...]
    over: str
    plates: tuple[int, ...]
    activation: str


@dataclass(frozen=True)
class Input:
    """A value that a step reads: `key` is the name under which a network knows it, and `spread` the places, from the right,
    where an axis for a plate that it does not have is inserted, one after the other, after the axes that are `moved`, each from
    a place to another.
    """

    key: str
    value: Value
    spread: tuple[int, ...] = ()
    moved: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Parameter:
    """One parameter of a family: a head of the network, a learned tensor, a constant tensor, or a number.

    `keyword` is set where the family would not expect the parameter at its place. `link` is what turns `python` into the
    parameter: the identity, where a constant or a number is the parameter itself. `shape` is that of a learned or constant
    tensor; a learned one that is `spread` begins at random.
    """

    name: str
    kind: Literal["head", "learned", "constant", "number", "expression"]
    python: str
    link: Link
    floor: float
    ceiling: float
    number: float
    shape: tuple[int, ...]
    keyword: bool
    spread: bool


@dataclass(frozen=True)
class Given:
    """Evidence that q conditions on, or a covariate of p; with a mask of what is there, where some of it may be missing."""

    value: Value
    mask: Value | None
    span: Span | None


@dataclass(frozen=True)
class Compute:
    """One pass through a network, for a deterministic variable or for the parameters of the next draw or score."""

    network: NetworkPlan
    inputs: tuple[Input, ...]
    outputs: tuple[Value, ...]
    variable: str
    deterministic: bool
    span: Span | None


@dataclass(frozen=True)
class Gather:
    """The slots of parents in plates as one vector; `active` are the weights of the slots of a plate that has a count."""

    pool: PoolPlan
    inputs: tuple[Input, ...]
    active: Input | None
    output: Value
    span: Span | None


@dataclass(frozen=True)
class Assign:
    """A value that an expression computes: `code` is the text, `needs` what it imports, and `tree` what it was made from.

    What is the same in every pass is a buffer of the model: `code` reads it, and `constant` is the text that makes it.
    """

    value: Value
    code: str
    needs: tuple[str, ...]
    inputs: tuple[Value, ...]
    deterministic: bool
    tree: Expression
    span: Span | None
    constant: str = ""


@dataclass(frozen=True)
class Index:
    """The one-hot indices of a plate's slots, a constant."""

    value: Value
    size: int


@dataclass(frozen=True)
class Active:
    """The weights of a plate's slots, which follow from a count: of a category, from the numbers that categories stand for.

    `plates` are those that the count has an axis for, with their sizes.
    """

    plate: str
    size: int
    count: Value
    values: tuple[int, ...] | None
    value: Value
    used: bool
    plates: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Draw:
    """A draw from a conditional of q, or its value where it is known.

    `enumeration` numbers the axis of an enumerated one; `used` says whether a later step of the side reads the value; `number`
    is the argument that the family takes beside its parameters, if any. `cells` are the sizes of the enumeration axes, the
    first one first and 1 for one that it does not have, over which a score-function draw needs noise of its own. `divergence`
    says whether log q - log p has a closed form. `plates` are those that its value has an axis for, with sizes. `collapse`
    says that an unknown value is the mean. `shape` is that of the value in a row, in all its slots.
    """

    value: Value
    used: bool
    family: Family
    parameters: tuple[Parameter, ...]
    number: int | None
    gradient: Gradient
    enumeration: int | None
    cells: tuple[int, ...]
    divergence: Divergence
    labelled: bool
    span: Span | None
    plates: tuple[tuple[str, int], ...]
    collapse: bool
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Score:
    """The log-probability of a value under a conditional of p; in generation, the draw itself."""

    value: Value
    used: bool
    family: Family
    parameters: tuple[Parameter, ...]
    number: int | None
    span: Span | None
    plates: tuple[tuple[str, int], ...]
    collapse: bool


@dataclass(frozen=True)
class Slice:
    """The slot of a loop, of a value that was made outside of it for all slots."""

    value: Value
    source: Value


@dataclass(frozen=True)
class Carried:
    """What a slot hands on to the next: `before` is read there, and `after` made here. The first slot begins with `initial`, an
    attribute of that shape, which is learned or zero.
    """

    before: Value
    after: Value
    initial: str
    shape: tuple[int, ...]
    learned: bool


@dataclass(frozen=True)
class Loop:
    """The slots of an ordered plate, one after the other. `python` names the draws of a slot; `kept` are computed values that
    are read behind the loop, and `stacked` all that is.
    """

    plate: str
    size: int
    python: str
    carried: tuple[Carried, ...]
    body: tuple[Step, ...]
    kept: tuple[Value, ...]
    stacked: tuple[Value, ...]

    @property
    def last(self) -> set[str]:
        """What is read at the end of a slot."""
        return {value.python for value in (*(each.after for each in self.carried), *self.kept)}


@dataclass(frozen=True)
class Call:
    """A sub-model's side: its attribute and class, what it is given, and what is read of what it makes, by its own names."""

    submodel: str
    python: str
    attribute: str
    class_name: str
    side: SidePlan
    inputs: tuple[tuple[str, Value], ...]
    outputs: tuple[tuple[str, Value], ...]
    plates: tuple[tuple[str, int], ...]
    span: Span | None


Step = Given | Index | Active | Compute | Gather | Assign | Draw | Score | Slice | Loop | Call


@dataclass(frozen=True)
class SidePlan:
    """The steps of p or q in topological order, what is given first. `path` leads to the sub-model whose side it is."""

    name: SideName
    factorisation: str
    steps: tuple[Step, ...]
    path: str = ""

    @property
    def every(self) -> tuple[Step, ...]:
        """The steps, those inside of loops and sub-models, too."""
        return tuple(_every(self.steps))

    def local(self, name: str) -> str:
        """A variable by the name that it has in here."""
        return local_name(name, self.path)


def _every(steps: Iterable[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        if isinstance(step, Loop):
            yield from _every(step.body)
        if isinstance(step, Call):
            yield from _every(step.side.steps)


def calls(steps: Iterable[Step]) -> Iterator[Call]:
    """The sub-models that steps call themselves, be it in a loop."""
    for step in steps:
        if isinstance(step, Loop):
            yield from calls(step.body)
        elif isinstance(step, Call):
            yield step


@dataclass(frozen=True)
class CountPlan:
    """A plate whose slots are counted: the count, and what its categories stand for, if that is written."""

    plate: str
    count: str
    values: tuple[int, ...] | None


@dataclass(frozen=True)
class Plan:
    """Both sides, and the facts that the model's class states. `span` is the place of the model in its spec.

    The sub-models that are `frozen` never train, and in those that are `settled` batch normalisation keeps its statistics.
    """

    model: str
    class_name: str
    description: str
    span: Span | None
    variables: tuple[VariableNode, ...]
    enumerated: tuple[str, ...]
    bound: str
    label_term: str
    q: SidePlan
    p: SidePlan
    sizes: Mapping[str, int]
    counts: tuple[CountPlan, ...]
    frozen: tuple[str, ...]
    settled: tuple[str, ...]

    def __str__(self) -> str:
        facts = [
            f"noise: {', '.join(map(str, self.noise)) or '-'}",
            f"labels: {', '.join(self.labels) or '-'} ({self.label_term})",
            f"bound: {self.bound}",
            f"closed KL: {', '.join(map(_shown_closed, self.closed_kl.items())) or '-'}",
        ]
        return "\n".join([*_listing("infer", self.q), "", *_listing("score", self.p), "", *facts]) + "\n"

    @property
    def draws(self) -> tuple[Draw, ...]:
        """What q infers, in its order."""
        return tuple(step for step in self.q.every if isinstance(step, Draw))

    @property
    def noise(self) -> tuple[Value, ...]:
        """The noise that q needs: a value in the shape of each sampled variable, for every sample and row."""
        drawn = (step for step in self.draws if step.enumeration is None and not step.collapse)
        return tuple(Value(d.value.name, d.value.name, (SAMPLE, ROW), (*reversed(d.cells), *d.shape)) for d in drawn)

    @property
    def closed_kl(self) -> dict[str, tuple[str, ...]]:
        """The variables whose divergence has a closed form, and the labels each of which takes it away in its rows."""
        return {step.value.name: step.divergence.labels for step in self.draws if step.divergence.closed}

    @property
    def labels(self) -> tuple[str, ...]:
        """The variables that may be known in some rows, in q's order: each has its own alpha."""
        return tuple(step.value.name for step in self.draws if step.labelled)

    def slots(self, variable: VariableNode) -> tuple[int, ...]:
        """The sizes of a variable's plates."""
        return tuple(self.sizes[plate] for plate in variable.plates)

    def check(self) -> None:
        """What must hold of any plan that `schedule` makes; a failure is a fault of ours."""
        for side in (self.q, self.p):
            _check_scope(side.steps, {}, [])
        drawn = {step.value.name: step for step in self.draws}
        scored = {step.value.name: step for step in self.p.every if isinstance(step, Score)}
        assert all(self._agree(scored[name].value, step) for name, step in drawn.items())
        assert all(scored[name].family.support == step.family.support for name, step in drawn.items())
        assert set(scored) == {node.name for node in self.variables if node.role != "given"}
        assert set(drawn) == {node.name for node in self.variables if node.inferred}
        assert set(self.labels) == {node.name for node in self.variables if node.role == "supervised"}
        assert self.enumerated == tuple(step.value.name for step in self.draws if step.enumeration is not None)
        axes = [step.enumeration for step in self.draws if step.enumeration is not None]
        assert axes == sorted(set(axes)), axes

    def _agree(self, scored: Value, draw: Draw) -> bool:
        """Whether p scores a value as q draws it: but a side has no axis for the slots of its loops."""
        ours, theirs = ([axis for axis in value.axes if axis not in self.sizes] for value in (scored, draw.value))
        return (scored.name, scored.event) == (draw.value.name, draw.value.event) and (draw.collapse or ours == theirs)


def _check_scope(steps: Sequence[Step], outer: Mapping[str, Value], attributes: list[str], last: Iterable[str] = ()) -> None:
    """Every value is made before it is read, under a name of its own, and every attribute once; `last` is read at the end."""
    made, read = dict(outer), {value.python for step in steps for value in every_read(step)} | set(last)
    heads: tuple[Value, ...] = ()
    for step in steps:
        for value in reads(step):
            assert made.get(value.python) == value or value in heads, (step, value)
        assert not isinstance(step, Draw | Score | Active) or step.used == (step.value.python in read), step
        match step:
            case Compute():
                assert step.network.parents == tuple((each.key, each.value.event) for each in step.inputs), step
                attributes.append(f"self.{step.network.attribute}")
                heads = () if step.deterministic else step.outputs
            case Assign():
                attributes += [step.code] if step.constant else []
                heads = () if step.deterministic else heads
            case Draw() | Score():
                computed = tuple(row.python for row in step.parameters if row.kind == "head")
                assert computed == tuple(head.python for head in heads), step
                attributes += [row.python for row in step.parameters if row.kind in ("learned", "constant")]
                heads = ()
            case Loop():
                inside = {each.before.python: each.before for each in step.carried}
                _check_scope(step.body, made | inside, attributes, step.last)
            case Call():
                attributes.append(f"self.{step.attribute}")
                _check_scope(step.side.steps, {}, [])
        for value in makes(step):
            assert value.python.removeprefix("self.").isidentifier(), value
            assert value.python not in made or isinstance(step, Loop), value
            made[value.python] = value
    assert len(attributes) == len(set(attributes)), attributes


def makes(step: Step) -> tuple[Value, ...]:
    """The values that a step makes for later ones; heads do not outlive the draw that they are for."""
    match step:
        case Compute():
            return step.outputs if step.deterministic else ()
        case Gather():
            return (step.output,)
        case Assign():
            return (step.value,) if step.deterministic else ()
        case Given():
            return (step.value, step.mask) if step.mask else (step.value,)
        case Loop():
            return step.stacked
        case Call():
            return tuple(value for _, value in step.outputs)
        case _:
            return (step.value,)


def reads(step: Step) -> tuple[Value, ...]:
    """The values of earlier steps that a step reads."""
    match step:
        case Compute():
            return tuple(each.value for each in step.inputs)
        case Gather():
            return (*(each.value for each in step.inputs), *([step.active.value] if step.active else []))
        case Assign():
            return step.inputs
        case Active():
            return (step.count,)
        case Slice():
            return (step.source,)
        case Call():
            return tuple(value for _, value in step.inputs)
        case _:
            return ()


def every_read(step: Step) -> Iterator[Value]:
    """What a step reads, and what the steps inside of a loop do."""
    yield from reads(step)
    if isinstance(step, Loop):
        yield from (value for each in step.body for value in every_read(each))


def _listing(verb: str, side: SidePlan) -> list[str]:
    return [f"{verb}: {side.factorisation}", *(f"  {line}" for line in _lines(side.steps))]


def _lines(steps: Iterable[Step]) -> Iterator[str]:
    for step in steps:
        yield _line(step)
        if isinstance(step, Loop):
            yield from (f"  {line}" for line in _lines(step.body))
        if isinstance(step, Call):
            yield from (f"  {line}" for line in _lines(step.side.steps))


def _shown_closed(entry: tuple[str, tuple[str, ...]]) -> str:
    name, labels = entry
    return f"{name} (unless {' or '.join(labels)} is known)" if labels else name


def _line(step: Step) -> str:
    span = getattr(step, "span", None)
    return _text(step) + (f"  line {span.line}" if span else "")


def _text(step: Step) -> str:
    match step:
        case Given():
            return f"given    {step.value}{f', {step.mask}' if step.mask else ''}"
        case Index():
            return f"index    {step.value}"
        case Active():
            return f"active   {step.value} from {step.count.python}"
        case Compute():
            inputs = ", ".join(each.value.python for each in step.inputs)
            return f"compute  {', '.join(map(str, step.outputs))} = {step.network.attribute}({inputs})"
        case Gather():
            inputs = ", ".join(each.value.python for each in step.inputs)
            return f"gather   {step.output} = {step.pool.attribute}({inputs})  {step.pool.over}"
        case Assign():
            return f"assign   {step.value} = {step.code}"
        case Draw():
            how = "collapsed to its mean" if step.collapse else step.gradient
            return f"draw     {step.value} ~ {_conditional(step)}  {how}{', labelled' * step.labelled}"
        case Score():
            return f"score    {step.value} ~ {_conditional(step)}{'  collapsed to its mean' * step.collapse}"
        case Slice():
            return f"slice    {step.value} of {step.source.python}"
        case Loop():
            carried = ", ".join(f"{each.before.python} = {each.after.python}" for each in step.carried)
            return f"loop     {step.plate} of {step.size}, carrying {carried}"
        case Call():
            return f"call     {step.submodel}({', '.join(value.python for _, value in step.inputs)})  {step.side.factorisation}"


def _conditional(step: Draw | Score) -> str:
    return f"{step.family.name}({', '.join(parameter.python for parameter in step.parameters)})"
