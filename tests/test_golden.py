"""Every spec in its forms, as text under `golden/`; and the golden code run, so that blessing turns no failure into a pass."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from models import NAMES, SPECS, random_data, random_values
from torch import Tensor, nn

from graphvae import runtime
from graphvae.compiler.pipeline import Compilation, compile_file
from graphvae.compiler.plan import Compute, Draw, Given, Score, SidePlan, Value
from graphvae.runtime import Model

GOLDEN = Path(__file__).parent / "golden"
ROWS, SAMPLES = 6, 4


@pytest.fixture(params=SPECS, ids=NAMES)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def compilation(path: Path) -> Compilation:
    return compile_file(path)


@pytest.fixture
def model(path: Path, compilation: Compilation) -> Model:
    """The model of the golden file itself, and not of what the compiler says now."""
    torch.manual_seed(0)
    spec = importlib.util.spec_from_file_location(f"golden_{path.stem}", GOLDEN / f"{path.stem}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, compilation.plan.class_name)()


def test_forms(path: Path, compilation: Compilation, golden: Callable[[str, str], None]) -> None:
    golden(f"{path.stem}.graph.txt", str(compilation.graph))
    golden(f"{path.stem}.plan.txt", str(compilation.plan))
    golden(f"{path.stem}.py", compilation.code)


def test_forms_keep_their_own_rules(compilation: Compilation) -> None:
    compilation.source.check()
    compilation.graph.check()
    compilation.plan.check()


def test_two_compilations_give_the_same_bytes(path: Path, compilation: Compilation) -> None:
    again = compile_file(path)
    assert (str(again.graph), str(again.plan), again.code) == (str(compilation.graph), str(compilation.plan), compilation.code)


def test_lines_are_short(compilation: Compilation) -> None:
    assert max(map(len, compilation.code.splitlines())) <= 100


def test_golden_code_trains(model: Model) -> None:
    generator = torch.Generator().manual_seed(0)
    data = random_data(model.variables, ROWS, generator, model.plates)
    bound = model.objective(data, SAMPLES, generator)
    bound.mean().backward()
    assert bound.shape == (ROWS,)
    assert bound.isfinite().all()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_golden_code_infers(model: Model) -> None:
    generator = torch.Generator().manual_seed(0)
    model.eval()
    data = random_data(model.variables, ROWS, generator, model.plates)
    posterior = model.posterior(data, SAMPLES, generator)
    torch.testing.assert_close(posterior.weight.flatten(0, -2).sum(0), torch.ones(ROWS))
    assert all(value.isfinite().all() for value in posterior.values.values())
    for by in ("importance", "q"):
        predicted = model.predict(data, SAMPLES, generator, by)
        assert {name: value.shape for name, value in predicted.items()} == {
            name: (ROWS, *kind.event) for name, kind in model.variables.items() if kind.inferred
        }
        assert all(value.isfinite().all() for value in predicted.values())
    evidence = model.log_evidence(data, SAMPLES, generator)
    assert evidence.value.isfinite().all()
    assert evidence.standard_error.isfinite().all()


@pytest.mark.parametrize("mean", [False, True])
def test_golden_code_generates(model: Model, mean: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    model.eval()
    given = {name: kind for name, kind in model.variables.items() if kind.role == "given"}
    made = model.sample(ROWS, random_data(given, ROWS, generator), generator, mean)
    assert set(made) == set(model.variables) - set(given)
    for name, value in made.items():
        assert value.shape[0] == ROWS, name
        assert value.isfinite().all(), name


def test_noise_is_what_the_plan_says(model: Model, compilation: Compilation) -> None:
    """In the shape of the value, as far as its family makes it so."""
    made = {name: value.shape for name, value in model.noise(SAMPLES, ROWS).items()}
    families = {step.value.name: getattr(runtime, step.family.distribution) for step in compilation.plan.draws}
    shapes = {value.name: (SAMPLES, ROWS, *value.event) for value in compilation.plan.noise}
    assert made == {name: families[name].noise(shape, None, torch.float32).shape for name, shape in shapes.items()}


@pytest.mark.parametrize("revealed", ["some", "none", "all"])
def test_axes_at_run_time_are_in_the_plan(model: Model, compilation: Compilation, revealed: str) -> None:
    """No value is wide on an axis that the Plan does not give it."""
    generator, plan = torch.Generator().manual_seed(0), compilation.plan
    data = random_data(model.variables, ROWS, generator, model.plates)
    labels = [name for name, kind in model.variables.items() if kind.role == "supervised"]
    if revealed == "none":
        data = {name: value for name, value in data.items() if name not in labels}
    if revealed == "all":
        data |= {name: random_values(model.variables[name], ROWS, generator) for name in labels}
    seen = [record(model.encoder, plan.q), record(model.decoder, plan.p)]
    model.objective(data, SAMPLES, generator)
    layout = [*(f"enumeration {name}" for name in reversed(plan.enumerated)), "sample", "row"]
    for values, side in zip(seen, (plan.q, plan.p), strict=True):
        assert values.keys() == {value for step in side.steps if not isinstance(step, Given) for value in made_by(step)}
        for value, tensor in values.items():
            sizes = tensor.shape[: tensor.dim() - len(value.event)]
            wide = {axis for axis, size in zip(reversed(layout), reversed(sizes), strict=False) if size > 1}
            assert wide <= set(value.axes), (value, tensor.shape)


def made_by(step: Compute | Draw | Score) -> tuple[Value, ...]:
    return step.outputs if isinstance(step, Compute) else (step.value,)


def record(network: nn.Module, side: SidePlan) -> dict[Value, Tensor]:
    """What every value of a side will have been in the next pass: hooks see what networks give and what is drawn."""
    seen: dict[Value, Tensor] = {}

    def watch(part: nn.Module, values: Sequence[Value], tensors: Callable[[Any], Sequence[Tensor]]) -> None:
        part.register_forward_hook(lambda _, __, made: seen.update(zip(values, tensors(made), strict=True)))

    for step in side.steps:
        if isinstance(step, Compute):
            part = getattr(network, step.network.attribute)
            watch(part, step.outputs, lambda made: made if isinstance(made, list) else [made])
    draws = [step.value for step in side.steps if isinstance(step, Draw | Score)]
    watch(network, draws, lambda made: [made[value.name].value for value in draws])
    return seen
