"""What is known, what is drawn, and how the two meet: the only place that looks at masks.

Tensors are laid out [enumerations..., sample, row, plate..., event...]; an axis that a value does not depend on is absent on
the left. The plates of a variable have the order of the spec, those around a sub-model first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from graphvae.runtime.distributions import Distribution, Relaxable, trailing
from graphvae.runtime.plates import (
    NO_PLATES,
    Plate,
    Scope,
    Weights,
    active_weights,
    joint_weights,
    pick_slots,
    spanned,
    stack_slots,
)
from graphvae.runtime.terms import Draw, Evidence, Relaxation, equal_cells, joint_values, stack_draws

T = TypeVar("T")
Sizes = Mapping[str, int]


class Knobs(NamedTuple):
    """What may change from step to step, as 0-d tensors.

    `alpha` by label and `beta` by variable of q (labels share one) weigh the objective. `temperature` is that of a relaxed
    draw; a variable that has none is drawn hard. `scope` is what a sub-model or a loop stands in.
    """

    alpha: Mapping[str, Tensor]
    beta: Mapping[str, Tensor]
    temperature: Mapping[str, Tensor] = MappingProxyType({})
    scope: Scope | None = None


@dataclass
class Draws:
    """The record that a network's forward pass keeps: every value comes from evidence, from noise or from enumeration.

    Masks are applied to values, before any log-probability: a missing label is NaN and never meets a gradient, and neither does
    what is no number in an inactive slot. In a loop there is a record for each slot, in which values have no dimension for the
    plate of the loop.
    """

    evidence: Mapping[str, Evidence]
    noise: Mapping[str, Tensor]
    knobs: Knobs
    made: dict[str, Draw] = field(default_factory=dict)
    weights: dict[str, Weights] = field(default_factory=dict)
    """How far the slots of each plate are active, where a count says so."""

    def __post_init__(self) -> None:
        self.scope = self.knobs.scope or Scope()

    def given(self, name: str) -> Tensor:
        """A variable that is known in every row and conditioned on, [row, plate..., event...]."""
        return self.scope.given[name] if name in self.scope.given else self._here(self.evidence[name].value)

    def masked(self, name: str) -> tuple[Tensor, Tensor]:
        """An observed variable with zeros for what is missing, and what is there, [row, plate..., elements...], as 1."""
        value, _, cells = self.evidence[name]
        assert cells is not None
        shown = torch.where(trailing(cells, value.dim() - cells.dim()), value, 0.0)
        return self._here(shown), self._here(cells).to(value.dtype)

    def active(self, plate: str, count: Tensor, values: Sequence[int] | None, size: int, plates: Sizes = NO_PLATES) -> Tensor:
        """The weights [..., row, plate..., slot] of a plate's slots, which hold for all that is drawn in it from here on.

        A slot is active while its number is below the count: a number, or a category that stands for one of the `values`. The
        count stands in `plates` itself.
        """
        weights, name = active_weights(count, values, size), self.scope.path + plate
        self.weights[name] = Weights((*(outer.name for outer in spanned(self.scope.place(plates))), name), weights)
        return weights

    def sample(self, name: str, distribution: Distribution, plates: Sizes = NO_PLATES) -> Tensor:
        """The known value where there is one, and a draw elsewhere. Returns [..., row, plate..., event...]."""
        return self._draw(name, distribution, plates, lambda noise: Draw(distribution.sample(noise), distribution, known=False))

    def mean(self, name: str, distribution: Distribution, plates: Sizes = NO_PLATES) -> Tensor:
        """The known value where there is one, and elsewhere the mean, which nobody scores."""
        mean, sizes = distribution.mean, [plate.size for plate in spanned(self.scope.place(plates))]
        axes = mean.dim() - distribution.event
        value = mean.expand(*torch.broadcast_shapes(mean.shape[:axes], sizes), *mean.shape[axes:])
        evidence = self._evidence(name, distribution, plates)
        return self._known_or(name, Draw(value, distribution, known=False, collapsed=True), plates, evidence)

    def concrete(self, name: str, distribution: Relaxable, plates: Sizes = NO_PLATES) -> Tensor:
        """A relaxed draw at this step's temperature; without one, a hard draw. Returns [..., row, plate..., event...]."""
        temperature = self.knobs.temperature.get(name)
        if temperature is None:
            return self.sample(name, distribution, plates)

        def relaxed(noise: Tensor) -> Draw:
            log_value = distribution.relax(noise, temperature)
            value = distribution.soften(log_value)
            return Draw(value, distribution, known=False, relaxed=Relaxation(log_value, temperature))

        return self._draw(name, distribution, plates, relaxed)

    def straight_through(self, name: str, distribution: Relaxable, plates: Sizes = NO_PLATES) -> Tensor:
        """A hard draw whose gradient is that of the relaxed one of the same noise (Bengio et al. 2013; Jang et al. 2017)."""
        temperature = self.knobs.temperature.get(name)
        if temperature is None:
            return self.sample(name, distribution, plates)

        def hard(noise: Tensor) -> Draw:
            soft = distribution.soften(distribution.relax(noise, temperature))
            return Draw(distribution.sample(noise) + (soft - soft.detach()), distribution, known=False)

        return self._draw(name, distribution, plates, hard)

    def score_function(self, name: str, distribution: Distribution, axes: int = 0, plates: Sizes = NO_PLATES) -> Tensor:
        """A draw that passes no gradient on to its value: the objective takes it from log q (Williams 1992).

        Below enumerated variables the draws of different cells are independent, and the first `axes` enumeration axes have
        noise of their own: it comes as [sample, row, enumerations..., plate..., event...]. In a loop, axes of later slots are
        not there yet.
        """

        def detached(noise: Tensor) -> Draw:
            own = noise.movedim(tuple(range(2, 2 + axes)), tuple(range(axes)))
            for place, axis in enumerate(reversed(range(axes))):
                cell = self.scope.cells.get(axis)
                if axis not in self.scope.cells:
                    own = own.narrow(place, 0, 1)
                elif cell is not None and own.shape[place] > 1:
                    own = own.take_along_dim(cell.reshape(*(1,) * (axes + 1), -1, *(1,) * (own.dim() - axes - 2)), place)
            return Draw(distribution.sample(own).detach(), distribution, known=False, score=True)

        return self._draw(name, distribution, plates, detached, axes)

    def enumerate(self, name: str, distribution: Distribution, axis: int, plates: Sizes = NO_PLATES) -> Tensor:
        """Every value on an enumeration axis of its own, the `axis`-th to the left of the samples; slots of plates jointly.

        Where the whole block is known, the known value and no axis. Each slot of a loop has an axis, the next one.
        """
        place, axis, event = self.scope.place(plates), self.scope.axis + axis, distribution.event
        evidence, values = self._evidence(name, distribution, plates), distribution.cells()
        chosen = joint_values(len(values), [plate.size for plate in spanned(place)]).to(values.device)
        assert axis not in self.scope.cells, (name, axis)
        if evidence is not None and evidence.known is None:
            same = equal_cells(values[chosen].unsqueeze(1), evidence.value, event + chosen.dim() - 1)
            self.scope.cells[axis] = same.byte().argmax(0)
            return self._keep(name, Draw(evidence.value, distribution, known=True), plates)
        self.scope.cells[axis] = None
        chosen = chosen.reshape(len(chosen), *(1,) * (axis + 2), *chosen.shape[1:])
        made = Draw(values[chosen], distribution, known=False, enumerated=True)
        active = joint_weights(self._weights(place), place)
        kept = None if active is None else (active > 0) | (chosen == 0)
        if evidence is not None and evidence.known is not None:
            agrees = equal_cells(made.value, evidence.value, event)
            kept = torch.where(evidence.known, agrees, True if kept is None else kept)
            made = replace(made, known=evidence.known)
        return self._keep(name, replace(made, kept=kept), plates)

    def slots(self, plate: str, size: int) -> Iterator[Draws]:
        """A record for each slot of an ordered plate in turn; behind the last one, what was made in them is stacked."""
        name, scope = self.scope.path + plate, self.scope
        weights = {plate: each for plate, each in self.weights.items() if plate != name}
        records: list[Draws] = []
        for slot in range(size):
            own = (self.weights[name].at(name, slot),) if name in self.weights else ()
            here = replace(
                scope,
                inner=(*scope.inner, Plate(name, size, slot)),
                weights=(*scope.weights, *own),
                axis=scope.axis + slot,
                kept={},
            )
            records.append(Draws(self.evidence, self.noise, self.knobs._replace(scope=here), weights=dict(weights)))
            yield records[-1]
        for each in records[0].made:
            self.made[each] = stack_draws([record.made[each] for record in records], name)
        for each, (_, dimensions) in records[0].scope.kept.items():
            scope.kept[each] = stack_slots([record.scope.kept[each][0] for record in records], dimensions), dimensions
        for each in records[0].weights.keys() - weights.keys():
            counted = [record.weights[each] for record in records]
            self.weights[each] = Weights((*counted[0].plates, name), stack_slots([slot.value for slot in counted], 0))

    def at(self, value: Tensor, event: int) -> Tensor:
        """This slot of a value [..., slot, event...] that was made outside of the loop."""
        slot = self.scope.inner[-1].slot
        assert slot is not None
        return value.select(-1 - event, slot)

    def keep(self, name: str, value: Tensor, event: int = 1) -> None:
        """A computed value that is read behind the loop, or outside of the sub-model; `event` is how many dimensions it has."""
        self.scope.kept[name] = value, event

    def stack(self, name: str) -> Tensor:
        """What a loop made of a variable, in all slots, [..., row, plate..., slot, event...]."""
        return self.made[name].value if name in self.made else self.scope.kept[name][0]

    def call(self, name: str, network: nn.Module, plates: Sizes = NO_PLATES, **given: Tensor) -> dict[str, Tensor]:
        """Run a sub-model's side in these plates, with those of its variables that are given; what it makes, by its own names.

        What is known of them, their noise and their temperatures are found here as `NAME.VARIABLE`, and so is what is made.
        """
        place, path = self.scope.place(plates), f"{self.scope.path}{name}."
        scope = Scope(path, place, (), self._weights(place), given, self.scope.axis, self.scope.cells)
        knobs = self.knobs._replace(temperature=within(self.knobs.temperature, name), scope=scope)
        made: dict[str, Draw] = network(within(self.evidence, name), within(self.noise, name), knobs)
        self.made |= {f"{name}.{key}": draw for key, draw in made.items()}
        self.scope.kept.update({f"{name}.{key}": value for key, value in scope.kept.items()})
        return {key: draw.value for key, draw in made.items()} | {key: value for key, (value, _) in scope.kept.items()}

    def _draw(
        self, name: str, distribution: Distribution, plates: Sizes, draw: Callable[[Tensor], Draw], axes: int = 0
    ) -> Tensor:
        """The known value, a draw made from noise, or slot by slot the one or the other."""
        evidence = self._evidence(name, distribution, plates)
        if evidence is None or evidence.known is not None:
            return self._known_or(name, draw(self._noise(name, plates, axes)), plates, evidence)
        value = evidence.value
        if evidence.cells is not None and name in self.noise:  # only where p generates
            value = evidence.completed(distribution.sample(self._noise(name, plates, axes)))
        return self._keep(name, Draw(value, distribution, known=True, cells=evidence.cells), plates)

    def _known_or(self, name: str, made: Draw, plates: Sizes, evidence: Evidence | None) -> Tensor:
        """The known value where there is one, and what was made elsewhere."""
        if evidence is not None and evidence.known is not None:
            value = torch.where(trailing(evidence.known, made.distribution.event), evidence.value, made.value)
            made = replace(made, value=value, known=evidence.known)
        elif evidence is not None:
            made = replace(made, value=evidence.value, known=True)
        return self._keep(name, made, plates)

    def _keep(self, name: str, draw: Draw, plates: Sizes) -> Tensor:
        """Record a draw with its plates and the weights of their slots; an inactive one holds a number that nothing led to."""
        place = self.scope.place(plates)
        active, distribution = joint_weights(self._weights(place), place), draw.distribution
        if active is not None:
            draw = replace(draw, distribution=distribution.shielded(active, len(spanned(place))))
            if not draw.enumerated:
                draw = draw.filled(active, distribution.inside)
        self.made[name] = replace(draw, place=place, active=active)
        return draw.value

    def _weights(self, place: Sequence[Plate]) -> tuple[Weights, ...]:
        """All weights that hold in these plates."""
        return (*self.scope.weights, *(self.weights[plate.name] for plate in place if plate.name in self.weights))

    def _evidence(self, name: str, distribution: Distribution, plates: Sizes) -> Evidence | None:
        """What is known of a variable, in the slots of the loops around it."""
        if name in self.scope.given:
            return Evidence(self.scope.given[name])
        evidence, place, event = self.evidence.get(name), self.scope.place(plates), distribution.event
        if evidence is None:
            return None
        value, known, cells = evidence
        return Evidence(
            pick_slots(value, place, event),
            known if known is None else pick_slots(known, place, 0),
            cells if cells is None else pick_slots(cells, place, event - distribution.joint),
        )

    def _noise(self, name: str, plates: Sizes, axes: int) -> Tensor:
        """The noise of a variable, [sample, row, enumerations..., plate..., event...] in the slots of the loops around it."""
        noise, place = self.noise[name], self.scope.place(plates)
        return pick_slots(noise, place, noise.dim() - 2 - axes - len(place))

    def _here(self, value: Tensor) -> Tensor:
        """Of a value [row, plate..., ...], the slots of the loops around this sub-model."""
        return pick_slots(value, self.scope.outer, value.dim() - 1 - len(self.scope.outer))


def within(values: Mapping[str, T], name: str) -> dict[str, T]:
    """What belongs to a sub-model, by its own names."""
    return {key.removeprefix(f"{name}."): value for key, value in values.items() if key.startswith(f"{name}.")}
