"""Emitted source: a Plan as one Python file that a colleague would be glad to have written.

The verb is `emit`. It decides nothing: where it would need an `if` about the model, the Plan lacks a fact. Every draw and
score ends with the spec's file and line.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from graphvae.compiler.errors import Span
from graphvae.compiler.graph import VariableNode
from graphvae.compiler.plan import Compute, Draw, Given, NetworkPlan, Parameter, Plan, Score, SidePlan, Step
from graphvae.compiler.spec import Network

WIDTH = 120


def emit(plan: Plan) -> str:
    r"""The Python source of a plan. The same plan gives the same bytes.

    >>> from graphvae.compiler.pipeline import compile_text
    >>> text = "model: m\\nvariables: {x: {distribution: normal, role: observed}}\\np: {x: []}\\nq: {}"
    >>> print(emit(compile_text(text, "m.yaml").plan).split("class ")[2])  # doctest: +NORMALIZE_WHITESPACE
    Decoder(nn.Module):
        \"\"\"p(x)\"\"\"
    <BLANKLINE>
        def __init__(self):
            super().__init__()
            self.x_loc = nn.Parameter(torch.zeros(()))
            self.x_scale = nn.Parameter(torch.zeros(()))
    <BLANKLINE>
        def forward(self, evidence, noise, knobs):
            draw = Draws(evidence, noise, knobs)
            draw.sample("x", Normal(self.x_loc, positive(self.x_scale), event=0))  # m.yaml:3
            return draw.made
    """
    encoder, decoder = _network_class("Encoder", plan.q), _network_class("Decoder", plan.p)
    body = "\n\n\n".join(["\n".join(lines) for lines in (encoder, decoder, _model_class(plan))])
    return "\n".join([*_header(plan), *_imports(plan, body), "", "", body, ""])


def _header(plan: Plan) -> Iterator[str]:
    title = f"{plan.model}: {plan.description}" if plan.description else plan.model
    title = title.replace("\\", "\\\\").replace('"""', "'''")
    yield from textwrap.wrap(f'"""{title}', WIDTH, break_long_words=False)
    yield from ("", f"Compiled by graphvae{f' from {plan.file}' if plan.file else ''}.", '"""', "")


def _imports(plan: Plan, body: str) -> Iterator[str]:
    if "torch." in body:
        yield "import torch"
    yield from ("from torch import nn", "")
    families = {variable.family.distribution for variable in plan.variables if variable.family}
    parts = {"Draws", "Model", "Variable", *families}
    parts |= {name for name in ("Mlp", "positive") if f"{name}(" in body}
    yield from _wrapped("from graphvae.runtime import (", sorted(parts, key=lambda name: (name.islower(), name)), ")", "")


def _network_class(name: str, side: SidePlan) -> Iterator[str]:
    yield f"class {name}(nn.Module):"
    yield from _docstring(side.factorisation)
    yield ""
    yield "    def __init__(self):"
    yield "        super().__init__()"
    for line in _attributes(side):
        yield textwrap.indent(line, " " * 8)
    yield ""
    yield "    def forward(self, evidence, noise, knobs):"
    yield "        draw = Draws(evidence, noise, knobs)"
    for line in _statements(side.steps):
        yield textwrap.indent(line, " " * 8) if line else ""
    yield "        return draw.made"


def _attributes(side: SidePlan) -> Iterator[str]:
    for step in side.steps:
        match step:
            case Compute():
                yield _constructor(step.network)
            case Draw() | Score():
                yield from map(_tensor, (row for row in step.parameters if row.kind in ("learned", "constant")))


def _constructor(network: NetworkPlan) -> str:
    block, default = network.block, Network()
    arguments = [_shapes(network.parents), f"hidden={list(block.hidden or ())}", f"heads={_shapes(network.heads)}"]
    options = ("activation", "dropout", "normalisation")
    arguments += [f"{key}={_quote(getattr(block, key))}" for key in options if getattr(block, key) != getattr(default, key)]
    return "\n".join(_wrapped(f"self.{network.attribute} = {block.kind.capitalize()}(", arguments, ")", ""))


def _shapes(named: Iterable[tuple[str, tuple[int, ...]]]) -> str:
    return "{" + ", ".join(f'"{name}": {shape}' for name, shape in named) + "}"


def _tensor(row: Parameter) -> str:
    shape = ", ".join(map(str, row.shape)) if row.shape else "()"
    if row.kind == "learned":
        return f"{row.python} = nn.Parameter(torch.zeros({shape}))"
    value = f"torch.full({row.shape}, {row.number})" if row.number else f"torch.zeros({shape})"
    return f'self.register_buffer("{row.python.removeprefix("self.")}", {value}, persistent=False)'


def _statements(steps: Iterable[Step]) -> Iterator[str]:
    """The lines of `forward`. A blank line closes each block that computes."""
    blank = False
    for step in steps:
        if isinstance(step, Compute) or (blank and not isinstance(step, Given)):
            yield ""
        blank = isinstance(step, Given)
        yield from _statement(step)


def _statement(step: Step) -> Iterator[str]:
    match step:
        case Given():
            yield f'{step.value.python} = draw.given("{step.value.name}")'
        case Compute():
            outputs = ", ".join(value.python for value in step.outputs)
            inputs = [f"{value.python}={value.python}" for value in step.inputs]
            comment = _comment(step.span) if step.deterministic else ""
            yield from _wrapped(f"{outputs} = self.{step.network.attribute}(", inputs, ")", comment)
        case Draw():
            verb = "sample" if step.enumeration is None else "enumerate"
            axis = [] if step.enumeration is None else [f"axis={step.enumeration}"]
            arguments = [f'"{step.value.name}"', _distribution(step), *axis]
            yield from _wrapped(f"{_target(step)}draw.{verb}(", arguments, ")", _comment(step.span))
        case Score():
            arguments = [f'"{step.value.name}"', _distribution(step)]
            yield from _wrapped(f"{_target(step)}draw.sample(", arguments, ")", _comment(step.span))


def _target(step: Draw | Score) -> str:
    return f"{step.value.python} = " if step.used else ""


def _distribution(step: Draw | Score) -> str:
    arguments = [_argument(row) for row in step.parameters]
    dimensions = len(step.value.event)
    return f"{step.family.distribution}({', '.join(arguments + [f'event={dimensions}'] * (dimensions != 1))})"


def _argument(row: Parameter) -> str:
    value = row.python
    if row.link == "positive" and row.kind in ("head", "learned"):
        floor = f", floor={row.floor}" if row.floor != 1e-6 else ""
        value = f"positive({value}{floor})"
    return f"{row.name}={value}" if row.keyword else value


def _model_class(plan: Plan) -> Iterator[str]:
    yield f"class {plan.class_name}(Model):"
    yield from _docstring(f"{plan.p.factorisation}, trained through {plan.q.factorisation}")
    yield ""
    yield "    variables = {"
    for variable in plan.variables:
        yield from (f"        {line}" for line in _variable(variable, plan))
    yield "    }"
    yield f'    label_term = "{plan.label_term}"'
    yield ""
    yield "    def __init__(self):"
    yield "        super().__init__(Encoder(), Decoder())"


def _variable(variable: VariableNode, plan: Plan) -> Iterator[str]:
    assert variable.family is not None
    arguments = [f'"{variable.role}"', variable.family.distribution, str(variable.event)]
    arguments += ["enumerated=True"] * (variable.name in plan.enumerated) + ["soft=True"] * variable.soft
    yield f'"{variable.name}": Variable({", ".join(arguments)}),'


def _docstring(text: str) -> list[str]:
    lines = textwrap.wrap(text, WIDTH - 10)
    return textwrap.indent('"""' + "\n".join(lines) + '"""', "    ").split("\n")


def _comment(span: Span | None) -> str:
    return f"  # {span.file.replace(chr(92), '/').rsplit('/', 1)[-1]}:{span.line}" if span else ""


def _quote(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _wrapped(head: str, arguments: Iterable[str], tail: str, comment: str) -> list[str]:
    """A call on one line, or an argument a line where that is too long."""
    arguments = list(arguments)
    flat = f"{head}{', '.join(arguments)}{tail}"
    if head.endswith("import ("):
        flat = flat.replace("import (", "import ").removesuffix(")")
    if len(flat) + 8 <= WIDTH:
        return [flat + comment]
    return [head, *(f"    {argument}," for argument in arguments), tail + comment]
