"""What a model costs, against the model itself: its parameters, and the multiply-adds that one row really takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path

import pytest
import torch
from models import NAMES, SPECS, random_values
from torch import Tensor, nn

from graphvae.compiler.cost import Cost, cost
from graphvae.compiler.pipeline import Compilation, compile_file, compile_text
from graphvae.compiler.plan import Call, Compute, Gather, SidePlan
from graphvae.runtime import Model
from graphvae.runtime.load import load
from graphvae.runtime.networks import ParentLinear

PIXELS = """model: pixels
variables:
  digit: {distribution: categorical, categories: 3, role: supervised}
  style: {distribution: normal, size: 2}
  place: {distribution: normal, shape: [2, 3, 5]}
  image: {distribution: normal, shape: [2, 11, 9], role: observed, missing: mask}
p:
  place: {parents: [digit], network: {kind: deconv, channels: [4, 3], normalisation: batch}}
  image: {parents: [digit, style, place], network: {kind: deconv, channels: [6, 5, 4], hidden: [7, 8]}}
q:
  style: {parents: [image], network: {kind: conv, channels: [3, 4], hidden: [6], normalisation: layer}}
  digit: {parents: [style, image], network: {kind: residual, hidden: [8, 8, 8], normalisation: batch}}
  place: {parents: [image, digit], network: {kind: conv, hidden: [], normalisation: batch}}
"""


def counted(compilation: Compilation) -> Cost:
    return cost(compilation.graph, compilation.plan)


def model_of(compilation: Compilation) -> Model:
    return load(compilation.code, "costed")()


@pytest.fixture(params=[*SPECS, PIXELS], ids=[*NAMES, "pixels"])
def compilation(request: pytest.FixtureRequest) -> Compilation:
    return compile_text(request.param, "m.yaml") if isinstance(request.param, str) else compile_file(request.param)


def test_parameters_are_those_of_the_model(compilation: Compilation) -> None:
    model, found = model_of(compilation), counted(compilation)
    sides = {"q": model.encoder, "p": model.decoder}
    modules = [row for side in (compilation.plan.q, compilation.plan.p) for row in modules_of(side, sides[side.name])]
    rows = {(row.side, row.variable, row.kind.endswith(" pool")): row.parameters for row in found.networks}
    assert rows == {key: sum(weight.numel() for weight in module.parameters()) for key, module in modules}
    inside = {weight for _, module in modules for weight in module.parameters()}
    assert sum(row.parameters for row in found.learned) == sum(w.numel() for w in model.parameters() if w not in inside)
    assert found.parameters == sum(weight.numel() for weight in model.parameters())
    assert found.frozen == sum(weight.numel() for weight in model.parameters() if not weight.requires_grad)


def modules_of(side: SidePlan, network: nn.Module) -> Iterator[tuple[tuple[str, str, bool], nn.Module]]:
    """The networks and pools of a side, those of its sub-models among them, by their side and variable."""
    inside = {id(each): step for step in side.every if isinstance(step, Call) for each in step.side.every}
    for step in side.every:
        if id(step) not in inside and isinstance(step, Compute):
            yield (side.name, step.variable, False), getattr(network, step.network.attribute)
        elif id(step) not in inside and isinstance(step, Gather):
            yield (side.name, step.output.name.removesuffix(".slots"), True), getattr(network, step.pool.attribute)
        elif id(step) not in inside and isinstance(step, Call):
            yield from modules_of(step.side, getattr(network, step.attribute))


def test_multiply_adds_are_those_of_a_row(compilation: Compilation) -> None:
    """One row without labels: every linear map and convolution says what it was given, and what it made."""
    model, found, generator = model_of(compilation).eval(), counted(compilation), torch.Generator().manual_seed(0)
    measured = Counter[str]()
    for side, network in (("q", model.encoder), ("p", model.decoder)):
        for module in network.modules():
            module.register_forward_hook(counting(side, measured))
    known = {name: kind for name, kind in model.variables.items() if kind.role in ("observed", "given")}
    data = {name: random_values(kind, 1, generator) for name, kind in known.items()}
    block = model.block(data, compilation.graph.spec.objective.samples or 1, generator)
    model.passes(block, model.knobs(temperature={row.value.name: 0.5 for row in compilation.plan.draws}))
    for side in ("q", "p"):
        assert measured[side] == sum(row.multiply_adds or 0 for row in found.networks if row.side == side)
    assert found.multiply_adds == found.q_passes * measured["q"] + measured["p"]


def counting(side: str, measured: Counter[str]) -> Callable[[nn.Module, tuple, Tensor], None]:
    def count(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        if isinstance(module, nn.Linear):
            measured[side] += output.numel() * module.in_features
        elif isinstance(module, nn.Conv2d):
            measured[side] += output.numel() * module.in_channels * prod(module.kernel_size)
        elif isinstance(module, ParentLinear):
            measured[side] += sum(inputs[0][name].numel() for name in module.parents) * output.shape[-1]

    return count


def test_a_first_layer_counts_only_the_axes_of_its_parent() -> None:
    """q(digit | image), q(style | image, digit), p(image | digit, style), in numbers of the spec."""
    found = {(row.side, row.variable): row for row in counted(compile_file("specs/digits.yaml")).networks}
    assert found["q", "digit"].multiply_adds == 64 * 256 + 256 * 10
    assert found["q", "style"].multiply_adds == 64 * 256 + 10 * (10 * 256) + 10 * (256 * 16)
    assert found["p", "image"].multiply_adds == 10 * (10 * 256) + 10 * (8 * 256) + 10 * (256 * 64)
    assert {row.passes for row in found.values()} == {1, 10}
    assert found["q", "style"].axes == ("enumeration digit",)


def test_samples_multiply_what_depends_on_them() -> None:
    one, four = (counted(compile_file("specs/digits.yaml", [f"objective.samples={number}"])) for number in (1, 4))
    times = {(a.side, a.variable): b.passes / a.passes for a, b in zip(one.networks, four.networks, strict=True)}
    assert times == {("q", "digit"): 1, ("q", "style"): 1, ("p", "image"): 4}
    assert (four.cells, four.axes) == (10, {"enumeration digit": 10, "sample": 4})


def test_a_class_of_ones_own_is_not_counted(tmp_path: Path) -> None:
    plugin = tmp_path / "own.py"
    plugin.write_text("class Own:\n    def __init__(self, parents, heads): ...\n")
    compiled = compile_file("specs/digits.yaml", ["p.image.network={kind: Own}"], plugin)
    found = counted(compiled)
    [row] = [row for row in found.networks if row.side == "p"]
    assert (row.kind, row.parameters, row.multiply_adds, row.passes) == ("Own", None, None, 10)
    assert found.parameters is None
    assert found.multiply_adds is None
