"""The cases of the ordinal, count, pixel and vector families, for the laws of `test_distributions`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from family_cases import HUGE, Case, Reference, Scipy, logits, numpy
from scipy import stats
from torch import Tensor, distributions

from graphvae.runtime.counts import (
    Binomial,
    DiscretisedLogistic,
    Geometric,
    NegativeBinomial,
    Ordinal,
    Poisson,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
)
from graphvae.runtime.multivariate import Dirichlet, LowRankNormal, MixtureOfNormals, MultivariateNormal

COMPONENTS, RANK, LEVELS, TOTAL = 3, 2, 5, 3


@dataclass(frozen=True)
class ZeroInflated:
    """A mixture of zero and another distribution of counts, probability by probability."""

    gate: Tensor
    counts: distributions.Distribution

    @property
    def mean(self) -> Tensor:
        return (1 - self.gate) * self.counts.mean

    @property
    def variance(self) -> Tensor:
        return (1 - self.gate) * (self.counts.variance + self.gate * self.counts.mean**2)

    def log_prob(self, value: Tensor) -> Tensor:
        return (self.gate * (value == 0) + (1 - self.gate) * self.counts.log_prob(value).exp()).log()


@dataclass(frozen=True)
class RoundedLogistic:
    """The levels of a logistic variable rounded to the nearest: differences of its distribution function, one by one."""

    loc: Tensor
    scale: Tensor

    def probabilities(self) -> Tensor:
        """[..., level]."""
        edges = (torch.arange(LEVELS - 1) + 0.5) / (LEVELS - 1)
        below = 1 / (1 + torch.exp((self.loc[..., None] - edges) / self.scale[..., None]))
        return torch.diff(torch.cat([torch.zeros_like(below[..., :1]), below, torch.ones_like(below[..., :1])], -1))

    @property
    def mean(self) -> Tensor:
        return (self.probabilities() * torch.arange(LEVELS)).sum(-1) / (LEVELS - 1)

    @property
    def variance(self) -> Tensor:
        levels = torch.arange(LEVELS) / (LEVELS - 1)
        return (self.probabilities() * (levels - self.mean[..., None]) ** 2).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        level = (value * (LEVELS - 1)).round().long()
        probabilities = self.probabilities().expand(*level.shape, LEVELS)
        return probabilities.gather(-1, level.unsqueeze(-1)).squeeze(-1).log()

    def cdf(self, value: Tensor) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class EachByScipy:
    """A family of vectors for which scipy takes parameters [..., d] one vector at a time."""

    family: Any
    parameter: Tensor

    @property
    def mean(self) -> Tensor:
        return self._each(lambda frozen: frozen.mean())

    @property
    def variance(self) -> Tensor:
        return self._each(lambda frozen: frozen.var())

    def log_prob(self, value: Tensor) -> Tensor:
        columns = np.broadcast_to(numpy(value), np.broadcast_shapes(value.shape, self.parameter.shape))
        columns = columns.reshape(-1, len(self._frozen()), value.shape[-1])
        scores = [[frozen.logpdf(vector) for frozen, vector in zip(self._frozen(), row, strict=True)] for row in columns]
        shape = np.broadcast_shapes(value.shape, self.parameter.shape)[:-1]
        return torch.tensor(scores).reshape(shape)

    def _frozen(self) -> list[Any]:
        return [self.family(row) for row in numpy(self.parameter).reshape(-1, self.parameter.shape[-1])]

    def _each(self, what: Callable[[Any], np.ndarray]) -> Tensor:
        return torch.tensor(np.array([what(frozen) for frozen in self._frozen()])).reshape(self.parameter.shape)


def proportional_odds(loc: Tensor, baseline: Tensor) -> distributions.Distribution:
    """The categories between cut points, by differences of the logistic function."""
    cuts = torch.logit(baseline.softmax(-1).cumsum(-1)[..., :-1])
    below = (cuts - loc[..., None]).sigmoid()
    ends = torch.zeros_like(loc)[..., None]
    return distributions.OneHotCategorical(probs=torch.diff(torch.cat([ends, below, ends + 1], -1)))


def uniform(shape: tuple[int, ...], source: torch.Generator, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=source)


def normal_vectors(shape: tuple[int, ...], source: torch.Generator) -> list[Tensor]:
    return [torch.randn(shape, generator=source), uniform(shape, source, 0.5, 1.3)]


def cholesky(scale: Tensor, below: Tensor) -> Tensor:
    return torch.diag_embed(scale) + torch.tril(below, diagonal=-1)


def low_rank(loc: Tensor, scale: Tensor, factor: Tensor) -> distributions.Distribution:
    covariance = factor @ factor.transpose(-1, -2) + torch.diag_embed(scale**2)
    return distributions.MultivariateNormal(loc, covariance_matrix=covariance)


def mixture(weights: Tensor, loc: Tensor, scale: Tensor) -> distributions.Distribution:
    components = distributions.Independent(distributions.Normal(loc, scale), 1)
    return distributions.MixtureSameFamily(distributions.Categorical(logits=weights), components)


def mixture_marginal(weights: Tensor, loc: Tensor, scale: Tensor) -> Reference:
    first = distributions.Normal(loc[..., 0], scale[..., 0])
    return distributions.MixtureSameFamily(distributions.Categorical(logits=weights), first)


def mixtures(shape: tuple[int, ...], source: torch.Generator) -> list[Tensor]:
    *elements, dimension = shape
    loc, scale = normal_vectors((*elements, COMPONENTS, dimension), source)
    return [torch.randn((*elements, COMPONENTS), generator=source), 1.5 * loc, scale]


WHOLE = {
    "data": torch.tensor([[0.0, 3.0], [torch.nan, 12.0]]),
    "inside": [0.0, 1.0, 7.0, 16_777_216.0, math.nan],
    "outside": [-1.0, 0.5, math.inf, -math.inf],
    "values": [0.0, 1.0, 15.0, 16.0, 17.0, 1000.0, 1e6],
}
VECTORS = {
    "data": torch.tensor([[[0.5, -2.0, 0.0, 3.0], [0.1, 0.2, 0.3, 4.0]], [[torch.nan] * 4, [1.0, -1.0, 2.0, 0.0]]]),
    "inside": [[0.5, -2.0, 0.0, 1e9], [math.nan] * 4],
    "outside": [[math.inf, -math.inf, math.inf, -math.inf]],
    "values": [[0.0, 0.0, 0.0, 0.0], [-10.0, 10.0, -10.0, 10.0]],
}
FLAT, SLOPED = [[0.0] * 4] * 4, [[100.0 * (row - column) for column in range(4)] for row in range(4)]
LOADINGS = [[1e4, 1e4], [-1e4, -1e4], [1e4, 1e4], [0.0, 0.0]]  # columns alike: with little noise, no covariance to invert
FAR = [[-1e4] * 4, [0.0] * 4, [1e4] * 4]
CASES = [
    Case(
        Ordinal,
        lambda shape, source: [torch.randn(shape[:-1], generator=source), *logits(shape, source)],
        proportional_odds,
        [(loc, [0.0, 0.0, 0.0, value]) for loc in HUGE for value in HUGE],
        data=torch.tensor([[0, 3], [-1, 2]]),
        inside=[-1.0, 0.0, 3.0],
        outside=[0.5, 4.0, -2.0],
        further=[(2.0, [0.0, 1.0, -1.0, 2.0]), (-2.0, [0.0, 1.0, -1.0, 2.0])],
    ),
    Case(
        Binomial,
        logits,
        lambda value: distributions.Binomial(TOTAL, logits=value),
        [(value,) for value in HUGE],
        data=torch.tensor([[0.0, 3.0], [torch.nan, 1.0]]),
        inside=[0.0, 1.0, 3.0, math.nan],
        outside=[-1.0, 0.5, 4.0, math.inf],
        number=TOTAL,
    ),
    Case(
        Poisson,
        lambda shape, source: [uniform(shape, source, 0.3, 5)],
        distributions.Poisson,
        [(rate,) for rate in (1e-8, 1e-3, 1.0, 16.0, 1e3, 1e6)],
        **WHOLE,
        further=[(0.05,), (30.0,)],
        cutoff=60,
    ),
    Case(
        Geometric,
        lambda shape, source: [uniform(shape, source, -1, 1)],
        lambda value: distributions.Geometric(logits=value),
        [(value,) for value in (-60.0, -30.0, -1e-3, 0.0, 30.0, 200.0, 1e6)],
        **WHOLE,
        cutoff=200,
    ),
    Case(
        NegativeBinomial,
        lambda shape, source: [uniform(shape, source, 0.3, 3), uniform(shape, source, -1, 1)],
        lambda total, value: distributions.NegativeBinomial(total, logits=value),
        [(total, value) for total in (1e-6, 0.1, 1.0, 1e3, 1e6) for value in (-1e6, -200.0, -30.0, -1e-3, 0.0, 3.0, 30.0)],
        **WHOLE,
        further=[(0.05, 1.0), (40.0, -2.0)],
        cutoff=300,
    ),
    Case(
        ZeroInflatedPoisson,
        lambda shape, source: [*logits(shape, source), uniform(shape, source, 0.3, 5)],
        lambda gate, rate: ZeroInflated(gate.sigmoid(), distributions.Poisson(rate)),
        [(gate, rate) for gate in HUGE for rate in (1e-8, 1.0, 1e6)],
        **WHOLE,
        cutoff=60,
    ),
    Case(
        ZeroInflatedNegativeBinomial,
        lambda shape, source: [*logits(shape, source), uniform(shape, source, 0.3, 3), uniform(shape, source, -1, 1)],
        lambda gate, total, value: ZeroInflated(gate.sigmoid(), distributions.NegativeBinomial(total, logits=value)),
        [(gate, total, value) for gate in HUGE for total in (1e-6, 1.0, 1e6) for value in (-200.0, 0.0, 30.0)],
        **WHOLE,
        cutoff=300,
    ),
    Case(
        DiscretisedLogistic,
        lambda shape, source: [uniform(shape, source, -0.2, 1.2), uniform(shape, source, 0.05, 0.5)],
        RoundedLogistic,
        [(loc, scale) for loc in (-1e4, -1.0, 0.0, 0.5, 1.0, 1e4) for scale in (1e-6, 1e-2, 1.0, 1e6)],
        data=torch.tensor([[0.0, 0.75], [torch.nan, 1.0]]),
        inside=[0.0, 0.25, 0.5, 0.7501, 1.0, math.nan],
        outside=[0.1, 0.2505, -0.25, 1.25, math.inf],
        number=LEVELS,
    ),
    Case(
        Dirichlet,
        lambda shape, source: [uniform(shape, source, 0.5, 4)],
        lambda concentration: EachByScipy(stats.dirichlet, concentration),
        [([value, 1.0, 1.0, other],) for value in (1e-6, 1e-2, 1.0, 1e6) for other in (1e-6, 1.0, 1e6)],
        data=torch.tensor([[[0.1, 0.2, 0.3, 0.4], [0.25] * 4], [[torch.nan] * 4, [0.7, 0.1, 0.1, 0.1]]]),
        inside=[[0.1, 0.2, 0.3, 0.4], [1 / 3, 1 / 3, 1 / 6, 1 / 6], [math.nan] * 4],
        outside=[[0.5] * 4, [-0.1, -0.1, -0.1, -0.1], [0.2502, 0.25, 0.25, 0.25]],
        values=[[0.25] * 4, [1e-30, 1e-20, 1e-10, 1.0]],
        marginal=lambda value: Scipy.of(stats.beta, value[..., 0], value[..., 1:].sum(-1)),
    ),
    Case(
        MultivariateNormal,
        lambda shape, source: [*normal_vectors(shape, source), torch.randn((*shape, shape[-1]), generator=source)],
        lambda loc, scale, below: distributions.MultivariateNormal(loc, scale_tril=cholesky(scale, below)),
        [
            ([loc] * 4, [1.0, scale, 1.0, scale], below)
            for loc in (-1e4, 0.0)
            for scale in (1e-2, 1.0, 1e6)
            for below in (FLAT, SLOPED)
        ],
        **VECTORS,
        marginal=lambda loc, scale, below: distributions.Normal(loc[..., 0], scale[..., 0]),
    ),
    Case(
        LowRankNormal,
        lambda shape, source: [*normal_vectors(shape, source), torch.randn((*shape, RANK), generator=source)],
        low_rank,
        [
            ([loc] * 4, [scale, 1.0, scale, 1.0], factor)
            for loc in (-1e4, 0.0)
            for scale in (1e-4, 1.0, 1e6)
            for factor in ([[0.0, 0.0]] * 4, LOADINGS)
        ],
        **VECTORS,
        marginal=lambda loc, scale, factor: distributions.Normal(
            loc[..., 0], (scale[..., 0] ** 2 + (factor[..., 0, :] ** 2).sum(-1)).sqrt()
        ),
        number=RANK,
    ),
    Case(
        MixtureOfNormals,
        mixtures,
        mixture,
        [
            ([0.0, weight, 0.0], loc, [[scale] * 4] * 3)
            for weight in (-1e6, 0.0, 30.0)
            for loc in ([[0.0] * 4] * 3, FAR)
            for scale in (1e-6, 1e-2, 1.0, 1e6)
        ],
        **VECTORS,
        marginal=mixture_marginal,
        number=COMPONENTS,
    ),
]
