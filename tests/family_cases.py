"""What the common laws of `test_distributions` need of a family, as a `Case`; and the cases of the families that came first.

The others stand in `family_cases_continuous` and `family_cases_discrete`, each with its `CASES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from graphvae.compiler.families import FAMILIES, Family
from graphvae.runtime.distributions import Bernoulli, Categorical, ContinuousBernoulli, Distribution, Normal

CATEGORIES = 4
"""How long an element is in the laws, where a vector is one element; where a law integrates over vectors they have length 2."""


class Reference(Protocol):
    """An independent implementation of a family, by element: torch's distributions have this form, and `Scipy`."""

    mean: Tensor
    variance: Tensor
    """Of each coordinate; not finite where it does not exist."""

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density of each element, as `Distribution.log_density` has it."""

    def cdf(self, value: Tensor) -> Tensor:
        """The distribution function; asked of a density over numbers only."""


@dataclass(frozen=True)
class Scipy:
    """A frozen distribution of scipy's under torch's names, without gradients."""

    frozen: Any

    @classmethod
    def of(cls, family: Any, *shapes: Tensor, **options: Tensor) -> Scipy:
        """A family of `scipy.stats` at parameters that are tensors."""
        return cls(family(*map(numpy, shapes), **{name: numpy(value) for name, value in options.items()}))

    @property
    def mean(self) -> Tensor:
        return torch.as_tensor(self.frozen.mean())

    @property
    def variance(self) -> Tensor:
        return torch.as_tensor(self.frozen.var())

    def log_prob(self, value: Tensor) -> Tensor:
        return self._at(self.frozen.logpdf if hasattr(self.frozen, "logpdf") else self.frozen.logpmf, value)

    def cdf(self, value: Tensor) -> Tensor:
        return self._at(self.frozen.cdf, value)

    @staticmethod
    def _at(function: Callable[[np.ndarray], np.ndarray], value: Tensor) -> Tensor:
        with np.errstate(all="ignore"):  # far out, where the result is right all the same
            return torch.as_tensor(function(numpy(value)))


def numpy(value: Tensor) -> np.ndarray:
    """A tensor without its gradient, as an array."""
    return value.detach().numpy()


@dataclass(frozen=True)
class Case:
    """One family: how to make its parameters, extreme ones, data, and an independent implementation.

    `parameters` makes them, in the order of the class and each in its own layout, for values of a shape [..., event...]; they
    are mild enough for any law. `extremes` are parameters of one element, a number or nested lists each, where nothing may be
    NaN or infinite, at draws and at `values` of the support (of a finite family: at every cell). `further` are parameters of
    one element at which draws are tested too. `data` are two rows of two elements as data holds them, with the first of row 1
    missing; `inside` and `outside` are elements of data in and out of the support.

    `number` is what belongs to the variable, such as a total count, handed to the class where the table says so. Counts
    without end are summed below `cutoff`. `edges` are the points between which a density over numbers is smooth, of one
    element; without it, the ends of the support and the mean. `marginal` is the first coordinate of a vector, a reference over
    numbers that takes the same parameters.
    """

    family: type[Distribution]
    parameters: Callable[[tuple[int, ...], torch.Generator], list[Tensor]]
    reference: Callable[..., Reference]
    extremes: Sequence[tuple[Any, ...]]
    data: Tensor
    inside: Sequence[Any]
    outside: Sequence[Any]
    values: Sequence[Any] = ()
    further: Sequence[tuple[Any, ...]] = ()
    number: int = 0
    cutoff: int = 0
    edges: Callable[..., Sequence[float]] | None = None
    marginal: Callable[..., Reference] | None = None

    @property
    def name(self) -> str:
        return self.family.__name__

    @property
    def row(self) -> Family:
        """The compiler's row for the family."""
        return next(row for row in FAMILIES.values() if row.distribution == self.name)

    @property
    def joint(self) -> int:
        return self.family.joint

    @property
    def simplex(self) -> bool:
        """Whether data holds an integer where the model has a one-hot vector."""
        return self.family.support == "categories"

    @property
    def finite(self) -> bool:
        return self.family.cells is not Distribution.cells

    @property
    def discrete(self) -> bool:
        return self.finite or self.cutoff > 0

    def event(self, dimensions: int) -> tuple[int, ...]:
        """A small event shape; a vector has at least its own dimension."""
        shape = (2, 1, 3)[:dimensions]
        return (*shape[:-1], CATEGORIES) if self.joint else shape

    def build(self, parameters: Sequence[Tensor], event: int | None = None) -> Distribution:
        """The distribution over one element, or over an event of more dimensions."""
        number = self.row.number
        options = {number.name: self.number} if number and number.argument else {}
        return self.family(*parameters, **options, event=self.joint if event is None else event)

    def make(self, shape: tuple[int, ...], event: int | None = None, seed: int = 0) -> tuple[Distribution, list[Tensor]]:
        """A distribution over values of that shape, and the parameters that it was made of, which take gradients."""
        parameters = [parameter.requires_grad_() for parameter in self.parameters(shape, generator(seed))]
        return self.build(parameters, event), parameters


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normals(shape: tuple[int, ...], source: torch.Generator) -> list[Tensor]:
    """A location and a scale."""
    return [torch.randn(shape, generator=source), torch.rand(shape, generator=source) + 0.3]


def logits(shape: tuple[int, ...], source: torch.Generator) -> list[Tensor]:
    return [2 * torch.randn(shape, generator=source)]


HUGE = [-1e6, -200.0, -30.0, -1e-3, 0.0, 1e-3, 30.0, 200.0, 1e6]
LOCATIONS = [(loc, scale) for loc in (-1e4, 0.0, 1e4) for scale in (1e-6, 1e-2, 1e6)]
CASES = [
    Case(
        Normal,
        normals,
        torch.distributions.Normal,
        LOCATIONS,
        data=torch.tensor([[0.5, -2.0], [torch.nan, 1.0]]),
        inside=[-3.0, 0.0, 1e9, math.nan],
        outside=[math.inf, -math.inf],
        values=[-12.0, 0.0, 12.0],
    ),
    Case(
        Bernoulli,
        logits,
        lambda value: torch.distributions.Bernoulli(logits=value),
        [(value,) for value in HUGE],
        data=torch.tensor([[0.0, 1.0], [torch.nan, 1.0]]),
        inside=[0.0, 1.0, math.nan],
        outside=[0.5, -1.0, 2.0],
    ),
    Case(
        ContinuousBernoulli,
        logits,
        lambda value: torch.distributions.ContinuousBernoulli(logits=value, lims=(0.5 - 1e-5, 0.5 + 1e-5)),
        [(value,) for value in HUGE],
        data=torch.tensor([[0.0, 0.7], [torch.nan, 1.0]]),
        inside=[0.0, 0.3, 1.0, math.nan],
        outside=[-0.1, 1.1],
        values=[0.0, 0.5, 1.0],
        further=[(-3.0,), (-0.06,), (-0.04,), (0.0,), (0.01,), (0.04,), (0.06,), (3.0,)],
    ),
    Case(
        Categorical,
        logits,
        lambda value: torch.distributions.OneHotCategorical(logits=value),
        [([0.0] * (CATEGORIES - 1) + [value],) for value in HUGE],
        data=torch.tensor([[0, 3], [-1, 2]]),
        inside=[-1.0, 0.0, 3.0],
        outside=[0.5, 4.0, -2.0],
    ),
]
