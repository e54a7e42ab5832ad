"""What is known, what is drawn, and how the two meet: the only place that looks at masks.

Tensors are laid out [enumerations..., sample, row, event...]; an axis that a value does not depend on is absent on the left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from graphvae.runtime.distributions import Distribution, trailing


class Evidence(NamedTuple):
    """The known values of a variable in a block of rows.

    `value` is [row, event...] (or, clamped to a draw of q, has that draw's axes); `known` is a mask [row], or None where every
    row is known. A variable that is unknown in the whole block has no evidence at all.
    """

    value: Tensor
    known: Tensor | None = None


class Knobs(NamedTuple):
    """The weights of the objective, as 0-d tensors: `alpha` by label, `beta` by variable of q (labels share one)."""

    alpha: Mapping[str, Tensor]
    beta: Mapping[str, Tensor]


class Term(NamedTuple):
    """What one variable adds to the objective, each part [enumerations..., sample, row] or absent.

    On a cell that is kept, log q is the sum of the parts that are there: `log_draw` where the variable is sampled, `log_cell`
    where it is enumerated and unknown, `log_label` where it is known. `log_cell` is also the log-weight of the cell: -inf on
    the cells that a label rules out. An observed variable has `log_p` alone. `known` is the mask [row] of a label that is
    missing in some rows.
    """

    log_p: Tensor
    log_draw: Tensor | None = None
    log_cell: Tensor | None = None
    log_label: Tensor | None = None
    known: Tensor | None = None

    @property
    def observed(self) -> bool:
        """Whether q has nothing to say of the variable."""
        return self.log_draw is None and self.log_cell is None and self.log_label is None

    @property
    def log_q(self) -> Tensor:
        """Log q of the variable at its value, wherever it came from; on a cell that a label rules out it means nothing."""
        parts = (self.log_draw, self.log_cell, self.log_label)
        return reduce(torch.add, [part for part in parts if part is not None])


@dataclass(frozen=True)
class Draw:
    """A variable's value under one conditional, and by which right it has it.

    `known` is a mask [row], or one boolean for the whole block. Of an enumerated variable, `kept` says which cells its labels
    leave (None: all), with the cells on an axis of their own.
    """

    value: Tensor
    distribution: Distribution
    known: Tensor | bool
    enumerated: bool = False
    kept: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """The mean of the conditional, and the value itself where it is known; at least [event...]."""
        if self.known is True:
            return self.value
        mean, event = self.distribution.mean, self.value.shape[self.value.dim() - self.distribution.event :]
        mean = mean.expand(torch.broadcast_shapes(mean.shape, event))
        return mean if self.known is False else torch.where(trailing(self.known, len(event)), self.value, mean)

    def term(self, prior: Distribution) -> Term:
        """The value's score under this conditional of q and under p's, by one measure."""
        log_p, log_q = prior.log_prob(self.value), self.distribution.log_prob(self.value)
        if self.known is True:
            return Term(log_p, log_label=log_q)
        if self.known is False:
            return Term(log_p, log_cell=log_q) if self.enumerated else Term(log_p, log_draw=log_q)
        log_label = torch.where(self.known, log_q, 0.0)
        if not self.enumerated:
            return Term(log_p, log_draw=torch.where(self.known, 0.0, log_q), log_label=log_label, known=self.known)
        kept = torch.ones_like(self.known) if self.kept is None else self.kept
        log_cell = torch.where(self.known, torch.where(kept, 0.0, -torch.inf), log_q)
        return Term(log_p, log_cell=log_cell, log_label=log_label, known=self.known)


@dataclass
class Draws:
    """The record that a network's forward pass keeps: every value comes from evidence, from noise or from enumeration.

    Masks are applied to values, before any log-probability: a missing label is NaN and never meets a gradient.
    """

    evidence: Mapping[str, Evidence]
    noise: Mapping[str, Tensor]
    knobs: Knobs
    made: dict[str, Draw] = field(default_factory=dict)

    def given(self, name: str) -> Tensor:
        """A variable that is known in every row and conditioned on."""
        return self.evidence[name].value

    def sample(self, name: str, distribution: Distribution) -> Tensor:
        """The known value where there is one, and a draw elsewhere. Returns [..., row, event...]."""
        evidence = self.evidence.get(name)
        if evidence is None:
            return self._keep(name, Draw(distribution.sample(self.noise[name]), distribution, known=False))
        if evidence.known is None:
            return self._keep(name, Draw(evidence.value, distribution, known=True))
        mask = trailing(evidence.known, distribution.event)
        value = torch.where(mask, evidence.value, distribution.sample(self.noise[name]))
        return self._keep(name, Draw(value, distribution, evidence.known))

    def enumerate(self, name: str, distribution: Distribution, axis: int) -> Tensor:
        """Every value on an enumeration axis of its own, the `axis`-th to the left of the samples.

        Where the whole block is known, the known value and no axis.
        """
        evidence = self.evidence.get(name)
        if evidence is not None and evidence.known is None:
            return self._keep(name, Draw(evidence.value, distribution, known=True))
        cells = distribution.cells()
        value = cells.reshape(cells.shape[0], *(1,) * (axis + 2), *cells.shape[1:])
        if evidence is None:
            return self._keep(name, Draw(value, distribution, known=False, enumerated=True))
        assert evidence.known is not None
        agrees = value == evidence.value
        agrees = agrees.flatten(-distribution.event).all(-1) if distribution.event else agrees
        return self._keep(name, Draw(value, distribution, evidence.known, enumerated=True, kept=~evidence.known | agrees))

    def _keep(self, name: str, draw: Draw) -> Tensor:
        self.made[name] = draw
        return draw.value
