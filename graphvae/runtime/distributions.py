"""The families as emitted code uses them: a conditional computes parameters and gets a distribution.

Every distribution is independent over its last `event` dimensions, takes its noise from outside, scores without validation,
and broadcasts its parameters against the value. What the compiler knows of each stands in `graphvae.compiler.families`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from types import MappingProxyType
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from graphvae.runtime.plates import somewhere, stack_slots

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Distribution(ABC):
    """A distribution over values of shape [..., event...]."""

    parameters: ClassVar[tuple[str, ...]]
    """The heads of a network, in order."""
    support: ClassVar[str]
    inside: ClassVar[float] = 0.0
    """A number that lies in the support, which stands where a cell is missing."""
    joint: ClassVar[int] = 0
    """How many trailing dimensions are one element: 1 where a vector is one value, 0 where each number is."""
    extra: ClassVar[Mapping[str, int]] = MappingProxyType({})
    """How many trailing dimensions an attribute has beyond those of a value, where they are not the same."""

    event: int
    """How many trailing dimensions make one value."""

    @abstractmethod
    def log_density(self, value: Tensor) -> Tensor:
        """The log-density or log-probability of each independent element of values [..., event...], as [..., elements]."""

    @abstractmethod
    def sample(self, noise: Tensor) -> Tensor:
        """A draw made from noise of this family's kind, [..., event...] and what each element needs of it behind that."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """The mean, [..., event...]."""

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density or log-probability of values [..., event...], as [...]."""
        return sum_event(self.log_density(value), self.event - self.joint)

    def base(self) -> torch.distributions.Distribution:
        """The same distribution over one element, as torch has it, for what is known of it in closed form there."""
        raise TypeError(f"torch has no {type(self).__name__}")

    def kl(self, prior: Distribution) -> Tensor:
        """The closed-form divergence KL(self || prior) of each element, [..., elements].

        Raises:
            NotImplementedError: For a pair of families that has none.
        """
        one, other = self.base(), prior.base()
        shape = torch.broadcast_shapes(one.batch_shape, other.batch_shape)  # torch does not broadcast every pair
        return torch.distributions.kl_divergence(one.expand(shape), other.expand(shape))

    def stack(self, slots: Sequence[Self], dimensions: int, dtype: torch.dtype) -> Self:
        """The distributions of single slots as one, with a dimension for the slots in front of so many, those of a value last.

        A number becomes a tensor of that precision.
        """
        made = copy(self)
        for name, value in vars(self).items():
            parts = [vars(slot)[name] for slot in slots]
            if isinstance(value, Distribution):
                setattr(made, name, value.stack(parts, dimensions, dtype))
            elif isinstance(value, Tensor):
                alike = [part.to(dtype) if part.is_floating_point() else part for part in parts]
                setattr(made, name, stack_slots(alike, dimensions + self.extra.get(name, 0)))
        return made

    def shielded(self, active: Tensor, plates: int) -> Self:
        """The same in active slots; in the others, what is learned has no part in it, so that no gradient is 0 times infinity.

        The weights [..., row, plate...] have so many plates.
        """
        made = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Distribution):
                setattr(made, name, value.shielded(active, plates))
            elif isinstance(value, Tensor) and value.requires_grad:
                event = self.event + self.extra.get(name, 0)
                leading = value.shape[: max(0, value.dim() - event)]
                there = somewhere(active > 0, torch.broadcast_shapes(leading, active.shape[-1 - plates :]))
                setattr(made, name, torch.where(trailing(there, event), value, 1.0))
        return made

    @staticmethod
    def noise(shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        """What `sample` turns into a draw of that shape: uniform numbers above 0, unless a family says otherwise."""
        return uniform_noise(shape, generator, dtype)

    def cells(self) -> Tensor:
        """Every value of a finite family, [cells, event...]."""
        raise TypeError(f"{type(self).__name__} cannot be enumerated")

    @staticmethod
    def encode(value: Tensor, event: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Values as data holds them, [row, ...], in the form the model computes with. A missing value becomes NaN."""
        return value.to(dtype)

    @staticmethod
    def decode(value: Tensor) -> Tensor:
        """The model's form of a value as data holds it."""
        return value

    @staticmethod
    def supported(value: Tensor, soft: bool, event: tuple[int, ...], number: int) -> Tensor:
        """Which elements of data lie in the support, elementwise; a missing one counts as inside.

        `number` is the option of the family that bounds its values, such as a total count, or 0.
        """
        return value.isfinite() | value.isnan()


class Relaxable(Distribution):
    """A discrete family with a continuous relaxation (Maddison et al. 2017; Jang et al. 2017).

    A relaxed value is carried by its log-value, which does not underflow where the value does: the logarithm of a simplex, or
    the logit of a switch. Densities are those of the log-value, in q and in p, so that they may be compared.
    """

    @abstractmethod
    def relax(self, noise: Tensor, temperature: Tensor) -> Tensor:
        """A relaxed draw's log-value, [..., event...]; as the temperature falls, its value tends to the draw of this noise."""

    @staticmethod
    @abstractmethod
    def soften(log_value: Tensor) -> Tensor:
        """The relaxed value itself, between 0 and 1."""

    @abstractmethod
    def log_relaxed(self, log_value: Tensor, temperature: Tensor) -> Tensor:
        """The log-density of each element of log-values [..., event...] under the relaxation, as [..., elements]."""


class Normal(Distribution):
    """N(loc, scale^2).

    >>> Normal(0.0, 1.0).log_prob(torch.zeros(3, 2)) / HALF_LOG_TWO_PI
    tensor([-2., -2., -2.])
    """

    parameters = ("loc", "scale")
    support = "real"

    def __init__(self, loc: Tensor | float, scale: Tensor | float, event: int = 1) -> None:
        self.loc, self.scale, self.event = as_parameter(loc), as_parameter(scale), event

    def log_density(self, value: Tensor) -> Tensor:
        deviation = (value - self.loc) / self.scale
        return -0.5 * deviation.square() - self.scale.log() - HALF_LOG_TWO_PI

    def sample(self, noise: Tensor) -> Tensor:
        return self.loc + self.scale * noise

    def base(self) -> torch.distributions.Distribution:
        return torch.distributions.Normal(self.loc, self.scale, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @staticmethod
    def noise(shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        return normal_noise(shape, generator, dtype)


class Bernoulli(Relaxable):
    """A switch. With `soft` data between 0 and 1 the score is a cross-entropy and no density."""

    parameters = ("logits",)
    support = "binary"

    def __init__(self, logits: Tensor | float | None = None, probs: float | None = None, event: int = 1) -> None:
        self.logits, self.event = logits_of(logits, probs), event

    def log_density(self, value: Tensor) -> Tensor:
        value, logits = torch.broadcast_tensors(value, self.logits)
        return -functional.binary_cross_entropy_with_logits(logits, value, reduction="none")

    def relax(self, noise: Tensor, temperature: Tensor) -> Tensor:
        # The draw is 1 where the noise is below the probability: so it is small noise that pushes towards 1.
        return (self.logits + torch.log1p(-noise) - noise.log()) / temperature

    @staticmethod
    def soften(log_value: Tensor) -> Tensor:
        return log_value.sigmoid()

    def log_relaxed(self, log_value: Tensor, temperature: Tensor) -> Tensor:
        logistic = self.logits - temperature * log_value
        return temperature.log() + logistic - 2 * functional.softplus(logistic)

    def base(self) -> torch.distributions.Distribution:
        return torch.distributions.Bernoulli(logits=self.logits, validate_args=False)

    def sample(self, noise: Tensor) -> Tensor:
        return (noise < self.logits.sigmoid()).to(noise.dtype)

    @property
    def mean(self) -> Tensor:
        return self.logits.sigmoid()

    def cells(self) -> Tensor:
        event = event_of(self.logits, self.event)
        ends = torch.tensor([0.0, 1.0], dtype=self.logits.dtype, device=self.logits.device)
        return torch.cartesian_prod(*[ends] * math.prod(event)).reshape(-1, *event)

    @staticmethod
    def encode(value: Tensor, event: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return value.to(dtype).masked_fill(value < 0, torch.nan)  # -1 is what a column of integers has for a missing label

    @staticmethod
    def decode(value: Tensor) -> Tensor:
        return value.round()

    @staticmethod
    def supported(value: Tensor, soft: bool, event: tuple[int, ...], number: int) -> Tensor:
        inside = (value >= 0) & (value <= 1) if soft else (value == 0) | (value == 1)
        return inside | value.isnan()


class ContinuousBernoulli(Distribution):
    """The density on [0, 1] that is proportional to probs^x (1 - probs)^(1 - x) (Loaiza-Ganem and Cunningham 2019).

    In terms of the logits L it is exp(L x) L / (exp(L) - 1), and the uniform density at L = 0. Every formula is written so that
    no logits overflow, and has its series where L is near zero, lest it be a ratio of two vanishing numbers.
    """

    parameters = ("logits",)
    support = "unit interval"

    def __init__(self, logits: Tensor | float | None = None, probs: float | None = None, event: int = 1) -> None:
        self.logits, self.event = logits_of(logits, probs), event
        self.small = self.logits.abs() < 0.05
        self.near = torch.where(self.small, self.logits, 0.0)
        self.far = torch.where(self.small, 1.0, self.logits)

    def log_density(self, value: Tensor) -> Tensor:
        size = self.far.abs()
        log_integral = self.far.relu() + (-torch.expm1(-size) / size).log()  # of exp(L x) over [0, 1]
        series = self.near / 2 + self.near.square() / 24 - self.near.pow(4) / 2880
        return value * self.logits - torch.where(self.small, series, log_integral)

    def sample(self, noise: Tensor) -> Tensor:
        # log(1 + noise (exp(L) - 1)) / L: the cumulants of a switch with probability `noise` are its series.
        inverse = torch.logaddexp(torch.log1p(-noise), noise.log() + self.far) / self.far
        variance, skew, square = noise * (1 - noise), 1 - 2 * noise, self.near.square()
        even = 1 + square * (1 - 6 * variance) / 12
        odd = 1 + square * (1 - 12 * variance) / 20
        series = noise + variance * (self.near / 2 * even + square * skew / 6 * odd)
        return torch.where(self.small, series, inverse).clamp(0, 1)

    def base(self) -> torch.distributions.Distribution:
        return torch.distributions.ContinuousBernoulli(logits=self.logits, validate_args=False)

    @property
    def mean(self) -> Tensor:
        size = self.far.abs()
        upper = -1 / torch.expm1(-size) - 1 / size
        series = 0.5 + self.near / 12 - self.near.pow(3) / 720
        return torch.where(self.small, series, torch.where(self.far > 0, upper, 1 - upper))

    @staticmethod
    def supported(value: Tensor, soft: bool, event: tuple[int, ...], number: int) -> Tensor:
        return ((value >= 0) & (value <= 1)) | value.isnan()


class Categorical(Relaxable):
    """One of several categories: an integer in data, a one-hot vector inside the model, its last dimension the categories."""

    parameters: ClassVar[tuple[str, ...]] = ("logits",)
    support = "categories"
    joint = 1

    def __init__(self, logits: Tensor, event: int = 1) -> None:
        self.log_probs, self.event = logits.log_softmax(-1), event

    def log_density(self, value: Tensor) -> Tensor:
        # Selected, not multiplied, so that 0 times a logit of -inf is 0; a NaN in the value stays a NaN.
        return torch.where(value == 0, 0.0, value * self.log_probs).sum(-1)

    def relax(self, noise: Tensor, temperature: Tensor) -> Tensor:
        return ((self.log_probs + gumbel(noise)) / temperature).log_softmax(-1)

    @staticmethod
    def soften(log_value: Tensor) -> Tensor:
        return log_value.exp()

    def log_relaxed(self, log_value: Tensor, temperature: Tensor) -> Tensor:
        categories, score = log_value.shape[-1], self.log_probs - temperature * log_value
        constant = math.lgamma(categories) + (categories - 1) * temperature.log()
        return constant + score.sum(-1) - categories * score.logsumexp(-1)

    def kl(self, prior: Distribution) -> Tensor:
        assert isinstance(prior, Categorical)
        ratio = self.log_probs - prior.log_probs
        return torch.where(self.log_probs == -torch.inf, 0.0, self.log_probs.exp() * ratio).sum(-1)

    def sample(self, noise: Tensor) -> Tensor:
        return one_hot((self.log_probs + gumbel(noise)).argmax(-1), self.log_probs.shape[-1], noise.dtype)

    @property
    def mean(self) -> Tensor:
        return self.log_probs.exp()

    def cells(self) -> Tensor:
        *event, categories = event_of(self.log_probs, self.event)
        each = torch.arange(categories, device=self.log_probs.device)
        joint = torch.cartesian_prod(*[each] * math.prod(event))
        return one_hot(joint.reshape(-1, *event), categories, self.log_probs.dtype)

    @staticmethod
    def encode(value: Tensor, event: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        known = (value >= 0).unsqueeze(-1)
        return one_hot(value.clamp_min(0).long(), event[-1], dtype).where(known, torch.nan)

    @staticmethod
    def decode(value: Tensor) -> Tensor:
        return value.argmax(-1)

    @staticmethod
    def supported(value: Tensor, soft: bool, event: tuple[int, ...], number: int) -> Tensor:
        return (value == value.floor()) & (value >= -1) & (value < event[-1])


def positive(raw: Tensor, floor: float = 1e-6, ceiling: float = math.inf) -> Tensor:
    """A head as a scale: softplus(raw) + floor, bent below a ceiling c as v / (1 + v / c)."""
    value = functional.softplus(raw) + floor
    return value if ceiling == math.inf else value / (1 + value / ceiling)


def unit(raw: Tensor) -> Tensor:
    """A head as a number between 0 and 1."""
    return raw.sigmoid()


def uniform_noise(shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
    """Uniform numbers in the open unit interval."""
    device = generator.device if generator else None
    return torch.rand(shape, generator=generator, dtype=dtype, device=device).clamp_min(torch.finfo(dtype).tiny)


def normal_noise(shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, generator=generator, dtype=dtype, device=generator.device if generator else None)


def gumbel(noise: Tensor) -> Tensor:
    """Uniform noise as standard Gumbel noise."""
    return -(-noise.log()).log()


def as_parameter(value: Tensor | float | None) -> Tensor:
    """A tensor as it is, and a number in double precision: without dimensions, it makes no tensor that it meets any wider."""
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)


def logits_of(logits: Tensor | float | None, probs: Tensor | float | None) -> Tensor:
    """The logits, from either spelling of the parameter; probabilities that are computed may reach 0 and 1."""
    if logits is not None:
        return as_parameter(logits)
    return torch.logit(probs, eps=1e-6) if isinstance(probs, Tensor) else torch.logit(as_parameter(probs))


def sum_event(elements: Tensor, event: int) -> Tensor:
    """Elements [..., event...] summed over one value, [...]."""
    return elements.flatten(-event).sum(-1) if event else elements


def event_of(parameter: Tensor, event: int) -> tuple[int, ...]:
    """The shape of one value."""
    return tuple(parameter.shape[parameter.dim() - event :])


def one_hot(index: Tensor, categories: int, dtype: torch.dtype) -> Tensor:
    """Integers [...] as one-hot vectors [..., categories]."""
    return functional.one_hot(index, categories).to(dtype)


def fill_inactive(value: Tensor, active: Tensor, event: int, other: Tensor | float) -> Tensor:
    """A value [..., row, plate..., event...] with another in the slots that are never active."""
    there = somewhere(active > 0, value.shape[: value.dim() - event])
    return torch.where(trailing(there, event), value, other)


def trailing(tensor: Tensor, dimensions: int) -> Tensor:
    """A mask [...] with `dimensions` of size one behind it, so that it meets values [..., event...]."""
    return tensor.reshape(*tensor.shape, *(1,) * dimensions)
