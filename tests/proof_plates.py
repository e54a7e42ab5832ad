"""The proof in plates: values and gradients of random specs against the oracle that walks through a Plan slot by slot.

For given noise the bound of every row is a number, and so is its gradient where nothing is drawn by score function. Where
something is, the expected gradient is a sum over every way in which those draws can come out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import log, prod
from typing import Any, NamedTuple

import torch
import yaml
from models import random_data, random_model
from reference import cells_of, encode, objective, score, total, values_of
from test_emitted import by_pattern
from torch import Tensor

from graphvae.compiler.pipeline import compile_text
from graphvae.compiler.plan import Call, Draw, Loop, Plan, Step
from graphvae.runtime import Block, Model, load

ROUNDING = 1e-9
ROWS = 3
OUTCOMES = 128  # of score-function draws and cells, over which an expected gradient is summed
MORE = 2  # slots of a padded plate
SPREAD, WIDE = 0.7, 16  # of random weights, which are smaller in layers wider than that

Noise = Mapping[str, Tensor]


class PlateCheck(NamedTuple):
    """How far off a comparison is, relative to numbers above 1."""

    kind: str
    error: float

    @property
    def passed(self) -> bool:
        return self.error <= ROUNDING


@dataclass(frozen=True)
class PlateCase:
    """The model of a spec in plates at random weights, rows of which each knows something else, and noise."""

    text: str
    seed: int

    @cached_property
    def plan(self) -> Plan:
        return compile_text(self.text, "random.yaml").plan

    @cached_property
    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    @cached_property
    def model(self) -> Model:
        return made(self.text, self.seed)

    @cached_property
    def state(self) -> dict[str, Tensor]:
        return self.model.state_dict() | dict(self.model.named_parameters())

    @cached_property
    def spec(self) -> dict[str, Any]:
        return yaml.safe_load(self.text)

    @cached_property
    def weights(self) -> tuple[dict[str, float], dict[str, float]]:
        """Alpha of every label and beta of all that q infers."""
        inferred, numbers = [name for name, kind in self.model.variables.items() if kind.inferred], self.spec["objective"]
        return dict.fromkeys(inferred, numbers["alpha"]), dict.fromkeys(inferred, numbers["beta"])

    @cached_property
    def data(self) -> dict[str, Tensor]:
        """Random rows: a slot has a label only where a count, known too, says that it is there."""
        model, data = self.model, random_data(self.model.variables, ROWS, self.generator)
        for plate, count in model.plates.items():
            number = data.get(count.variable, torch.full((ROWS,), -1))
            if count.values is not None:
                number = torch.where(number < 0, -1, torch.tensor(count.values)[number.clamp_min(0)])
            for name in labels_in(model, plate):
                sizes = model.variables[name].plates
                slot = torch.arange(sizes[plate]).reshape([-1 if own == plate else 1 for own in sizes])
                absent = ~(slot < number.reshape(ROWS, *(1,) * len(sizes)))
                value = data[name]
                absent = absent[(..., *(None,) * (value.dim() - absent.dim()))]
                data[name] = value.masked_fill(absent, missing(value))
        return data

    @cached_property
    def complete(self) -> dict[str, Tensor]:
        """The rows with something for what is missing of an observed variable, at which the oracle has no derivative."""
        observed = {name for name, kind in self.model.variables.items() if kind.masked}
        return {
            name: value.where(value != missing(value), 1).nan_to_num(1) if name in observed else value
            for name, value in self.data.items()
        }

    @cached_property
    def noise(self) -> dict[str, Tensor]:
        """[sample, row, plates..., event...]: cells share theirs, as any noise will do for the value."""
        noise = self.model.noise(self.spec["objective"]["samples"], ROWS, self.generator)
        axes = {name: len(self.model.variables[name].cells) for name in noise}
        return {name: value[(slice(None), slice(None), *(0,) * axes[name])] for name, value in noise.items()}

    @cached_property
    def scored(self) -> list[Draw]:
        """What q draws by score function."""
        return [step for step in self.plan.draws if step.gradient == "score_function"]

    def check(self) -> list[PlateCheck]:
        """Every check that this spec allows."""
        checks = [*self.values(), *self.padded()]
        return checks + (self.expected_gradient() if self.scored else self.gradients())

    def bound(self, model: Model, data: Mapping[str, Tensor], noise: Noise) -> Tensor:
        return model([Block(model.evidence(data), spread(model, noise))], model.knobs(*self.weights)).bound

    @cached_property
    def truth(self) -> Tensor:
        return objective(shared(self.plan), self.state, self.data, self.noise, *self.weights)

    @cached_property
    def pair(self) -> tuple[Tensor, Tensor]:
        """The bound of the complete rows, ours and the oracle's."""
        true = objective(shared(self.plan), self.state, self.complete, self.noise, *self.weights)
        return self.bound(self.model, self.complete, self.noise), true

    def values(self) -> Iterator[PlateCheck]:
        """The bound of every row, in one block and in a block for each pattern of what is known."""
        yield compared("value", self.bound(self.model, self.data, self.noise), self.truth)
        order, blocks = by_pattern(self.model, self.data, spread(self.model, self.noise))
        yield compared("value in blocks", self.model(blocks, self.model.knobs(*self.weights)).bound, self.truth[order])

    def gradients(self) -> list[PlateCheck]:
        """The gradient of a weighted sum of the rows; under `importance_dreg` that of p alone, as q has an estimate of it."""
        weights, dreg = torch.rand(ROWS, generator=self.generator) + 0.5, self.plan.bound == "importance_dreg"
        own, true = ((weights * each).sum() for each in self.pair)
        names = [name for name, _ in self.model.named_parameters() if not (dreg and name.startswith("encoder."))]
        return [PlateCheck("gradient", self.differences(own, true, names))]

    def differences(self, own: Tensor, true: Tensor, names: Sequence[str]) -> float:
        """The largest difference of two gradients."""
        parameters = [self.state[name] for name in names]
        if not parameters:
            return 0.0
        pair = [gradient(value, parameters) for value in (own, true)]
        return compared("", *pair).error

    def expected_gradient(self) -> list[PlateCheck]:
        """Given the noise of all else, the sum over what the score-function draws of two rows may be.

        Nothing where those are too many, or below variables in plates that are enumerated: the oracle cannot tell their cells
        apart by the noise.
        """
        if not all(above is not None for step in self.scored for above in self.above(step)):
            return []
        elements = [(step, index) for step in self.scored for index in self.draws_of(step)]
        cells = prod(
            len(values_of(step)) ** prod(self.plates_of(step)) for step in self.plan.draws if step.enumeration is not None
        )
        if cells * prod(len(values_of(step)) for step, _ in elements) > OUTCOMES:
            return []
        names, found = [name for name, _ in self.model.named_parameters()], []
        for row in (0, ROWS - 1):
            data, own, true = {name: value[[row]] for name, value in self.complete.items()}, [], []
            for outcome in product(*(range(len(values_of(step))) for step, _ in elements)):
                noise = {name: value[:, [row]].clone() for name, value in spread(self.model, self.noise).items()}
                for (step, index), chosen in zip(elements, outcome, strict=True):
                    noise[step.value.name][:, 0][index] = leading_to(step, chosen)
                probability = self.probability(data, noise)
                bound = self.model([Block(self.model.evidence(data), noise)], self.model.knobs(*self.weights)).bound
                own.append(probability.detach() * bound.sum())
                true.append(probability * objective(self.plan, self.state, data, noise, *self.weights).sum())
            found.append(PlateCheck("expected gradient", self.differences(total(own), total(true), names)))
        return found

    def above(self, step: Draw) -> list[Draw | None]:
        """The enumerated variables in whose cells a score-function draw may have noise of its own, those in no plate."""
        alone = {each.enumeration: each for each in self.plan.draws if each.shape == each.value.event}
        return [alone.get(axis) for axis in range(len(step.cells))]

    def draws_of(self, step: Draw) -> Iterator[tuple[int, ...]]:
        """Every sample, cell and slot of a variable."""
        return product(range(self.spec["objective"]["samples"]), *map(range, (*reversed(step.cells), *self.plates_of(step))))

    def plates_of(self, step: Draw) -> tuple[int, ...]:
        """The sizes of a variable's plates."""
        return step.shape[: len(step.shape) - len(step.value.event)]

    def probability(self, data: Mapping[str, Tensor], noise: Noise) -> Tensor:
        """That of the score-function draws of one row. What is known, or in no active slot, may come out as it likes."""
        plan, own = self.plan, {name: value[:, 0] for name, value in noise.items()}
        known = {node.name: encode(plan, node, data[node.name][0]) for node in plan.variables if node.name in data}
        enumerated = [step for step in plan.draws if step.enumeration is not None]
        parts: dict[tuple[str, int, tuple[int, ...]], Tensor] = {}
        for cell in product(*(cells_of(plan, step, known.get(step.value.name)) for step in enumerated)):
            named = {step.value.name: value for step, value in zip(enumerated, cell, strict=True)}
            for sample in range(self.spec["objective"]["samples"]):
                q, _ = score(plan, self.state, known, named, own, sample)
                for step in self.scored:
                    free = ~q.known(step.value.name) & (q.scores[step.value.name] != 0)
                    ratio = torch.where(free, q.scores[step.value.name] + log(len(values_of(step))), 0.0).sum()
                    parts.setdefault((step.value.name, sample, self.place(step, named)), ratio)
        ways = prod(len(values_of(step)) for step in self.scored for _ in self.draws_of(step))
        return total(parts.values()).exp() / ways

    def place(self, step: Draw, named: Noise) -> tuple[int, ...]:
        """In which cell of those that it has noise for a draw is."""
        own = [above for above, size in zip(self.above(step), step.cells, strict=True) if above and size > 1]
        return tuple(
            next(place for place, value in enumerate(values_of(above)) if torch.equal(value, named[above.value.name]))
            for above in own
        )

    # Slots that nobody counts.

    def padded(self) -> Iterator[PlateCheck]:
        """With more slots than a count can reach, the bound is the same."""
        for plate in self.model.plates:
            own = self.model.variables
            spec = yaml.safe_load(str(compile_text(self.text, "random.yaml").graph.spec))  # with q written out
            spec["plates"][plate]["size"] += MORE
            spec["objective"]["max_cells"] = 10**6
            larger = made(yaml.safe_dump(spec, sort_keys=False), self.seed)
            shapes = {name: value.shape for name, value in larger.state_dict().items()}
            larger.load_state_dict({name: stretched(value, shapes[name], 1.0) for name, value in self.state.items()})
            data = {
                name: stretched(
                    value,
                    (ROWS, *larger.variables[name].slots, *value.shape[1 + len(own[name].slots) :]),
                    missing(value) if own[name].role == "supervised" else 1,
                )
                for name, value in self.data.items()
            }
            noise = {
                name: stretched(
                    value, (*value.shape[:2], *larger.variables[name].slots, *value.shape[2 + len(own[name].slots) :]), 0.5
                )
                for name, value in self.noise.items()
            }
            yield compared("padded", self.bound(larger, data, noise), self.bound(self.model, self.data, self.noise))


def prove_plates(text: str, seed: int) -> list[PlateCheck]:
    """Every check of a spec in plates. Double precision must be torch's default."""
    return PlateCase(text, seed).check()


def features(text: str) -> set[str]:
    """What a spec in plates is made of."""
    spec = {"q": {}} | yaml.safe_load(text)
    mode = spec["q"].pop("derive", "topological")
    variables, blocks = spec["variables"], [(name, block) for side in "pq" for name, block in spec[side].items()]
    counts = {plate["active"] for plate in spec["plates"].values() if "active" in plate}
    inside = {name for name, block in variables.items() if "plate" in block}
    parents = {parent for _, block in blocks for parent in block.get("parents", [])}
    found = {f"bound {spec['objective']['bound']}", *(f"size {plate['size']}" for plate in spec["plates"].values())}
    found |= {f"count {variables[name]['distribution']}" for name in counts}
    found |= {"count with values" for name in counts if "values" in variables[name]}
    found |= {f"count {variables[name].get('role', 'latent')}" for name in counts}
    found |= {f"count by {spec['q'].get(name, {}).get('gradient')}" for name in counts}
    left_out = {name for name, block in variables.items() if block.get("role", "latent") in ("latent", "supervised")} - {
        *spec["q"]
    }
    found |= {f"derived {mode}"} if left_out else set()
    found |= {"labels of slots" for name in inside if variables[name].get("role") == "supervised"}
    found |= {f"in a plate by {spec['q'].get(name, {}).get('gradient', 'reparameterised')}" for name in inside & set(spec["q"])}
    found |= {"nested plates" for block in variables.values() if len(block.get("plate", "s")) > 1}
    found |= {"index of a plate" for plate in spec["plates"] if plate in parents}
    found |= {f"pool {block['network']['pool']}" for _, block in blocks if "pool" in block.get("network", {})}
    found |= {f"previous in {side}" for side in "pq" if any(".previous" in str(block) for block in spec[side].values())}
    found |= {f"initial {block.get('initial', 'zero')}" for _, block in blocks if ".previous" in str(block)}
    found |= {"gru" for name, _ in blocks if name == "memory"}
    found |= {"missing elements" for block in variables.values() if "missing" in block}
    return found


def made(text: str, seed: int) -> Model:
    """A model at random weights."""
    generator = torch.Generator().manual_seed(seed)
    model = random_model(load(compile_text(text, "random.yaml").code, "random"), generator)
    model.load_state_dict({n: random_weights(v, generator) for n, v in model.state_dict().items()})
    return model


def random_weights(like: Tensor, generator: torch.Generator) -> Tensor:
    """Weights under which nothing is certain, however wide the layer."""
    narrow = min(1.0, (WIDE / max(like.shape, default=1)) ** 0.5)
    return SPREAD * narrow * torch.randn(like.shape, generator=generator)


def missing(value: Tensor) -> float:
    """What stands in a table for what is missing."""
    return torch.nan if value.is_floating_point() else -1


def labels_in(model: Model, plate: str) -> list[str]:
    """The variables in a plate that may be known in some slots."""
    return [name for name, kind in model.variables.items() if plate in kind.plates and kind.role == "supervised"]


def stretched(value: Tensor, shape: Sequence[int], fill: float) -> Tensor:
    """A value inside of a larger one, which is filled up."""
    larger = torch.full(tuple(shape), fill, dtype=value.dtype)
    larger[tuple(map(slice, value.shape))] = value.detach()
    return larger


def spread(model: Model, noise: Noise) -> dict[str, Tensor]:
    """Noise with the axes of the cells below which a variable is drawn by score function."""

    def each(name: str, value: Tensor) -> Tensor:
        cells = tuple(reversed(model.variables[name].cells))
        return value[(slice(None), slice(None), *(None,) * len(cells))].expand(*value.shape[:2], *cells, *value.shape[2:])

    return {name: each(name, value) for name, value in noise.items()}


def shared(plan: Plan) -> Plan:
    """A plan whose cells share their noise."""

    def steps(own: Sequence[Step]) -> tuple[Step, ...]:
        return tuple(
            replace(step, cells=())
            if isinstance(step, Draw)
            else replace(step, body=steps(step.body))
            if isinstance(step, Loop)
            else replace(step, side=replace(step.side, steps=steps(step.side.steps)))
            if isinstance(step, Call)
            else step
            for step in own
        )

    return replace(plan, q=replace(plan.q, steps=steps(plan.q.steps)))


def leading_to(step: Draw, chosen: int) -> Tensor:
    """The noise with which a variable comes out as the given one of its values, at any probabilities."""
    if step.family.simplex:
        return torch.where(torch.arange(step.value.event[-1]) == chosen, 1 - 1e-15, 1e-300)
    return torch.tensor(0.0 if chosen else 1.0)


def gradient(value: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """The derivatives with respect to all parameters in a row; 0 where there is none."""
    if not value.requires_grad:
        return torch.cat([torch.zeros_like(each).flatten() for each in parameters])
    found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, found, strict=True)])


def compared(kind: str, value: Tensor, truth: Tensor) -> PlateCheck:
    """The largest difference, relative to numbers above 1; infinite where either is not a number."""
    error = ((value - truth).abs() / truth.abs().clamp_min(1)).max().item()
    return PlateCheck(kind, error if error == error else float("inf"))
