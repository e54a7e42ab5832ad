"""Ordered categories, counts and pixels: discrete families beyond the switch and the category.

Draws of counts are plain numbers without gradient. Their densities are sums of small terms (Loader 2000, "Fast and accurate
computation of binomial probabilities"), so that a count in the millions does not cost the digits of single precision.
"""

from __future__ import annotations

import math
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional

from graphvae.runtime.continuous import gamma_noise, log_standard_gamma
from graphvae.runtime.distributions import Categorical, Distribution, as_parameter, event_of, logits_of, uniform_noise


class Ordinal(Categorical):
    """Ordered categories with proportional odds (McCullagh 1980): P(y <= k) = sigmoid(c_k - loc).

    The cut points c_k are the logits of a baseline's cumulative probabilities: with loc 0, the categories have probabilities
    softmax(logits), and a larger loc moves them upwards. With F_k and S_k the baseline's probabilities of y <= k and y > k,

        P(y = k) = softmax(logits)_k / (F_k + exp(loc) S_k) / (S_{k-1} + exp(-loc) F_{k-1}),

    where the first quotient is absent for the last category and the second one for the first.
    """

    parameters = ("loc", "logits")

    def __init__(self, loc: Tensor, logits: Tensor, event: int = 1) -> None:
        log_baseline, loc = logits.log_softmax(-1), loc.unsqueeze(-1)
        log_below = log_baseline.logcumsumexp(-1)[..., :-1]
        log_above = log_baseline.flip(-1).logcumsumexp(-1).flip(-1)[..., 1:]
        at_most = functional.pad(torch.logaddexp(log_below, log_above + loc), (0, 1))
        at_least = functional.pad(torch.logaddexp(log_above, log_below - loc), (1, 0))
        self.log_probs, self.event = log_baseline - at_most - at_least, event


class Binomial(Distribution):
    """How many of `total_count` switches are on."""

    parameters = ("logits",)
    support = "counts to a total"

    def __init__(
        self, logits: Tensor | float | None = None, probs: float | None = None, total_count: int = 1, event: int = 1
    ) -> None:
        self.logits, self.total_count, self.event = logits_of(logits, probs), total_count, event

    def log_density(self, value: Tensor) -> Tensor:
        return log_binomial(value, self.total_count - value, self.logits)

    def sample(self, noise: Tensor) -> Tensor:
        log_probs = log_binomial(self.counts, self.total_count - self.counts, self.logits.unsqueeze(-1))
        return draw_index(log_probs, noise).to(noise.dtype)

    def kl(self, prior: Distribution) -> Tensor:
        assert isinstance(prior, Binomial)
        on = functional.logsigmoid(self.logits) - functional.logsigmoid(prior.logits)
        off = functional.logsigmoid(-self.logits) - functional.logsigmoid(-prior.logits)
        return self.total_count * (self.logits.sigmoid() * on + (-self.logits).sigmoid() * off)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.logits.sigmoid()

    @property
    def counts(self) -> Tensor:
        """Every number of switches, [count]."""
        return torch.arange(self.total_count + 1, dtype=self.logits.dtype, device=self.logits.device)

    def cells(self) -> Tensor:
        return every_value(self.counts, event_of(self.logits, self.event))

    @staticmethod
    def supported(value: Tensor, soft: bool, event: tuple[int, ...], number: int) -> Tensor:
        return whole(value) & ~(value > number)


class Counts(Distribution):
    """A family over 0, 1, 2 and so on without end."""

    support = "counts"

    @staticmethod
    def supported(value: Tensor, soft: bool, event: tuple[int, ...], number: int) -> Tensor:
        return whole(value)


class Poisson(Counts):
    """rate^k exp(-rate) / k!."""

    parameters = ("rate",)

    def __init__(self, rate: Tensor | float, event: int = 1) -> None:
        self.rate, self.event = as_parameter(rate), event

    def log_density(self, value: Tensor) -> Tensor:
        return -deviance(value, self.rate, self.rate.log()) - stirling_remainder(value)

    def sample(self, noise: Tensor) -> Tensor:
        return poisson_quantile(self.rate, noise).to(noise.dtype)

    def kl(self, prior: Distribution) -> Tensor:
        assert isinstance(prior, Poisson)
        return deviance(self.rate, prior.rate, prior.rate.log())

    @property
    def mean(self) -> Tensor:
        return self.rate


class Geometric(Counts):
    """The failures before the first success, which has the probability sigmoid(logits)."""

    parameters = ("logits",)

    def __init__(self, logits: Tensor | float | None = None, probs: float | None = None, event: int = 1) -> None:
        self.logits, self.event = logits_of(logits, probs), event

    def log_density(self, value: Tensor) -> Tensor:
        return value * functional.logsigmoid(-self.logits) + functional.logsigmoid(self.logits)

    @torch.no_grad()
    def sample(self, noise: Tensor) -> Tensor:
        return (noise.log() / functional.logsigmoid(-self.logits)).floor()

    def kl(self, prior: Distribution) -> Tensor:
        assert isinstance(prior, Geometric)
        success = functional.logsigmoid(self.logits) - functional.logsigmoid(prior.logits)
        return success + self.mean * (functional.logsigmoid(-self.logits) - functional.logsigmoid(-prior.logits))

    @property
    def mean(self) -> Tensor:
        return (-self.logits).exp()


class NegativeBinomial(Counts):
    """A Poisson count whose rate is drawn from a gamma distribution: mean total_count exp(logits), and a variance above it.

    Of a whole `total_count`, the successes before that many failures, where a success has the probability sigmoid(logits).
    """

    parameters = ("total_count", "logits")

    def __init__(
        self,
        total_count: Tensor | float,
        logits: Tensor | float | None = None,
        probs: float | None = None,
        event: int = 1,
    ) -> None:
        self.total_count, self.logits, self.event = as_parameter(total_count), logits_of(logits, probs), event

    def log_density(self, value: Tensor) -> Tensor:
        total_count = self.total_count.to(value.dtype)
        return log_binomial(value, total_count, self.logits) - torch.log1p(value / total_count)

    @torch.no_grad()
    def sample(self, noise: Tensor) -> Tensor:
        log_rate = log_standard_gamma(self.total_count, noise[..., 1:]) + self.logits
        return poisson_quantile(log_rate.double().exp(), noise[..., 0]).to(noise.dtype)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.logits.exp()

    @staticmethod
    def noise(shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        return torch.cat([uniform_noise((*shape, 1), generator, dtype), gamma_noise(shape, generator, dtype)], -1)


class ZeroInflated(Counts):
    """Zero with the probability sigmoid(gate_logits), and a draw of another family of counts otherwise."""

    gate_logits: Tensor
    counts: Counts

    def log_density(self, value: Tensor) -> Tensor:
        log_count = functional.logsigmoid(-self.gate_logits) + self.counts.log_density(value)
        return torch.where(value == 0, torch.logaddexp(functional.logsigmoid(self.gate_logits), log_count), log_count)

    def gated(self, uniform: Tensor, count: Tensor) -> Tensor:
        """A draw of the other family, or zero in its place."""
        return torch.where(uniform < self.gate_logits.sigmoid(), 0.0, count)

    @property
    def mean(self) -> Tensor:
        return (-self.gate_logits).sigmoid() * self.counts.mean


class ZeroInflatedPoisson(ZeroInflated):
    """A Poisson count with further zeros (Lambert 1992)."""

    parameters = ("gate_logits", "rate")

    def __init__(
        self,
        gate_logits: Tensor | float | None = None,
        rate: Tensor | float | None = None,
        gate: float | None = None,
        event: int = 1,
    ) -> None:
        self.gate_logits, self.counts, self.event = logits_of(gate_logits, gate), Poisson(as_parameter(rate)), event

    def sample(self, noise: Tensor) -> Tensor:
        return self.gated(noise[..., 0], self.counts.sample(noise[..., 1]))

    @staticmethod
    def noise(shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        return uniform_noise((*shape, 2), generator, dtype)


class ZeroInflatedNegativeBinomial(ZeroInflated):
    """A negative binomial count with further zeros."""

    parameters = ("gate_logits", "total_count", "logits")

    def __init__(
        self,
        gate_logits: Tensor | float | None = None,
        total_count: Tensor | float | None = None,
        logits: Tensor | float | None = None,
        gate: float | None = None,
        probs: float | None = None,
        event: int = 1,
    ) -> None:
        self.gate_logits, self.event = logits_of(gate_logits, gate), event
        self.counts = NegativeBinomial(as_parameter(total_count), logits, probs)

    def sample(self, noise: Tensor) -> Tensor:
        return self.gated(noise[..., 0], self.counts.sample(noise[..., 1:]))

    @staticmethod
    def noise(shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        gate = uniform_noise((*shape, 1), generator, dtype)
        return torch.cat([gate, NegativeBinomial.noise(shape, generator, dtype)], -1)


class DiscretisedLogistic(Distribution):
    """Pixels k / (levels - 1): the mass of a logistic distribution around each level, the tails with the outermost levels.

    P(x) = sigmoid((x + h - loc) / scale) - sigmoid((x - h - loc) / scale) with h half a step (Kingma et al. 2016; Salimans et
    al. 2017), as a product of sigmoid(above), sigmoid(-below) and 1 - exp(below - above), whose logarithms vanish nowhere.
    """

    parameters = ("loc", "scale")
    support = "levels"

    def __init__(self, loc: Tensor | float, scale: Tensor | float, levels: int = 256, event: int = 1) -> None:
        self.loc, self.scale, self.levels, self.event = as_parameter(loc), as_parameter(scale), levels, event

    def log_density(self, value: Tensor) -> Tensor:
        half = 0.5 / (self.levels - 1)
        lowest, highest = value < half, value > 1 - half
        below = functional.logsigmoid((self.loc - value + half) / self.scale)
        above = functional.logsigmoid((value + half - self.loc) / self.scale)
        between = (-torch.expm1(-2 * half / self.scale)).log()
        inner = torch.where(lowest, 0.0, below) + torch.where(highest, 0.0, above)
        return inner + torch.where(lowest | highest, 0.0, between)

    def sample(self, noise: Tensor) -> Tensor:
        drawn = self.loc + self.scale * torch.logit(noise)
        return (drawn * (self.levels - 1)).round().clamp(0, self.levels - 1) / (self.levels - 1)

    @property
    def mean(self) -> Tensor:
        # The sum of P(x > edge) over the edges between levels, one after the other: an axis of levels would not fit in memory.
        edges = [(level + 0.5) / (self.levels - 1) for level in range(self.levels - 1)]
        return reduce(torch.add, (((self.loc - edge) / self.scale).sigmoid() for edge in edges)) / (self.levels - 1)

    def cells(self) -> Tensor:
        levels = torch.arange(self.levels, dtype=self.loc.dtype, device=self.loc.device)
        return every_value(levels / (self.levels - 1), event_of(self.loc, self.event))

    @staticmethod
    def supported(value: Tensor, soft: bool, event: tuple[int, ...], number: int) -> Tensor:
        position = value * (number - 1)
        tolerance = 1e-3 + 1e-7 * number  # of a level, and what single precision rounds a finer one by
        on_grid = (position - position.round()).abs() <= tolerance
        return (on_grid & (position.round() >= 0) & (position.round() <= number - 1)) | value.isnan()


def stirling_remainder(count: Tensor) -> Tensor:
    """Log count! - count log count + count, which grows like half the logarithm of 2 pi count; by its series for large ones."""
    small, large = count.clamp_max(16), count.clamp_min(16)
    square = large.square()
    series = (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - 1 / 1188 / square) / square) / square) / square) / large
    exact = torch.lgamma(small + 1) - torch.xlogy(small, small) + small
    return torch.where(count < 16, exact, 0.5 * (2 * math.pi * large).log() + series)


def deviance(count: Tensor, mean: Tensor, log_mean: Tensor) -> Tensor:
    """Half the Poisson deviance, count log(count / mean) + mean - count >= 0, without cancellation where the two are close."""
    near = (mean - count).abs() < 0.5 * count
    shift = torch.where(near, mean - count, 0.0) / torch.where(near, count, 1.0)
    return torch.where(near, count * (shift - shift.log1p()), torch.xlogy(count, count) - count * log_mean + mean - count)


def log_binomial(successes: Tensor, failures: Tensor, logits: Tensor) -> Tensor:
    """The log-probability that so many of all trials succeed, sigmoid(logits) being the probability of each to succeed."""
    total = successes + failures
    log_total = total.log()
    hits = deviance(successes, total * logits.sigmoid(), log_total + functional.logsigmoid(logits))
    misses = deviance(failures, total * (-logits).sigmoid(), log_total + functional.logsigmoid(-logits))
    return stirling_remainder(total) - stirling_remainder(successes) - stirling_remainder(failures) - hits - misses


@torch.no_grad()
def poisson_quantile(rate: Tensor, uniform: Tensor) -> Tensor:
    """The smallest k with F(k) >= uniform; F(k) = Q(k + 1, rate) is the regularised upper incomplete gamma function.

    It is found by bisection of low < k <= high in double precision, where Chernoff's bounds put both ends beyond every number
    that is uniform.
    """
    rate, uniform = torch.broadcast_tensors(rate.double().to(uniform.device), uniform.double())
    low = (rate - 38 * rate.sqrt() - 1).floor().clamp_min(-1)
    high = (rate + 9 * rate.sqrt() + 26).ceil()
    middle = ((low + high) / 2).floor()
    while ((low < middle) & (middle < high)).any():
        reached = torch.special.gammaincc(middle + 1, rate) >= uniform
        low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
        middle = ((low + high) / 2).floor()
    return high


def draw_index(log_probs: Tensor, uniform: Tensor) -> Tensor:
    """The first index whose cumulative probability reaches uniform numbers [...]; log_probs are [..., index], unnormalised."""
    cumulative = log_probs.softmax(-1).cumsum(-1)
    return (uniform.unsqueeze(-1) * cumulative[..., -1:] > cumulative[..., :-1]).sum(-1)


def every_value(numbers: Tensor, event: tuple[int, ...]) -> Tensor:
    """Every value of this event shape whose elements are among the numbers, [cells, event...]."""
    return torch.cartesian_prod(*[numbers] * math.prod(event)).reshape(-1, *event)


def whole(value: Tensor) -> Tensor:
    """Which elements are whole numbers from 0 on, or missing."""
    return ((value >= 0) & (value == value.floor()) & value.isfinite()) | value.isnan()
