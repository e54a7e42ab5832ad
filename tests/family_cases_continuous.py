"""The cases of the continuous families over numbers, against scipy; torch's Laplace density has a tail that does not vanish."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from family_cases import LOCATIONS, Case, Scipy, normals
from scipy import stats
from torch import Tensor

from graphvae.runtime.continuous import (
    Beta,
    Cauchy,
    Exponential,
    Gamma,
    HalfNormal,
    Laplace,
    Logistic,
    LogNormal,
    StudentT,
    Uniform,
    VonMises,
    Weibull,
)

Make = Callable[[tuple[int, ...], torch.Generator], list[Tensor]]


@dataclass(frozen=True)
class Circular(Scipy):
    """Of angles: the mean is a direction, the variance that of a line does not exist, and F starts anew at every turn."""

    loc: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        return torch.atan2(self.loc.sin(), self.loc.cos())

    @property
    def variance(self) -> Tensor:
        return torch.full_like(self.mean, torch.nan)

    def cdf(self, value: Tensor) -> Tensor:
        return super().cdf(value) % 1


def von_mises(loc: Tensor, concentration: Tensor) -> Circular:
    return Circular(Scipy.of(stats.vonmises, concentration, loc=loc).frozen, loc.detach())


def uniform(low: Tensor, high: Tensor) -> Scipy:
    return Scipy.of(stats.uniform, loc=torch.minimum(low, high), scale=(high - low).abs())


def between(*bounds: tuple[float, float]) -> Make:
    """Parameters drawn uniformly, each between its bounds."""
    return lambda shape, source: [low + (high - low) * torch.rand(shape, generator=source) for low, high in bounds]


def ends(shape: tuple[int, ...], source: torch.Generator) -> list[Tensor]:
    """A low and a high one, in either order."""
    low, high = between((0.0, 0.4), (0.6, 1.0))(shape, source)
    swapped = torch.rand(shape, generator=source) < 0.5
    return [torch.where(swapped, high, low), torch.where(swapped, low, high)]


NAN, INFINITY = math.nan, math.inf
SIZES = [1e-3, 1.0, 1e6]
REAL = {
    "data": torch.tensor([[0.5, -2.0], [NAN, 1.0]]),
    "inside": [-3.0, 0.0, 1e9, NAN],
    "outside": [INFINITY, -INFINITY],
    "values": [-12.0, 0.0, 12.0],
}
HEAVY = REAL | {"values": [-1e20, 0.0, 12.0]}
POSITIVE = {"data": torch.tensor([[0.5, 2.0], [NAN, 1.0]]), "inside": [1e-9, 2.0, 1e9, NAN], "outside": [0.0, -1.0, INFINITY]}
UNIT = {"data": torch.tensor([[0.5, 0.25], [NAN, 0.75]])}
SOME = [1e-3, 1.0, 12.0]
SCALES = [1e-6, 1.0, 1e6]

CASES = [
    Case(Laplace, normals, torch.distributions.Laplace, LOCATIONS, **REAL),
    Case(Cauchy, normals, lambda loc, scale: Scipy.of(stats.cauchy, loc, scale), LOCATIONS, **HEAVY),
    Case(Logistic, normals, lambda loc, scale: Scipy.of(stats.logistic, loc, scale), LOCATIONS, **REAL),
    Case(
        StudentT,
        between((9.0, 15.0), (-1.0, 1.0), (0.3, 1.3)),  # with so many degrees of freedom, a square has a standard error
        lambda df, loc, scale: Scipy.of(stats.t, df, loc, scale),
        [(df, loc, scale) for df in SIZES for loc, scale in LOCATIONS],
        further=[(0.5, 0.3, 1.0), (2.0, -0.4, 0.7), (500.0, 0.0, 2.0)],
        **HEAVY,
    ),
    Case(
        LogNormal,
        between((-1.0, 1.0), (0.2, 0.5)),
        lambda loc, scale: Scipy.of(stats.lognorm, scale, scale=loc.exp()),
        LOCATIONS,
        values=SOME,
        further=[(0.5, 1.5)],
        **POSITIVE,
    ),
    Case(
        HalfNormal,
        between((0.3, 1.3)),
        lambda scale: Scipy.of(stats.halfnorm, scale=scale),
        [(scale,) for scale in SCALES],
        values=SOME,
        **POSITIVE,
    ),
    Case(
        Exponential,
        between((0.3, 1.3)),
        lambda rate: Scipy.of(stats.expon, scale=1 / rate),
        [(rate,) for rate in SCALES],
        values=SOME,
        **POSITIVE,
    ),
    Case(
        Weibull,
        between((0.5, 1.5), (0.8, 2.8)),
        lambda scale, concentration: Scipy.of(stats.weibull_min, concentration, scale=scale),
        list(product(SCALES, SIZES)),  # at draws alone: elsewhere z^k is soon beyond any number
        further=[(1.0, 0.4), (2.0, 20.0)],
        **POSITIVE,
    ),
    Case(
        Gamma,
        between((0.6, 3.6), (0.5, 1.5)),
        lambda concentration, rate: Scipy.of(stats.gamma, concentration, scale=1 / rate),
        list(product(SIZES, SCALES)),
        values=SOME,
        further=[(0.1, 1.0), (30.0, 20.0), (3000.0, 2000.0)],
        **POSITIVE,
    ),
    Case(
        Beta,
        between((0.8, 3.8), (0.8, 3.8)),
        lambda one, zero: Scipy.of(stats.beta, one, zero),
        list(product(SIZES, SIZES)),
        inside=[1e-9, 0.3, NAN],
        outside=[0.0, 1.0, -0.1, 1.1],
        values=[1e-3, 0.5, 0.999],
        further=[(0.1, 0.8), (0.9, 0.5), (30.0, 50.0)],
        **UNIT,
    ),
    Case(
        Uniform,
        ends,
        uniform,
        [(0.0, 1.0), (1.0, 0.0), (0.5, 0.5), (1.0, 1.0), (0.0, 0.0), (0.3, 0.3 + 1e-9)],
        inside=[0.0, 0.3, 1.0, NAN],
        outside=[-0.1, 1.1],
        edges=lambda low, high: sorted([low.item(), high.item()]),
        **UNIT,
    ),
    Case(
        VonMises,
        between((-3.0, 3.0), (0.3, 4.3)),
        von_mises,
        list(product([-4.0, 0.0, math.pi, 1e3], [1e-6, *SIZES])),
        data=torch.tensor([[0.5, -3.0], [NAN, 1.0]]),
        inside=[-3.14, 0.0, 3.14, NAN],
        outside=[-3.15, 3.15, INFINITY],
        values=[-3.14, 0.0, 3.14],
        further=[(2.5, 0.02), (-3.0, 40.0), (4.0, 10.0)],
    ),
]
