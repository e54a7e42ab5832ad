"""Emitted source: a Plan as one Python file that a colleague would be glad to have written.

The verb is `emit`. It decides nothing: where it would need an `if` about the model, the Plan lacks a fact. Every draw, score
and deterministic value ends with the spec's file and line.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from graphvae.compiler.errors import Span
from graphvae.compiler.families import INFINITY, POSITIVE_FLOOR
from graphvae.compiler.graph import VariableNode
from graphvae.compiler.plan import (
    Active,
    Assign,
    Call,
    Carried,
    Compute,
    Draw,
    Gather,
    Given,
    Index,
    Input,
    Loop,
    NetworkPlan,
    Parameter,
    Plan,
    PoolPlan,
    Score,
    SidePlan,
    Slice,
    Step,
    calls,
)
from graphvae.compiler.plugins import Plugin
from graphvae.compiler.spec import KINDS, Network

WIDTH = 100
_OWN = "plugin."


def emit(plan: Plan, plugin: Plugin | None = None) -> str:
    """The Python source of a plan, which imports the classes of the plugin that it needs. The same plan gives the same bytes.

    >>> from graphvae.compiler.pipeline import compile_file
    >>> for line in emit(compile_file("specs/digits.yaml").plan).splitlines():
    ...     if "# digits.yaml" in line:
    ...         print(line.strip())
    digit = draw.enumerate("digit", Categorical(logits), axis=0)  # digits.yaml:13
    draw.sample("style", Normal(loc, positive(scale)))  # digits.yaml:14
    digit = draw.sample("digit", Categorical(self.digit_logits))  # digits.yaml:5
    style = draw.sample("style", Normal(0.0, 1.0))  # digits.yaml:6
    draw.sample("image", Bernoulli(logits, event=3))  # digits.yaml:10
    """
    classes = [*_side_classes("Encoder", plan.q), *_side_classes("Decoder", plan.p), _model_class(plan)]
    body = "\n\n\n".join("\n".join(lines) for lines in classes)
    return "\n".join([*_header(plan), *_imports(plan), *_plugin_imports(plan, plugin), "", "", body, ""])


def _header(plan: Plan) -> Iterator[str]:
    title = f"{plan.model}: {plan.description}" if plan.description else plan.model
    origin = f" from {_file(plan.span)}" if plan.span else ""
    yield from textwrap.wrap(f'"""{_quotable(title)}', WIDTH, break_long_words=False)
    yield from ("", f"Compiled by graphvae{_quotable(origin)}.", '"""', "")


def _quotable(text: str) -> str:
    """Text that may stand in a docstring, whatever a person wrote."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return printable.replace("\\", "\\\\").replace('"""', "'''")


def _imports(plan: Plan) -> Iterator[str]:
    steps = [*plan.q.every, *plan.p.every]
    parameters = [row for step in steps if isinstance(step, Draw | Score) for row in step.parameters]
    needed = _needed(plan)
    carries = any(isinstance(step, Index) or (isinstance(step, Loop) and step.carried) for step in steps)
    if "torch" in needed or carries or any(row.kind in ("learned", "constant") for row in parameters):
        yield "import torch"
    yield "from torch import nn"
    yield from (f"from torch.nn import {name.rsplit('.', 1)[-1]}" for name in sorted(needed) if name.startswith("torch.nn."))
    yield ""
    names = {"Draws", "Model", "Variable"} | {name for name in needed if "torch" not in name and not name.startswith(_OWN)}
    names |= {"Pool"} if any(isinstance(step, Gather) for step in steps) else set()
    names |= {"Count"} if plan.counts else set()
    names |= {variable.family.distribution for variable in plan.variables if variable.family}
    names |= {step.family.distribution for step in plan.draws}
    names |= {network.module for network in _networks(plan) if network.kind in KINDS}
    names |= {row.link for row in parameters if row.link != "identity"}
    yield from _import("graphvae.runtime", names)


def _needed(plan: Plan) -> set[str]:
    """What expressions need to import."""
    return {name for step in (*plan.q.every, *plan.p.every) if isinstance(step, Assign) for name in step.needs}


def _plugin_imports(plan: Plan, plugin: Plugin | None) -> Iterator[str]:
    functions = {name.removeprefix(_OWN) for name in _needed(plan) if name.startswith(_OWN)}
    if names := functions | {network.module for network in _networks(plan) if network.kind not in KINDS}:
        assert plugin is not None
        yield ""
        yield from _import(plugin.module, names)


def _networks(plan: Plan) -> list[Network]:
    return [step.network.block for step in (*plan.q.every, *plan.p.every) if isinstance(step, Compute)]


def _import(module: str, names: Iterable[str]) -> list[str]:
    """Classes, then functions; on one line where they fit."""
    ordered = sorted(names, key=lambda name: (name.islower(), name))
    flat = f"from {module} import {', '.join(ordered)}"
    return [flat] if len(flat) <= WIDTH else _Call(f"from {module} import (", ordered).exploded(0)


def _side_classes(name: str, side: SidePlan) -> Iterator[Iterator[str]]:
    """The class of a side, behind those of the sub-models in it."""
    for call in calls(side.steps):
        yield from _side_classes(call.class_name, call.side)
    yield _network_class(name, side)


def _network_class(name: str, side: SidePlan) -> Iterator[str]:
    yield f"class {name}(nn.Module):"
    origin = [f"of the sub-model {side.path}"] if side.path else []
    yield from _docstring(side.factorisation + "," * bool(origin), *origin)
    yield ""
    yield "    def __init__(self):"
    yield "        super().__init__()"
    for step in side.steps:
        yield from _indented(_attributes(step))
    yield ""
    yield "    def forward(self, evidence, noise, knobs):"
    yield "        draw = Draws(evidence, noise, knobs)"
    yield from _indented(_Body(side, "draw", 8).statements(side.steps))
    yield "        return draw.made"


def _indented(lines: Iterable[str], by: int = 8) -> Iterator[str]:
    return (" " * by + line if line else "" for line in lines)


def _attributes(step: Step) -> Iterator[str]:
    """What a step keeps from call to call: its network, or its learned and constant tensors."""
    match step:
        case Compute():
            yield from _constructor(step.network).lines(8)
        case Gather():
            yield from _pool(step.pool).lines(8)
        case Draw() | Score():
            yield from (_tensor(row) for row in step.parameters if row.kind in ("learned", "constant"))
        case Index():
            yield _buffer(step.value.python, f"torch.eye({step.size})")
        case Assign() if step.constant:
            yield _buffer(step.code, step.constant)
        case Call():
            yield f"self.{step.attribute} = {step.class_name}()"
        case Loop():
            for each in step.carried:
                yield _initial(each)
            for inner in step.body:
                yield from _attributes(inner)


def _initial(carried: Carried) -> str:
    """What stands before the first slot."""
    zeros, name = f"torch.zeros({_sizes(carried.shape)})", f"self.{carried.initial}"
    return f"{name} = nn.Parameter({zeros})" if carried.learned else _buffer(name, zeros)


def _sizes(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape)) if shape else "()"


def _buffer(python: str, value: str) -> str:
    """A constant that moves with the model, and is no part of its state."""
    return f'self.register_buffer("{python.removeprefix("self.")}", {value}, persistent=False)'


def _pool(pool: PoolPlan) -> _Call:
    arguments: list[str | _Call] = [_shapes("{", pool.parents), f"hidden={list(pool.hidden)}", f'over="{pool.over}"']
    arguments.append(f"plates={pool.plates}")
    arguments += [f'activation="{pool.activation}"'] * (pool.activation != Network().activation)
    return _Call(f"self.{pool.attribute} = Pool(", arguments)


def _constructor(network: NetworkPlan) -> _Call:
    block, default = network.block, Network()
    own = {key: getattr(block, key) for key in block.keys if key != "options"}
    widths = [f"{key}={list(value)}" for key, value in own.items() if isinstance(value, tuple)]
    options = {k: v for k, v in own.items() if not isinstance(v, tuple) and v != getattr(default, k)} | block.options
    arguments: list[str | _Call] = [_shapes("{", network.parents), *widths]
    arguments += [f'state="{network.state}"'] if network.state else [_shapes("heads={", network.heads)]
    arguments += [f"{key}={_literal(value)}" for key, value in options.items()]
    return _Call(f"self.{network.attribute} = {block.module}(", arguments)


def _shapes(opening: str, named: Iterable[tuple[str, tuple[int, ...]]]) -> _Call:
    return _Call(opening, [f'"{name}": {shape}' for name, shape in named], "}")


def _tensor(row: Parameter) -> str:
    shape = _sizes(row.shape)
    if row.kind == "learned":
        return f"{row.python} = nn.Parameter(torch.{'randn' if row.spread else 'zeros'}({shape}))"
    return _buffer(row.python, f"torch.full({row.shape}, {row.number})" if row.number else f"torch.zeros({shape})")


@dataclass(frozen=True)
class _Body:
    """Writes the lines of a scope: a `forward`, or a loop in it. `draw` names what records in here, at that indentation."""

    side: SidePlan
    draw: str
    indent: int

    def statements(self, steps: Sequence[Step]) -> Iterator[str]:
        """The lines, each pass through a network in a paragraph with the draw that it is for."""
        written = [step for step in steps if not isinstance(step, Index)]
        for previous, step in pairwise([None, *written]):
            if previous and step and _starts_paragraph(previous, step):
                yield ""
            if step:
                yield from self.statement(step)
        if written and _ends_paragraph(written[-1]):
            yield ""

    def statement(self, step: Step) -> list[str]:
        draw = self.draw
        match step:
            case Given() if step.mask:
                return [f'{step.value.python}, {step.mask.python} = {draw}.masked("{self.side.local(step.value.name)}")']
            case Given():
                return [f'{step.value.python} = {draw}.given("{self.side.local(step.value.name)}")']
            case Active():
                values = f"values={list(step.values)}" if step.values is not None else "values=None"
                arguments = [f'"{step.plate}"', step.count.python, values, f"size={step.size}"]
                arguments += [_plates(step.plates)] if step.plates else []
                target = f"{step.value.python} = " if step.used else ""
                return _Call(f"{target}{draw}.active(", arguments).lines(self.indent)
            case Compute():
                outputs = ", ".join(value.python for value in step.outputs)
                comment = _comment(step.span) if step.deterministic else ""
                return _Call(f"{outputs} = self.{step.network.attribute}(", _inputs(step.inputs)).lines(self.indent, comment)
            case Gather():
                active = [f"active={_read(step.active)}"] if step.active else []
                opening = f"{step.output.python} = self.{step.pool.attribute}("
                return _Call(opening, [*_inputs(step.inputs), *active]).lines(self.indent)
            case Assign():
                return self.assigned(step)
            case Slice():
                return [f"{step.value.python} = {draw}.at({step.source.python}, {len(step.value.event)})"]
            case Draw() | Score() if step.collapse:
                return self.drawn(step, "mean", [])
            case Draw() if step.enumeration is not None:
                return self.drawn(step, "enumerate", [f"axis={step.enumeration}"])
            case Draw() if step.gradient != "reparameterised":
                return self.drawn(step, step.gradient, [f"axes={len(step.cells)}"] if step.cells else [])
            case Draw() | Score():
                return self.drawn(step, "sample", [])
            case Loop():
                return list(self.loop(step))
            case Call():
                return self.call(step)
            case Index():
                return []

    def drawn(self, step: Draw | Score, verb: str, options: Sequence[str]) -> list[str]:
        target = f"{step.value.python} = " if step.used else ""
        plates = [_plates(step.plates)] if step.plates else []
        arguments: list[str | _Call] = [f'"{self.side.local(step.value.name)}"', _distribution(step), *options, *plates]
        return _Call(f"{target}{self.draw}.{verb}(", arguments).lines(self.indent, _comment(step.span))

    def assigned(self, step: Assign) -> list[str]:
        """An expression, in brackets of its own where it is long."""
        comment = _comment(step.span) if step.deterministic else ""
        flat = f"{step.value.python} = {step.code}{comment}"
        if self.indent + len(flat) <= WIDTH:
            return [flat]
        return [f"{step.value.python} = (", f"    {step.code}", f"){comment}"]

    def loop(self, step: Loop) -> Iterator[str]:
        """What is carried, the slots, and what is read behind them."""
        for each in step.carried:
            yield f"{each.before.python} = self.{each.initial}"
        yield f'for {step.python} in {self.draw}.slots("{step.plate}", size={step.size}):'
        inner = _Body(self.side, step.python, self.indent + 4)
        lines = list(inner.statements(step.body))
        for value in step.kept:
            event = f", event={len(value.event)}" if len(value.event) != 1 else ""
            lines.append(f'{step.python}.keep("{self.side.local(value.name)}", {value.python}{event})')
        if step.carried:
            before, after = ([getattr(each, key).python for each in step.carried] for key in ("before", "after"))
            lines.append(f"{', '.join(before)} = {', '.join(after)}")
        yield from _indented(lines, by=4)
        for value in step.stacked:
            yield f'{value.python} = {self.draw}.stack("{self.side.local(value.name)}")'

    def call(self, step: Call) -> list[str]:
        """A sub-model, and what is read of what it makes."""
        target = f"{step.python} = " if step.outputs else ""
        plates = [_plates(step.plates)] if step.plates else []
        arguments = [f'"{step.submodel}"', f"self.{step.attribute}", *plates]
        arguments += [f"{name}={value.python}" for name, value in step.inputs]
        lines = _Call(f"{target}{self.draw}.call(", arguments).lines(self.indent, _comment(step.span))
        return lines + [f'{value.python} = {step.python}["{name}"]' for name, value in step.outputs]


def _inputs(inputs: Iterable[Input]) -> list[str]:
    return [f"{each.key}={_read(each)}" for each in inputs]


def _read(read: Input) -> str:
    """A value, with axes for the plates that it does not have."""
    changes = [f".movedim({start}, {end})" for start, end in read.moved] + [f".unsqueeze({place})" for place in read.spread]
    return read.value.python + "".join(changes)


def _plates(plates: Iterable[tuple[str, int]]) -> str:
    return f"plates={{{', '.join(f'{_literal(name)}: {size}' for name, size in plates)}}}"


def _starts_paragraph(previous: Step, step: Step) -> bool:
    after_evidence = isinstance(previous, Given) and not isinstance(step, Given)
    within = isinstance(previous, Gather | Compute | Assign) and not _ends_paragraph(previous)
    opens = isinstance(step, Compute | Gather | Assign | Loop | Call) and not within
    return opens or _ends_paragraph(previous) or after_evidence


def _ends_paragraph(step: Step) -> bool:
    """Whether a network's work is done with this step."""
    match step:
        case Draw() | Score():
            return any(row.kind in ("head", "expression") for row in step.parameters)
        case Compute() | Assign():
            return step.deterministic
        case Loop() | Call():
            return True
        case _:
            return False


def _distribution(step: Draw | Score) -> _Call:
    arguments = [_argument(row) for row in step.parameters]
    dimensions = len(step.value.event)
    if step.number is not None and step.family.number:
        arguments.append(f"{step.family.number.name}={step.number}")
    return _Call(f"{step.family.distribution}(", arguments + [f"event={dimensions}"] * (dimensions != 1))


def _argument(row: Parameter) -> str:
    floor = f", floor={row.floor}" if row.floor != POSITIVE_FLOOR else ""
    bounds = floor + (f", ceiling={row.ceiling}" if row.ceiling != INFINITY else "")
    value = row.python if row.link == "identity" else f"{row.link}({row.python}{bounds})"
    return f"{row.name}={value}" if row.keyword else value


def _model_class(plan: Plan) -> Iterator[str]:
    yield f"class {plan.class_name}(Model):"
    yield from _docstring(f"{plan.p.factorisation},", f"trained through {plan.q.factorisation}")
    yield ""
    yield "    variables = {"
    for variable in plan.variables:
        yield from _indented(_variable(variable, plan).lines(8, ","))
    yield "    }"
    if plan.counts:
        yield from _counts(plan)
    for key, names in (("frozen", plan.frozen), ("settled", plan.settled)):
        if names:
            yield f"    {key} = ({''.join(f'{_literal(name)}, ' for name in names).rstrip()})"
    if plan.bound != "self_normalised":
        yield f'    bound = "{plan.bound}"'
    yield f'    label_term = "{plan.label_term}"'
    if plan.closed_kl:
        yield from _closed_kl(plan)
    yield ""
    yield "    def __init__(self):"
    yield "        super().__init__(Encoder(), Decoder())"


def _counts(plan: Plan) -> Iterable[str]:
    """The plates whose active slots are counted."""
    entries: list[str | _Call] = [
        _Call(f"{_literal(row.plate)}: Count(", [_literal(row.count), *([f"values={row.values}"] if row.values else [])])
        for row in plan.counts
    ]
    return _indented(_Call("plates = {", entries, "}").lines(4), by=4)


def _closed_kl(plan: Plan) -> Iterable[str]:
    """The draws whose divergence has a closed form, each with the labels that take it away where they are known."""
    entries = [
        f'"{name}": ({"".join(f"{_literal(label)}, " for label in labels).rstrip()})' for name, labels in plan.closed_kl.items()
    ]
    return _indented(_Call("closed_kl = {", entries, "}").lines(4), by=4)


def _variable(variable: VariableNode, plan: Plan) -> _Call:
    assert variable.family is not None
    draw = next((step for step in plan.draws if step.value.name == variable.name), None)
    arguments = [f'"{variable.role}"', variable.family.distribution, str(variable.event)]
    if draw and draw.family != variable.family:
        arguments.append(f"posterior={draw.family.distribution}")
    arguments += ["enumerated=True"] * (variable.name in plan.enumerated) + ["soft=True"] * variable.soft
    arguments += ["masked=True"] * variable.masked + ["collapse=True"] * variable.collapse
    if variable.plates:
        arguments.append(_plates((plate, plan.sizes[plate]) for plate in variable.plates))
    if variable.family.number and variable.family.number.argument:
        arguments.append(f"number={variable.number}")
    if draw and draw.cells:
        arguments.append(f"cells={draw.cells}")
    return _Call(f'"{variable.name}": Variable(', arguments)


def _docstring(*sentences: str) -> list[str]:
    """A docstring on one line, or a sentence a line."""
    flat = f'    """{" ".join(sentences)}"""'
    if len(flat) <= WIDTH:
        return [flat]
    wrapped = [line for sentence in sentences for line in textwrap.wrap(sentence, WIDTH - 8, subsequent_indent="    ")]
    return textwrap.indent("\n".join([f'"""{wrapped[0]}', *wrapped[1:], '"""']), "    ").split("\n")


def _comment(span: Span | None) -> str:
    return f"  # {_file(span)}:{span.line}" if span else ""


def _file(span: Span) -> str:
    """The name of the spec's file, without its folder."""
    name = span.file.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(letter if letter.isprintable() else " " for letter in name)


def _literal(value: object) -> str:
    """Plain data as Python writes it, text in double quotes where it holds none."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_literal(key)}: {_literal(each)}' for key, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    text = repr(value)
    return f'"{text[1:-1]}"' if isinstance(value, str) and text[0] == "'" and '"' not in text else text


@dataclass(frozen=True)
class _Call:
    """Arguments in brackets: on one line where they fit, else on a line of their own, else an argument a line."""

    opening: str
    arguments: Sequence[str | _Call]
    closing: str = ")"

    def __str__(self) -> str:
        return f"{self.opening}{', '.join(map(str, self.arguments))}{self.closing}"

    def lines(self, indent: int, after: str = "") -> list[str]:
        """The lines, for a place with that much indentation before it and that text behind it."""
        flat, inside = f"{self}{after}", ", ".join(map(str, self.arguments))
        if indent + len(flat) <= WIDTH or not self.arguments:
            return [flat]
        if indent + 4 + len(inside) <= WIDTH:
            return [self.opening, f"    {inside}", f"{self.closing}{after}"]
        return self.exploded(indent, after)

    def exploded(self, indent: int, after: str = "") -> list[str]:
        """An argument a line."""
        each = [a.lines(indent + 4, ",") if isinstance(a, _Call) else [f"{a},"] for a in self.arguments]
        return [self.opening, *(f"    {line}" for lines in each for line in lines), f"{self.closing}{after}"]
