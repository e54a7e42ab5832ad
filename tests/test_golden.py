"""Every spec in its forms, as text under `golden/`; and the golden code run, so that blessing turns no failure into a pass."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from models import NAMES, SPECS, random_data
from torch import Tensor, nn

from graphvae import runtime
from graphvae.compiler.pipeline import Compilation, compile_file
from graphvae.compiler.plan import ROW, SAMPLE, Call, Compute, Draw, Gather, Loop, Plan, Score, SidePlan, Step, Value
from graphvae.compiler.schedule import axis_sizes
from graphvae.runtime import Model

GOLDEN = Path(__file__).parent / "golden"
Seen = dict[Value, list[tuple[Tensor, tuple[str, ...]]]]


class Size(NamedTuple):
    """How much data: rows of which the first has no label and the last has all, and samples."""

    rows: int
    samples: int


FEW = dict.fromkeys(("faces", "faces_intrinsic"), Size(2, 2))  # of which every one has 38 pictures


@pytest.fixture(params=SPECS, ids=NAMES)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def size(path: Path) -> Size:
    return FEW.get(path.stem, Size(6, 4))


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


def test_golden_code_trains(model: Model, size: Size) -> None:
    generator = torch.Generator().manual_seed(0)
    data = random_data(model.variables, size.rows, generator, model.plates)
    bound = model.objective(data, size.samples, generator)
    bound.mean().backward()
    assert bound.shape == (size.rows,)
    assert bound.isfinite().all()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_golden_code_infers(model: Model, size: Size) -> None:
    generator = torch.Generator().manual_seed(0)
    model.eval()
    data = random_data(model.variables, size.rows, generator, model.plates)
    posterior = model.posterior(data, size.samples, generator)
    torch.testing.assert_close(posterior.weight.flatten(0, -2).sum(0), torch.ones(size.rows))
    assert all(value.isfinite().all() for value in posterior.values.values())
    for by in ("importance", "q"):
        predicted = model.predict(data, size.samples, generator, by)
        assert {name: value.shape for name, value in predicted.items()} == {
            name: (size.rows, *kind.shape) for name, kind in model.variables.items() if kind.inferred
        }
        assert not any(value.isinf().any() for value in predicted.values())
        absent = {name for name, value in predicted.items() if value.isnan().any()}
        assert all(model.plates.keys() & model.variables[name].plates.keys() for name in absent), "slots that are not there"
    evidence = model.log_evidence(data, size.samples, generator)
    assert evidence.value.isfinite().all()
    assert evidence.standard_error.isfinite().all()


@pytest.mark.parametrize("mean", [False, True])
def test_golden_code_generates(model: Model, size: Size, mean: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    model.eval()
    given = {name: kind for name, kind in model.variables.items() if kind.role == "given"}
    made = model.sample(size.rows, random_data(given, size.rows, generator), generator, mean)
    assert set(made) == set(model.variables) - set(given)
    for name, value in made.items():
        assert value.shape[0] == size.rows, name
        there = value.isfinite() & ((value >= 0) | (model.variables[name].family.support != "categories"))
        active = active_slots(model, made, name)
        assert there.equal(active.reshape(*active.shape, *(1,) * (value.dim() - active.dim())).expand(value.shape)), name


def active_slots(model: Model, made: Mapping[str, Tensor], name: str) -> Tensor:
    """Which slots of a variable are there, by what was drawn of the counts of its plates, [row, plate...]."""
    plates = model.variables[name].plates
    active = torch.ones(len(made[name]), *plates.values(), dtype=torch.bool)
    for place, plate in enumerate(plates):
        if plate in model.plates:
            variable, values = model.plates[plate]
            number = made[variable] if values is None else torch.tensor(values)[made[variable]]
            slots = torch.arange(plates[plate]) < number.unsqueeze(-1)
            active &= slots.reshape(len(slots), *(1,) * place, -1, *(1,) * (len(plates) - place - 1))
    return active


def test_noise_is_what_the_plan_says(model: Model, compilation: Compilation, size: Size) -> None:
    """In the shape of the value, as far as its family makes it so."""
    made = {name: value.shape for name, value in model.noise(size.samples, size.rows).items()}
    families = {step.value.name: getattr(runtime, step.family.distribution) for step in compilation.plan.draws}
    shapes = {value.name: (size.samples, size.rows, *value.event) for value in compilation.plan.noise}
    assert made == {name: families[name].noise(shape, None, torch.float32).shape for name, shape in shapes.items()}


@pytest.mark.parametrize("revealed", ["some", "none", "all"])
def test_axes_at_run_time_are_in_the_plan(model: Model, compilation: Compilation, size: Size, revealed: str) -> None:
    """No value is wide on an axis that the Plan does not give it, and each axis has its own length.

    What expressions, slices and counts give passes no hook: it shows in what is computed and drawn from it.
    """
    generator, plan = torch.Generator().manual_seed(0), compilation.plan
    data = random_data(model.variables, size.rows, generator, model.plates)
    labels = [name for name, kind in model.variables.items() if kind.role == "supervised"]
    if revealed == "none":
        data = {name: value for name, value in data.items() if name not in labels}
    if revealed == "all":
        data |= {name: data[name][-1:].expand(data[name].shape) for name in labels}
    sides = [(model.encoder, plan.q), (model.decoder, plan.p)]
    seen = [record(network, side, plan) for network, side in sides]
    model.objective(data, size.samples, generator)
    shared = [(f"enumeration {name}", cells) for name in plan.enumerated for cells in axis_sizes(compilation.graph, name)]
    shared = [*reversed(shared), (SAMPLE, size.samples), (ROW, size.rows)]
    for values, (_, side) in zip(seen, sides, strict=True):
        assert values.keys() == {watched for step in side.every for watched in made_by(step)}
        for value, made in values.items():
            for tensor, plates in made:
                layout = [*shared, *((plate, plan.sizes[plate]) for plate in plates)]
                lengths = tensor.shape[: tensor.dim() - len(value.event)]
                assert len(lengths) <= len(layout), (value, tensor.shape)
                wide = [(axis, length) for axis, length in zip(reversed(layout), reversed(lengths), strict=False) if length > 1]
                assert {axis for (axis, _), _ in wide} <= {*value.axes, *plates}, (value, tensor.shape)
                assert all(expected == length for (_, expected), length in wide), (value, tensor.shape)


def made_by(step: Step) -> tuple[Value, ...]:
    """The values of a step that a hook can see."""
    match step:
        case Compute():
            return step.outputs
        case Gather():
            return (step.output,)
        case Draw() | Score():
            return (step.value,)
        case _:
            return ()


def record(network: nn.Module, side: SidePlan, plan: Plan) -> Seen:
    """What the values of a side will have been in the next pass: hooks see what networks and pools give, once for each slot of
    a loop, and what is drawn, in all slots. With each stand the plates that it has an axis for.
    """
    seen: Seen = defaultdict(list)
    plates = {node.name: node.plates for node in plan.variables}

    def watch(part: nn.Module, values: Sequence[Value], around: tuple[str, ...]) -> None:
        def keep(_: nn.Module, __: Any, made: Any) -> None:
            for value, tensor in zip(values, made if isinstance(made, list) else [made], strict=True):
                seen[value].append((tensor, (*around, *(axis for axis in value.axes if axis in plan.sizes))))

        part.register_forward_hook(keep)

    def visit(part: nn.Module, steps: Iterable[Step], around: tuple[str, ...]) -> None:
        for step in steps:
            match step:
                case Compute():
                    watch(getattr(part, step.network.attribute), step.outputs, around)
                case Gather():
                    watch(getattr(part, step.pool.attribute), [step.output], around)
                case Loop():
                    visit(part, step.body, around)
                case Call():
                    visit(getattr(part, step.attribute), step.side.steps, (*around, *(plate for plate, _ in step.plates)))

    visit(network, side.steps, ())
    drawn = [step.value for step in side.every if isinstance(step, Draw | Score)]
    network.register_forward_hook(
        lambda _, __, made: seen.update({value: [(made[value.name].value, plates[value.name])] for value in drawn})
    )
    return seen
