"""A value of a variable, by which right it has it, and what it adds to the objective.

Tensors are laid out [enumerations..., sample, row, plate..., event...]; an axis that a value does not depend on is absent on
the left. A slot that is not active counts nothing, whatever it holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from graphvae.runtime.distributions import Distribution, Relaxable, fill_inactive, sum_event, trailing
from graphvae.runtime.plates import Plate, spanned, stack_slots


class Evidence(NamedTuple):
    """The known values of a variable in a block of rows.

    `value` is [row, plate..., event...] (or, clamped to a draw of q, has that draw's axes); `known` is a mask [row, plate...],
    or None where every one is known. A variable that is unknown in the whole block has no evidence at all. `cells` is the mask
    [row, plate..., elements...] of an observed variable of which some elements may be missing; what stands in their place lies
    in the support.
    """

    value: Tensor
    known: Tensor | None = None
    cells: Tensor | None = None

    def completed(self, other: Tensor) -> Tensor:
        """What is known, and other numbers [..., row, plate..., event...] in place of the rest."""
        mask = self.known if self.cells is None else self.cells
        if mask is None:
            return self.value.expand_as(other)
        return torch.where(trailing(mask, self.value.dim() - mask.dim()), self.value, other)


class Term(NamedTuple):
    """What one variable adds to the objective, each part [enumerations..., sample, row] or absent.

    On a cell that is kept, log q is the sum of the parts that are there: `log_draw` where the variable is sampled, `log_cell`
    where it is enumerated and unknown, `log_label` where it is known. `log_cell` is also the log-weight of the cell: -inf on
    the cells that a label rules out. An observed variable has `log_p` alone. `known` is the mask [row] of a label that is
    missing in some rows. `kl` stands for log q - log p where a divergence has its closed form. `score` says that the draw
    passes its gradient on through log_draw alone; of what a loop drew, `slots` has it slot by slot, each on its own axes.
    """

    log_p: Tensor
    log_draw: Tensor | None = None
    log_cell: Tensor | None = None
    log_label: Tensor | None = None
    known: Tensor | None = None
    kl: Tensor | None = None
    score: bool = False
    slots: tuple[Tensor, ...] = ()

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
    """How a relaxed draw came about: its log-value [..., plate..., event...], and the temperature."""

    log_value: Tensor
    temperature: Tensor


@dataclass(frozen=True)
class Draw:
    """A variable's value under one conditional, and by which right it has it.

    `known` is a mask [row, plate...], or one boolean for the spanned block. Of an enumerated variable, `kept` says which values
    of each slot its labels and its inactive slots leave, [..., row, plate...] (None: all), with the cells on an axis of their
    own. `cells` is the mask of an observed variable with missing elements. A relaxed draw is scored by its density, and a
    `score` draw passes no gradient to its value; from a loop it has those of the `slots`. A `collapsed` one is a mean, which
    nobody scores. `place` are the plates that it stands in, and `active` the weights of their slots [..., row, plate...] (None:
    all are active).
    """

    value: Tensor
    distribution: Distribution
    known: Tensor | bool
    enumerated: bool = False
    kept: Tensor | None = None
    cells: Tensor | None = None
    relaxed: Relaxation | None = None
    score: bool = False
    slots: tuple[Draw, ...] = ()
    collapsed: bool = False
    place: tuple[Plate, ...] = ()
    active: Tensor | None = None

    @property
    def plates(self) -> int:
        """How many dimensions stand between the row and the event."""
        return len(spanned(self.place))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a row's value, [plate..., event...]."""
        return tuple(self.value.shape[self.value.dim() - self.plates - self.distribution.event :])

    @property
    def known_rows(self) -> Tensor | bool:
        """In which rows it is known in some slot, [row]."""
        return any_slot(self.known, self.plates) if isinstance(self.known, Tensor) else self.known

    @property
    def expectation(self) -> Tensor:
        """The mean of the conditional, at least [plate..., event...]."""
        mean = self.distribution.mean
        return mean.expand(torch.broadcast_shapes(mean.shape, self.shape))

    @property
    def mean(self) -> Tensor:
        """The mean of the conditional, and the value itself where it is known; at least [plate..., event...]."""
        if self.known is True:
            return self.value
        if self.known is False:
            return self.expectation
        return torch.where(trailing(self.known, self.distribution.event), self.value, self.expectation)

    @property
    def log_prob(self) -> Tensor:
        """The log-likelihood of an observed value, [..., row]: what is missing of it counts nothing."""
        if self.cells is None:
            return self._over_slots(self.distribution.log_prob(self.value))
        elements = torch.where(self.cells, self.distribution.log_density(self.value), 0.0)
        return self._over_slots(sum_event(elements, self.distribution.event - self.distribution.joint))

    def filled(self, active: Tensor, other: float) -> Draw:
        """The same with another number in the slots that are never active."""
        event, relaxed = self.distribution.event, self.relaxed
        if relaxed is not None:
            relaxed = replace(relaxed, log_value=fill_inactive(relaxed.log_value, active, event, 0.0))
        return replace(self, value=fill_inactive(self.value, active, event, other), relaxed=relaxed)

    def term(self, prior: Distribution, closed: Tensor | bool = False) -> Term:
        """The value's score under this conditional of q and under p's, by one measure.

        `closed` says in which rows log q - log p of the draw is replaced by its mean in closed form.
        """
        nothing = self.value.new_zeros(())
        if self.collapsed and self.known is False:
            return Term(nothing, log_cell=nothing)
        log_p, log_q = self._measured(prior), self._measured(self.distribution)
        if self.known is True:
            return Term(self._over_slots(log_p), log_label=self._over_slots(log_q))
        own, log_label, known = log_q, None, None
        if self.known is not False:
            own, log_label = torch.where(self.known, 0.0, log_q), self._over_slots(torch.where(self.known, log_q, 0.0))
            known = any_slot(self.known, self.plates)
            if self.collapsed:
                return Term(self._over_slots(torch.where(self.known, log_p, 0.0)), None, nothing, log_label, known)
        if self.enumerated:
            return Term(self._over_slots(log_p), None, self._over_cells(own), log_label, known)
        kl = None if closed is False else self._over_slots(self._divergence(prior, log_q - log_p, closed))
        slots = tuple(slot.log_drawn for slot in self.slots)
        return Term(self._over_slots(log_p), self._over_slots(own), None, log_label, known, kl, self.score, slots)

    @property
    def log_drawn(self) -> Tensor:
        """Log q of what is drawn and not known, [..., row]."""
        log_q = self._measured(self.distribution)
        return self._over_slots(torch.where(self.known, 0.0, log_q) if isinstance(self.known, Tensor) else log_q)

    def _measured(self, distribution: Distribution) -> Tensor:
        """The log-probability of the value, or the log-density of a relaxed one, of each slot."""
        if self.relaxed is None:
            return distribution.log_prob(self.value)
        assert isinstance(distribution, Relaxable)
        log_value, temperature = self.relaxed.log_value, self.relaxed.temperature
        density = sum_event(distribution.log_relaxed(log_value, temperature), distribution.event - distribution.joint)
        if not isinstance(self.known, Tensor):
            return density
        return torch.where(self.known, distribution.log_prob(self.value), density)

    def _divergence(self, prior: Distribution, sampled: Tensor, closed: Tensor | bool) -> Tensor:
        """The closed form in the rows that may have it and the slots that do not know the value; elsewhere what was sampled."""
        elements = self.distribution.kl(prior).to(self.value.dtype)  # of numbers alone it comes in double precision
        shape = self.shape[: len(self.shape) - self.distribution.joint]
        kl = elements.expand(torch.broadcast_shapes(elements.shape, shape))
        kl = sum_event(kl, self.distribution.event - self.distribution.joint)
        closed = trailing(closed, self.plates) if isinstance(closed, Tensor) else closed
        unknown = closed & ~self.known if isinstance(self.known, Tensor) else closed
        return torch.where(unknown, kl, sampled) if isinstance(unknown, Tensor) else kl

    def _over_slots(self, slots: Tensor) -> Tensor:
        """What the slots [..., row, plate...] add up to, [..., row]; of an inactive one nothing is even multiplied."""
        if self.active is not None:
            slots = self.active * torch.where(self.active > 0, slots, 0.0)
        return sum_event(slots, self.plates)

    def _over_cells(self, slots: Tensor) -> Tensor:
        """The same of log q of enumerated values, -inf for a cell that is not kept in every slot."""
        log_cell = self._over_slots(slots)
        if self.kept is None:
            return log_cell
        kept = self.kept.flatten(-self.plates).all(-1) if self.plates else self.kept
        return torch.where(kept, log_cell, -torch.inf)


def any_slot(mask: Tensor, plates: int) -> Tensor:
    """What holds in some slot of a mask [row, plate...], [row]."""
    return mask.flatten(-plates).any(-1) if plates else mask


def stack_draws(slots: Sequence[Draw], plate: str) -> Draw:
    """The draws of a variable in the slots of a loop, as one draw with a dimension for the plate."""
    first = slots[0]
    number = next(number for number, each in enumerate(first.place) if each.name == plate)
    place, event = first.place, first.distribution.event
    behind = len(spanned(place[number + 1 :]))

    def stack(parts: Sequence[Tensor | None], dimensions: int) -> Tensor | None:
        there = [part for part in parts if part is not None]
        return stack_slots(there, behind + dimensions) if there else None

    log_value = stack([slot.relaxed.log_value if slot.relaxed else None for slot in slots], event)
    known = stack([slot.known if isinstance(slot.known, Tensor) else None for slot in slots], 0)
    return replace(
        first,
        value=stack_slots([slot.value for slot in slots], behind + event),
        distribution=first.distribution.stack([slot.distribution for slot in slots], behind + event, first.value.dtype),
        known=first.known if known is None else known,
        kept=stack([slot.kept for slot in slots], 0),
        cells=stack([slot.cells for slot in slots], event - first.distribution.joint),
        relaxed=Relaxation(log_value, first.relaxed.temperature) if first.relaxed and log_value is not None else None,
        slots=tuple(each for slot in slots for each in (slot.slots or (slot,))) if first.score else (),
        place=(*place[:number], replace(place[number], slot=None, looped=True), *place[number + 1 :]),
        active=stack([slot.active for slot in slots], 0),
    )


def equal_cells(cells: Tensor, value: Tensor, event: int) -> Tensor:
    """Where a cell is the known value, without the event; data in single precision is not quite a number in double."""
    agrees = (cells - value).abs() < 1e-5
    return agrees.flatten(-event).all(-1) if event else agrees


def joint_values(values: int, sizes: Sequence[int]) -> Tensor:
    """Which of so many values each slot has, in every joint cell of all slots, [cell, plate...].

    >>> joint_values(2, (2,)).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    return torch.cartesian_prod(*[torch.arange(values)] * math.prod(sizes)).reshape(-1, *sizes)
