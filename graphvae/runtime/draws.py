"""What is known, what is drawn, and how the two meet: the only place that looks at masks.

Tensors are laid out [enumerations..., sample, row, plate..., event...]; an axis that a value does not depend on is absent on
the left. Slots that are not active count nothing, whatever is in them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from graphvae.runtime.distributions import Distribution, Relaxable, stack_distributions, stacked, sum_event, trailing


class Evidence(NamedTuple):
    """The known values of a variable in a block of rows.

    `value` is [row, plate..., event...] (or, clamped to a draw of q, has that draw's axes); `known` is a mask [row, plate...],
    or None where all is known. A variable that is unknown in the whole block has no evidence at all. `cells` is the mask [row,
    plate..., elements...] of an observed variable of which some elements may be missing; what stands in their place lies in the
    support.
    """

    value: Tensor
    known: Tensor | None = None
    cells: Tensor | None = None

    def completed(self, other: Tensor) -> Tensor:
        """What is known, and other numbers [..., row, event...] in place of the rest."""
        mask = self.known if self.cells is None else self.cells
        if mask is None:
            return self.value.expand_as(other)
        return torch.where(trailing(mask, self.value.dim() - mask.dim()), self.value, other)


class Scope(NamedTuple):
    """Where a sub-model is called: in so many slots of each of these plates at once, and, in a loop behind them, in one slot."""

    sizes: tuple[int, ...] = ()
    slot: int | None = None


class Knobs(NamedTuple):
    """What may change from step to step, as 0-d tensors.

    `alpha` by label and `beta` by variable of q (labels share one) weigh the objective. `temperature` is that of a relaxed
    draw; a variable that has none is drawn hard. `scopes` are the plates around a sub-model, from the outermost call.
    """

    alpha: Mapping[str, Tensor]
    beta: Mapping[str, Tensor]
    temperature: Mapping[str, Tensor] = MappingProxyType({})
    scopes: tuple[Scope, ...] = ()


class Term(NamedTuple):
    """What one variable adds to the objective, each part [enumerations..., sample, row] or absent.

    On a cell that is kept, log q is the sum of the parts that are there: `log_draw` where the variable is sampled, `log_cell`
    where it is enumerated and unknown, `log_label` where it is known. `log_cell` is also the log-weight of the cell: -inf on
    the cells that a label rules out. An observed variable has `log_p` alone. `known` is the mask [row] of a label that is
    missing in some rows. `kl` stands for log q - log p where a divergence has its closed form. `score` says that the draw
    passes its gradient on through log_draw alone.
    """

    log_p: Tensor
    log_draw: Tensor | None = None
    log_cell: Tensor | None = None
    log_label: Tensor | None = None
    known: Tensor | None = None
    kl: Tensor | None = None
    score: bool = False

    @property
    def observed(self) -> bool:
        """Whether q has nothing to say of the variable."""
        return self.log_draw is None and self.log_cell is None and self.log_label is None

    @property
    def log_q(self) -> Tensor:
        """Log q of the variable at its value, wherever it came from; on a cell that a label rules out it means nothing."""
        parts = (self.log_draw, self.log_cell, self.log_label)
        return reduce(torch.add, [part for part in parts if part is not None])

    @property
    def divergence(self) -> Tensor:
        """Log q - log p, or its mean over the draw."""
        return self.kl if self.kl is not None else self.log_q - self.log_p


@dataclass(frozen=True)
class Relaxation:
    """How a relaxed draw came about: its log-value [..., event...], and the temperature."""

    log_value: Tensor
    temperature: Tensor


@dataclass(frozen=True)
class Draw:
    """A variable's value under one conditional, and by which right it has it.

    `known` is a mask [row, plate...], or one boolean for the whole block. Of an enumerated variable, `agrees` says where a cell
    is the known value (None: nothing is known). `cells` is the mask of an observed variable with missing elements. A relaxed
    draw is scored by its density, a `score` draw passes no gradient to its value, and a `collapsed` one is a mean that is not
    scored. There are `plates` dimensions between the row and the event, the last `inner` of them of a sub-model's own plates;
    `active` are the weights of their slots, [..., row, plate...], or None where all are active.
    """

    value: Tensor
    distribution: Distribution
    known: Tensor | bool
    enumerated: bool = False
    agrees: Tensor | None = None
    cells: Tensor | None = None
    relaxed: Relaxation | None = None
    score: bool = False
    collapsed: bool = False
    plates: int = 0
    inner: int = 0
    active: Tensor | None = None

    @property
    def event(self) -> tuple[int, ...]:
        """The shape of one value."""
        return tuple(self.value.shape[self.value.dim() - self.distribution.event :])

    @property
    def known_rows(self) -> Tensor | bool:
        """In which rows it is known in some slot, [row]."""
        known = self.known
        return known.flatten(1).any(1) if isinstance(known, Tensor) and known.dim() > 1 else known

    @property
    def mean(self) -> Tensor:
        """The mean of the conditional, and the value itself where it is known; at least [event...]."""
        if self.known is True:
            return self.value
        mean = self.distribution.mean
        mean = mean.expand(torch.broadcast_shapes(mean.shape, self.event))
        return mean if self.known is False else torch.where(trailing(self.known, len(self.event)), self.value, mean)

    @property
    def log_prob(self) -> Tensor:
        """The log-likelihood of an observed value, [..., row]: what is missing of it counts nothing."""
        if self.cells is None:
            return self._in_row(self._measured(self.distribution))
        elements = torch.where(self.cells, self.distribution.log_density(self._shown), 0.0)
        return self._in_row(sum_event(elements, self.distribution.event - self.distribution.joint))

    def term(self, prior: Distribution, closed: Tensor | bool = False) -> Term:
        """The value's score under this conditional of q and under p's, by one measure.

        `closed` says in which rows log q - log p of the draw is replaced by its mean in closed form.
        """
        log_p, log_q = self._measured(prior), self._measured(self.distribution)
        if self.collapsed:
            log_p = torch.where(self.known, log_p, 0.0) if isinstance(self.known, Tensor) else log_p * self.known
        total_p = self._in_row(log_p)
        if self.known is True:
            return Term(total_p, log_label=self._in_row(log_q))
        if self.collapsed:
            return self._collapsed(total_p, log_q)
        kl = None if closed is False else self._in_row(self._divergence(prior, log_q - log_p, closed))
        if self.enumerated:
            return self._enumerated(total_p, log_q)
        if self.known is False:
            return Term(total_p, log_draw=self._in_row(log_q), kl=kl, score=self.score)
        log_draw = self._in_row(torch.where(self._mask, 0.0, log_q))
        log_label = self._in_row(torch.where(self._mask, log_q, 0.0))
        return Term(total_p, log_draw, log_label=log_label, known=self._rows, kl=kl, score=self.score)

    @property
    def _rows(self) -> Tensor:
        rows = self.known_rows
        assert isinstance(rows, Tensor)
        return rows

    def _collapsed(self, log_p: Tensor, log_q: Tensor) -> Term:
        """Nothing where the value is a mean; a label where it is known."""
        if self.known is False:
            return Term(log_p, log_draw=torch.zeros_like(log_p))
        log_label = self._in_row(torch.where(self._mask, log_q, 0.0))
        return Term(log_p, log_draw=torch.zeros_like(log_label), log_label=log_label, known=self._rows)

    def _enumerated(self, log_p: Tensor, log_q: Tensor) -> Term:
        """The log-weight of each cell, -inf where a label rules it out or a slot that is not active has a second value."""
        log_cell = self._in_row(torch.where(self._mask, 0.0, log_q))
        for kept in self._kept():
            log_cell = torch.where(kept.flatten(-self.plates).all(-1) if self.plates else kept, log_cell, -torch.inf)
        if self.known is False:
            return Term(log_p, log_cell=log_cell)
        return Term(log_p, log_cell=log_cell, log_label=self._in_row(torch.where(self._mask, log_q, 0.0)), known=self._rows)

    def _kept(self) -> Iterator[Tensor]:
        """Which cells [..., row, plate...] agree with labels, and which do with a slot that is not active: its first alone."""
        if self.agrees is not None:
            yield ~self._mask | self.agrees
        if self.active is not None:
            first = equal_cells(self.value, self.distribution.cells()[0], self.distribution.event)
            yield first | self._mask | (self.active > 0)

    @property
    def _mask(self) -> Tensor:
        return self.known if isinstance(self.known, Tensor) else torch.tensor(self.known, device=self.value.device)

    def _in_row(self, slots: Tensor) -> Tensor:
        """Log-probabilities [..., row, plate...], added up over the active slots: [..., row]."""
        if self.active is not None:
            slots = torch.where(self.active > 0, self.active * slots, 0.0)
        return sum_event(slots, self.plates)

    @property
    def _shown(self) -> Tensor:
        """The value, with one inside the support in slots that are not active."""
        if self.active is None or self.enumerated:
            return self.value
        return torch.where(trailing(self.active > 0, self.distribution.event), self.value, self.distribution.inside)

    def _measured(self, distribution: Distribution) -> Tensor:
        """The log-probability of the value, or the log-density of a relaxed one, in every slot."""
        if self.relaxed is None:
            return distribution.log_prob(self._shown)
        assert isinstance(distribution, Relaxable)
        log_value, temperature = self.relaxed.log_value, self.relaxed.temperature
        density = sum_event(distribution.log_relaxed(log_value, temperature), distribution.event - distribution.joint)
        if not isinstance(self.known, Tensor):
            return density
        return torch.where(self.known, distribution.log_prob(self._shown), density)

    def _divergence(self, prior: Distribution, sampled: Tensor, closed: Tensor | bool) -> Tensor:
        """The closed form in the slots of rows that may have it and do not know the value; elsewhere what was sampled."""
        elements = self.distribution.kl(prior).to(self.value.dtype)  # of numbers alone it comes in double precision
        shape = self.event[: len(self.event) - self.distribution.joint]
        kl = sum_event(elements.expand(torch.broadcast_shapes(elements.shape, shape)), len(shape))
        rows = trailing(closed, self.plates) if isinstance(closed, Tensor) else closed
        unknown = rows & ~self.known if isinstance(self.known, Tensor) else rows
        if isinstance(unknown, Tensor):
            return torch.where(unknown, kl, sampled)
        return torch.broadcast_to(kl, torch.broadcast_shapes(kl.shape, sampled.shape)) if self.plates else kl


Plates = Mapping[str, int]
"""The plates that a value has dimensions for, the outermost first, with their sizes."""
NO_PLATES: Plates = MappingProxyType({})


@dataclass
class Draws:
    """The record that a network's forward pass keeps: every value comes from evidence, from noise or from enumeration.

    Masks are applied to values, before any log-probability: a missing label is NaN and never meets a gradient. A view of one
    slot of a loop has its number in `slot`.
    """

    evidence: Mapping[str, Evidence]
    noise: Mapping[str, Tensor]
    knobs: Knobs
    made: dict[str, Draw] = field(default_factory=dict)
    known_cells: dict[int, Tensor] = field(default_factory=dict)
    """The number of the known cell [row], of each enumeration axis that this pass does not have because all is known."""
    weights: dict[str, Tensor] = field(default_factory=dict)
    """The weights [..., row, slot] of the slots of each plate that has a count."""
    kept: dict[str, Tensor] = field(default_factory=dict)
    """Computed values that are read behind a loop."""
    kept_events: dict[str, int] = field(default_factory=dict)
    """How many dimensions one of these values has."""
    slot: int | None = None

    def given(self, name: str) -> Tensor:
        """A variable that is known in every row and conditioned on."""
        return self.evidence[name].value

    def masked(self, name: str) -> tuple[Tensor, Tensor]:
        """An observed variable with zeros for what is missing, [row, plate..., event...], and what is there as 1."""
        value, _, cells = self.evidence[name]
        assert cells is not None
        there = trailing(cells, value.dim() - cells.dim())
        return torch.where(there, value, 0.0), cells.to(value.dtype)

    def active(self, plate: str, count: Tensor, values: Sequence[int] | None, size: int) -> Tensor:
        """The weights of a plate's slots, [..., row, slot]: 1 where the slot's number is below the count, else 0.

        `values` are what the categories of the count stand for; without them it is a number itself. The weight of a slot
        under a relaxed count is what the count has on the values above it.
        """
        slots = torch.arange(size, device=count.device)
        if values is None:
            weight = (slots < count.unsqueeze(-1)).to(count.dtype)
        else:
            weight = count @ (torch.tensor(values, device=count.device).unsqueeze(-1) > slots).to(count.dtype)
        self.weights[plate] = weight
        return weight

    def sample(self, name: str, distribution: Distribution, plates: Plates = NO_PLATES) -> Tensor:
        """The known value where there is one, and a draw elsewhere. Returns [..., row, plate..., event...]."""
        return self._draw(name, distribution, plates, lambda noise: Draw(distribution.sample(noise), distribution, known=False))

    def mean(self, name: str, distribution: Distribution, plates: Plates = NO_PLATES) -> Tensor:
        """The known value where there is one, and elsewhere the mean, which is not scored."""
        shape = (*self._sizes(plates), *event_shape(distribution))
        mean = torch.broadcast_to(distribution.mean, torch.broadcast_shapes(distribution.mean.shape, shape))
        made = Draw(mean, distribution, known=False, collapsed=True)
        return self._known_or(name, made, plates)

    def concrete(self, name: str, distribution: Relaxable, plates: Plates = NO_PLATES) -> Tensor:
        """A relaxed draw at this step's temperature; without one, a hard draw. Returns [..., row, plate..., event...]."""
        temperature = self.knobs.temperature.get(name)
        if temperature is None:
            return self.sample(name, distribution, plates)

        def relaxed(noise: Tensor) -> Draw:
            log_value = distribution.relax(noise, temperature)
            value = distribution.soften(log_value)
            return Draw(value, distribution, known=False, relaxed=Relaxation(log_value, temperature))

        return self._draw(name, distribution, plates, relaxed)

    def straight_through(self, name: str, distribution: Relaxable, plates: Plates = NO_PLATES) -> Tensor:
        """A hard draw whose gradient is that of the relaxed one of the same noise (Bengio et al. 2013; Jang et al. 2017)."""
        temperature = self.knobs.temperature.get(name)
        if temperature is None:
            return self.sample(name, distribution, plates)

        def hard(noise: Tensor) -> Draw:
            soft = distribution.soften(distribution.relax(noise, temperature))
            return Draw(distribution.sample(noise) + (soft - soft.detach()), distribution, known=False)

        return self._draw(name, distribution, plates, hard)

    def score_function(self, name: str, distribution: Distribution, axes: int = 0, plates: Plates = NO_PLATES) -> Tensor:
        """A draw that passes no gradient on to its value: the objective takes it from log q (Williams 1992).

        Below enumerated variables the draws of different cells are independent, and the first `axes` enumeration axes have
        noise of their own: it comes as [sample, row, enumerations..., plate..., event...].
        """

        def detached(noise: Tensor) -> Draw:
            own = noise.movedim(tuple(range(2, 2 + axes)), tuple(range(axes)))
            for axis, cell in self.known_cells.items():
                if axis < axes and own.shape[axes - 1 - axis] > 1:
                    by_row = cell.reshape(*(1,) * (axes + 1), -1, *(1,) * (own.dim() - axes - 2))
                    own = own.take_along_dim(by_row, axes - 1 - axis)
            return Draw(distribution.sample(own).detach(), distribution, known=False, score=True)

        return self._draw(name, distribution, plates, detached, axes)

    def enumerate(self, name: str, distribution: Distribution, axis: int, plates: Plates = NO_PLATES) -> Tensor:
        """Every value on an enumeration axis of its own, the `axis`-th to the left of the samples, of all slots jointly.

        Where the whole block is known, the known value and no axis. In a loop the slots have an axis each.
        """
        sizes, axis = self._sizes(plates), axis + self._slot_number
        cells = joint_cells(distribution.cells(), sizes)
        evidence, event = self._evidence(name, distribution, plates), distribution.event + len(sizes)
        made = Draw(cells, distribution, known=True, plates=len(sizes), active=self._weights(plates))
        if evidence is not None and evidence.known is None:
            if evidence.value.dim() == event + 1:
                self.known_cells[axis] = equal_cells(cells.unsqueeze(1), evidence.value, event).byte().argmax(0)
            return self._keep(name, replace(made, value=evidence.value))
        value = cells.reshape(cells.shape[0], *(1,) * (axis + 2), *cells.shape[1:])
        made = replace(made, value=value, known=False, enumerated=True)
        if evidence is not None:
            assert evidence.known is not None
            made = replace(made, known=evidence.known, agrees=equal_cells(value, evidence.value, distribution.event))
        return self._keep(name, made)

    def slots(self, plate: str, size: int) -> Iterator[Draws]:
        """A view of each slot of an ordered plate, in turn; behind the last, what was made in them is joined."""
        views = [replace(self, made={}, kept={}, weights=dict(self.weights), slot=slot) for slot in range(size)]
        yield from views
        weight = self.weights.get(plate)
        for name in views[-1].made:
            self.made[name] = joined([view.made[name] for view in views], weight)
        for name in views[-1].kept:
            values = torch.broadcast_tensors(*(view.kept[name] for view in views))
            self.kept[name] = torch.stack(values, -1 - views[-1].kept_events[name])
        for view in views:
            self.known_cells |= view.known_cells

    def at(self, value: Tensor, event: int) -> Tensor:
        """This slot of a value [..., slot, event...] that was made outside of the loop."""
        assert self.slot is not None
        return value.select(-1 - event, self.slot)

    def keep(self, name: str, value: Tensor, event: int = 1) -> None:
        """Keep a computed value of this slot, of which `event` dimensions are one value."""
        self.kept[name] = value
        self.kept_events[name] = event

    def stack(self, name: str) -> Tensor:
        """What a loop made, of all slots."""
        return self.made[name].value if name in self.made else self.kept[name]

    def call(self, name: str, part: nn.Module, plates: Plates = NO_PLATES, **inputs: Tensor) -> dict[str, Tensor]:
        """Run the side of a sub-model, in all slots of some plates at once; returns what it makes, by its own names.

        What is known of its variables, their noise and their temperatures go by `name.VARIABLE`.
        """

        def own(mapping: Mapping[str, Any]) -> dict[str, Any]:
            return {key.removeprefix(f"{name}."): value for key, value in mapping.items() if key.startswith(f"{name}.")}

        scopes = (*self.knobs.scopes, Scope(tuple(plates.values()), self.slot))
        knobs = self.knobs._replace(temperature=own(self.knobs.temperature), scopes=scopes)
        evidence = own(self.evidence) | {key: Evidence(value) for key, value in inputs.items()}
        made: dict[str, Draw] = part(evidence, own(self.noise), knobs)
        for key, draw in made.items():
            inner = draw.plates - sum(len(scope.sizes) for scope in scopes)
            weights = self._weights(plates)
            active = trailing(weights, inner) if weights is not None else None
            both = active if draw.active is None else draw.active if active is None else draw.active * active
            self.made[f"{name}.{key}"] = replace(draw, inner=inner, active=both)
        return {key: draw.value for key, draw in made.items()}

    def _draw(
        self, name: str, distribution: Distribution, plates: Plates, draw: Callable[[Tensor], Draw], axes: int = 0
    ) -> Tensor:
        """The known value, a draw made from noise, or slot by slot the one or the other."""
        evidence = self._evidence(name, distribution, plates)
        if evidence is not None and evidence.known is None:
            value = evidence.value
            if evidence.cells is not None and name in self.noise:  # only where p generates
                value = evidence.completed(distribution.sample(self._noise(name, plates, axes)))
            made = Draw(value, distribution, known=True, cells=evidence.cells)
            return self._keep(name, self._placed(made, plates))
        return self._known_or(name, draw(self._noise(name, plates, axes)), plates)

    def _known_or(self, name: str, made: Draw, plates: Plates) -> Tensor:
        """The known value in the slots that have one, and what was made in the others."""
        evidence = self._evidence(name, made.distribution, plates)
        if evidence is not None and evidence.known is None:
            made = replace(made, value=evidence.value, known=True)
        elif evidence is not None and evidence.known is not None:
            value = torch.where(trailing(evidence.known, made.distribution.event), evidence.value, made.value)
            made = replace(made, value=value, known=evidence.known)
        return self._keep(name, self._placed(made, plates))

    def _placed(self, made: Draw, plates: Plates) -> Draw:
        return replace(made, plates=len(self._sizes(plates)), active=self._weights(plates))

    def _keep(self, name: str, draw: Draw) -> Tensor:
        self.made[name] = draw
        return draw.value

    @property
    def _slot_number(self) -> int:
        """How many axes the slots before have taken, of every enumerated variable in the loop."""
        return (self.slot or 0) + sum(scope.slot or 0 for scope in self.knobs.scopes)

    def _sizes(self, plates: Plates) -> tuple[int, ...]:
        """The sizes of the plates of a value in here: those around the sub-model, and its own."""
        return (*(size for scope in self.knobs.scopes for size in scope.sizes), *plates.values())

    def _weights(self, plates: Plates) -> Tensor | None:
        """The weights [..., row, plate...] of the slots of a sub-model's own plates; None where all count."""
        counted = [name for name in plates if name in self.weights]
        each = [trailing(self.weights[name], len(plates) - 1 - list(plates).index(name)) for name in counted]
        for place, name in enumerate(counted):
            for _ in range(list(plates).index(name)):
                each[place] = each[place].unsqueeze(-len(plates))
        return reduce(torch.mul, each) if each else None

    def _evidence(self, name: str, distribution: Distribution, plates: Plates) -> Evidence | None:
        """What is known of a variable, in the slots of the loops that this is in."""
        evidence = self.evidence.get(name)
        if evidence is None or not self._in_loop:
            return evidence
        value, known, cells = evidence
        elements = distribution.event - distribution.joint
        return Evidence(
            self._selected(value, distribution.event, plates),
            known if known is None else self._selected(known, 0, plates),
            cells if cells is None else self._selected(cells, elements, plates),
        )

    @property
    def _in_loop(self) -> bool:
        return self.slot is not None or any(scope.slot is not None for scope in self.knobs.scopes)

    def _selected(self, value: Tensor, event: int, plates: Plates) -> Tensor:
        """The slots of the loops that this is in, of a value [..., plate..., event...], from the innermost."""
        if self.slot is not None:
            value = value.select(-1 - event, self.slot)
        place = event + len(plates)
        for scope in reversed(self.knobs.scopes):
            if scope.slot is not None:
                value = value.select(-1 - place, scope.slot)
            place += len(scope.sizes)
        return value

    def _noise(self, name: str, plates: Plates, axes: int) -> Tensor:
        """The noise of a variable [sample, row, enumerations..., plate..., event...], in the slots of the loops that this is in."""
        noise, place = self.noise[name], 2 + axes
        for scope in self.knobs.scopes:
            place += len(scope.sizes)
            if scope.slot is not None:
                noise = noise.select(place, scope.slot)
        return noise if self.slot is None else noise.select(place + len(plates), self.slot)


def joined(draws: Sequence[Draw], weight: Tensor | None) -> Draw:
    """The draws of a variable in the slots of a loop, as one draw in all of them."""
    first = draws[0]
    event = first.distribution.event
    plates = first.inner + event
    known: Tensor | bool = first.known
    if any(isinstance(draw.known, Tensor) or draw.known != known for draw in draws):
        rows = next(draw.known for draw in draws if isinstance(draw.known, Tensor))
        known = stacked(
            [draw.known if isinstance(draw.known, Tensor) else torch.full_like(rows, draw.known) for draw in draws], first.inner
        )
    active = None if first.active is None else stacked([draw.active for draw in draws if draw.active is not None], first.inner)
    if weight is not None:
        others = first.plates - first.inner
        shaped = trailing(weight, first.inner)
        for _ in range(others):
            shaped = shaped.unsqueeze(-2 - first.inner)
        active = shaped if active is None else active * shaped
    return replace(
        first,
        value=stacked([draw.value for draw in draws], plates),
        distribution=stack_distributions([draw.distribution for draw in draws], first.inner),
        known=known,
        agrees=_stacked_masks([draw.agrees for draw in draws], first.inner),
        cells=_stacked_masks([draw.cells for draw in draws], plates - first.distribution.joint),
        relaxed=_stacked_relaxations([draw.relaxed for draw in draws], plates),
        plates=first.plates + 1,
        active=active,
    )


def _stacked_masks(masks: Sequence[Tensor | None], behind: int) -> Tensor | None:
    present = [mask for mask in masks if mask is not None]
    return stacked(present, behind) if present else None


def _stacked_relaxations(each: Sequence[Relaxation | None], behind: int) -> Relaxation | None:
    present = [one for one in each if one is not None]
    return Relaxation(stacked([one.log_value for one in present], behind), present[0].temperature) if present else None


def equal_cells(cells: Tensor, value: Tensor, event: int) -> Tensor:
    """Where a cell is the known value, without the event; data in single precision is not quite a number in double."""
    agrees = (cells - value).abs() < 1e-5
    return agrees.flatten(-event).all(-1) if event else agrees


def joint_cells(cells: Tensor, sizes: Sequence[int]) -> Tensor:
    """Every joint value [cells, plate..., event...] of slots that have these values [cell, event...] each.

    >>> joint_cells(torch.tensor([0.0, 1.0]), (2,)).tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    if not sizes:
        return cells
    index = torch.cartesian_prod(*[torch.arange(len(cells), device=cells.device)] * math.prod(sizes))
    return cells[index].reshape(-1, *sizes, *cells.shape[1:])


def event_shape(distribution: Distribution) -> tuple[int, ...]:
    """The shape of one value, as far as the mean shows it."""
    mean = distribution.mean
    return tuple(mean.shape[max(0, mean.dim() - distribution.event) :])
