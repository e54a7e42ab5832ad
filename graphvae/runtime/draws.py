"""What is known, what is drawn, and how the two meet: the only place that looks at masks.

Tensors are laid out [enumerations..., sample, row, event...]; an axis that a value does not depend on is absent on the left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from graphvae.runtime.distributions import Distribution, Relaxable, sum_event, trailing


class Evidence(NamedTuple):
    """The known values of a variable in a block of rows.

    `value` is [row, event...] (or, clamped to a draw of q, has that draw's axes); `known` is a mask [row], or None where every
    row is known. A variable that is unknown in the whole block has no evidence at all. `cells` is the mask [row, elements...]
    of an observed variable of which some elements may be missing; what stands in their place lies in the support.
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


class Knobs(NamedTuple):
    """What may change from step to step, as 0-d tensors.

    `alpha` by label and `beta` by variable of q (labels share one) weigh the objective. `temperature` is that of a relaxed
    draw; a variable that has none is drawn hard.
    """

    alpha: Mapping[str, Tensor]
    beta: Mapping[str, Tensor]
    temperature: Mapping[str, Tensor] = MappingProxyType({})


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

    `known` is a mask [row], or one boolean for the whole block. Of an enumerated variable, `kept` says which cells its labels
    leave (None: all), with the cells on an axis of their own. `cells` is the mask of an observed variable with missing
    elements. A relaxed draw is scored by its density, and a `score` draw passes no gradient to its value.
    """

    value: Tensor
    distribution: Distribution
    known: Tensor | bool
    enumerated: bool = False
    kept: Tensor | None = None
    cells: Tensor | None = None
    relaxed: Relaxation | None = None
    score: bool = False

    @property
    def event(self) -> tuple[int, ...]:
        """The shape of one value."""
        return tuple(self.value.shape[self.value.dim() - self.distribution.event :])

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
            return self.distribution.log_prob(self.value)
        elements = torch.where(self.cells, self.distribution.log_density(self.value), 0.0)
        return sum_event(elements, self.distribution.event - self.distribution.joint)

    def term(self, prior: Distribution, closed: Tensor | bool = False) -> Term:
        """The value's score under this conditional of q and under p's, by one measure.

        `closed` says in which rows log q - log p of the draw is replaced by its mean in closed form.
        """
        log_p, log_q = self._measured(prior), self._measured(self.distribution)
        if self.known is True:
            return Term(log_p, log_label=log_q)
        kl = None if closed is False else self._divergence(prior, log_q - log_p, closed)
        if self.known is False:
            if self.enumerated:
                return Term(log_p, log_cell=log_q)
            return Term(log_p, log_draw=log_q, kl=kl, score=self.score)
        log_label = torch.where(self.known, log_q, 0.0)
        if not self.enumerated:
            log_draw = torch.where(self.known, 0.0, log_q)
            return Term(log_p, log_draw=log_draw, log_label=log_label, known=self.known, kl=kl, score=self.score)
        kept = torch.ones_like(self.known) if self.kept is None else self.kept
        log_cell = torch.where(self.known, torch.where(kept, 0.0, -torch.inf), log_q)
        return Term(log_p, log_cell=log_cell, log_label=log_label, known=self.known)

    def _measured(self, distribution: Distribution) -> Tensor:
        """The log-probability of the value, or the log-density of a relaxed one."""
        if self.relaxed is None:
            return distribution.log_prob(self.value)
        assert isinstance(distribution, Relaxable)
        log_value, temperature = self.relaxed.log_value, self.relaxed.temperature
        density = sum_event(distribution.log_relaxed(log_value, temperature), distribution.event - distribution.joint)
        if not isinstance(self.known, Tensor):
            return density
        return torch.where(self.known, distribution.log_prob(self.value), density)

    def _divergence(self, prior: Distribution, sampled: Tensor, closed: Tensor | bool) -> Tensor:
        """The closed form in the rows that may have it and do not know the value; elsewhere what was sampled."""
        elements = self.distribution.kl(prior).to(self.value.dtype)  # of numbers alone it comes in double precision
        shape = self.event[: len(self.event) - self.distribution.joint]
        kl = sum_event(elements.expand(torch.broadcast_shapes(elements.shape, shape)), len(shape))
        unknown = closed & ~self.known if isinstance(self.known, Tensor) else closed
        return torch.where(unknown, kl, sampled) if isinstance(unknown, Tensor) else kl


@dataclass
class Draws:
    """The record that a network's forward pass keeps: every value comes from evidence, from noise or from enumeration.

    Masks are applied to values, before any log-probability: a missing label is NaN and never meets a gradient.
    """

    evidence: Mapping[str, Evidence]
    noise: Mapping[str, Tensor]
    knobs: Knobs
    made: dict[str, Draw] = field(default_factory=dict)
    known_cells: dict[int, Tensor] = field(default_factory=dict)
    """The number of the known cell [row], of each enumeration axis that this pass does not have because all is known."""

    def given(self, name: str) -> Tensor:
        """A variable that is known in every row and conditioned on."""
        return self.evidence[name].value

    def masked(self, name: str) -> tuple[Tensor, Tensor]:
        """An observed variable with zeros for what is missing, [row, event...], and what is there, [row, elements...], as 1."""
        value, _, cells = self.evidence[name]
        assert cells is not None
        there = trailing(cells, value.dim() - cells.dim())
        return torch.where(there, value, 0.0), cells.to(value.dtype)

    def sample(self, name: str, distribution: Distribution) -> Tensor:
        """The known value where there is one, and a draw elsewhere. Returns [..., row, event...]."""
        return self._draw(name, distribution, lambda noise: Draw(distribution.sample(noise), distribution, known=False))

    def concrete(self, name: str, distribution: Relaxable) -> Tensor:
        """A relaxed draw at this step's temperature; without one, a hard draw. Returns [..., row, event...]."""
        temperature = self.knobs.temperature.get(name)
        if temperature is None:
            return self.sample(name, distribution)

        def relaxed(noise: Tensor) -> Draw:
            log_value = distribution.relax(noise, temperature)
            value = distribution.soften(log_value)
            return Draw(value, distribution, known=False, relaxed=Relaxation(log_value, temperature))

        return self._draw(name, distribution, relaxed)

    def straight_through(self, name: str, distribution: Relaxable) -> Tensor:
        """A hard draw whose gradient is that of the relaxed one of the same noise (Bengio et al. 2013; Jang et al. 2017)."""
        temperature = self.knobs.temperature.get(name)
        if temperature is None:
            return self.sample(name, distribution)

        def hard(noise: Tensor) -> Draw:
            soft = distribution.soften(distribution.relax(noise, temperature))
            return Draw(distribution.sample(noise) + (soft - soft.detach()), distribution, known=False)

        return self._draw(name, distribution, hard)

    def score_function(self, name: str, distribution: Distribution, axes: int = 0) -> Tensor:
        """A draw that passes no gradient on to its value: the objective takes it from log q (Williams 1992).

        Below enumerated variables the draws of different cells are independent, and the first `axes` enumeration axes have
        noise of their own: it comes as [sample, row, enumerations..., event...].
        """

        def detached(noise: Tensor) -> Draw:
            own = noise.movedim(tuple(range(2, 2 + axes)), tuple(range(axes)))
            for axis, cell in self.known_cells.items():
                if axis < axes and own.shape[axes - 1 - axis] > 1:
                    by_row = cell.reshape(*(1,) * (axes + 1), -1, *(1,) * (own.dim() - axes - 2))
                    own = own.take_along_dim(by_row, axes - 1 - axis)
            return Draw(distribution.sample(own).detach(), distribution, known=False, score=True)

        return self._draw(name, distribution, detached)

    def enumerate(self, name: str, distribution: Distribution, axis: int) -> Tensor:
        """Every value on an enumeration axis of its own, the `axis`-th to the left of the samples.

        Where the whole block is known, the known value and no axis.
        """
        evidence = self.evidence.get(name)
        cells = distribution.cells()
        if evidence is not None and evidence.known is None:
            self.known_cells[axis] = equal_cells(cells.unsqueeze(1), evidence.value, distribution.event).byte().argmax(0)
            return self._keep(name, Draw(evidence.value, distribution, known=True))
        value = cells.reshape(cells.shape[0], *(1,) * (axis + 2), *cells.shape[1:])
        if evidence is None:
            return self._keep(name, Draw(value, distribution, known=False, enumerated=True))
        assert evidence.known is not None
        agrees = equal_cells(value, evidence.value, distribution.event)
        return self._keep(name, Draw(value, distribution, evidence.known, enumerated=True, kept=~evidence.known | agrees))

    def _draw(self, name: str, distribution: Distribution, draw: Callable[[Tensor], Draw]) -> Tensor:
        """The known value, a draw made from noise, or row by row the one or the other."""
        evidence = self.evidence.get(name)
        if evidence is not None and evidence.known is None:
            value = evidence.value
            if evidence.cells is not None and name in self.noise:  # only where p generates
                value = evidence.completed(distribution.sample(self.noise[name]))
            return self._keep(name, Draw(value, distribution, known=True, cells=evidence.cells))
        made = draw(self.noise[name])
        if evidence is not None and evidence.known is not None:
            value = torch.where(trailing(evidence.known, distribution.event), evidence.value, made.value)
            made = replace(made, value=value, known=evidence.known)
        return self._keep(name, made)

    def _keep(self, name: str, draw: Draw) -> Tensor:
        self.made[name] = draw
        return draw.value


def equal_cells(cells: Tensor, value: Tensor, event: int) -> Tensor:
    """Where a cell is the known value, without the event; data in single precision is not quite a number in double."""
    agrees = (cells - value).abs() < 1e-5
    return agrees.flatten(-event).all(-1) if event else agrees
