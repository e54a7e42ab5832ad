"""The continuous families over numbers, beyond the normal one.

Draws are made of outside noise and carry an unbiased gradient in the parameters: through the inverse distribution function,
or, of a draw that was accepted among proposals, by implicit differentiation, d x / d parameter = -(d F / d parameter) / density
(Figurnov, Mohamed and Mnih 2018), which is of first order only. A draw beyond what its type can hold is moved to the last
number inside the support, and has no gradient there.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from graphvae.runtime.distributions import Distribution, as_parameter, normal_noise, uniform_noise

GAMMA_PROPOSALS = 8
GAMMA_NOISE = 2 * GAMMA_PROPOSALS + 1
ANGLE_PROPOSALS = 22
LEAST_WIDTH = 1e-6
HALF_NODES = (  # of the Gauss-Legendre rule with 20 nodes on [0, 1], which is symmetric: distances from the ends, and weights
    (0.0034357004074525376, 0.0088070035695760592),
    (0.018014036361043104, 0.020300714900193471),
    (0.043882785874337047, 0.031336024167054532),
    (0.080441514088890588, 0.041638370788352374),
    (0.12683404676992460, 0.050965059908620218),
    (0.18197315963674249, 0.059097265980759209),
    (0.24456649902458645, 0.065844319224588313),
    (0.31314695564229022, 0.071048054659191026),
    (0.38610707442917746, 0.074586493236301873),
    (0.46173673943325133, 0.076376693565362925),
)


def gamma_noise(shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
    """What `log_standard_gamma` needs for draws of that shape, [..., 17]: the proposals' normals and uniforms, and one more."""
    proposed = normal_noise((*shape, GAMMA_PROPOSALS), generator, dtype)
    return torch.cat([proposed, uniform_noise((*shape, GAMMA_PROPOSALS + 1), generator, dtype)], -1)


def log_standard_gamma(concentration: Tensor, noise: Tensor) -> Tensor:
    """The logarithm of a draw from Gamma(concentration, 1), [...], of noise [..., 17], with its gradient.

    Marsaglia and Tsang (2000): v = (1 + c x)^3 with x normal, d = concentration + 2/3 and c = 1 / sqrt(9 d), accepted where
    log u <= x^2 / 2 + d (1 - v + log v), makes d v a draw at concentration + 1; times u^(1 / concentration) it is one at
    concentration. A proposal fails at most 4.84% of the time; all eight do, and the first stands, less than once in 10^10.
    The accepted draw's gradient is implicit, to about one part in 10^4 (torch's series).
    """
    normal, uniform = noise[..., :-1].chunk(2, -1)
    shape = by_proposal(concentration, noise) + 1
    size = shape - 1 / 3
    step = normal / (9 * size).sqrt()
    # 1 - v + log v, without the difference of large numbers that it is at a high concentration
    excess = 3 * torch.log1p(step) - step * (3 + step * (3 + step))
    accepted = uniform.log() <= normal.square() / 2 + size * excess
    least = torch.finfo(noise.dtype).eps - 1
    log_draw = first_accepted(size.log() + 3 * torch.log1p(step.clamp_min(least)), accepted)
    draw = log_draw.exp()
    slope: Tensor = torch._standard_gamma_grad(shape.squeeze(-1).expand_as(draw), draw) / draw
    return log_draw + slope * (concentration - concentration.detach()) + noise[..., -1].log() / concentration


class LocationScale(Distribution):
    """A standard distribution over the real line, scaled and moved: x = loc + scale z."""

    parameters = ("loc", "scale")
    support = "real"

    def __init__(self, loc: Tensor | float, scale: Tensor | float, event: int = 1) -> None:
        self.loc, self.scale, self.event = as_parameter(loc), as_parameter(scale), event

    @staticmethod
    @abstractmethod
    def standard_log_density(value: Tensor) -> Tensor:
        """The log-density of z, elementwise."""

    @staticmethod
    @abstractmethod
    def standard_quantile(noise: Tensor) -> Tensor:
        """The z below which that share of draws lies, elementwise."""

    def log_density(self, value: Tensor) -> Tensor:
        return self.standard_log_density((value - self.loc) / self.scale) - self.scale.log()

    def sample(self, noise: Tensor) -> Tensor:
        return self.loc + self.scale * self.standard_quantile(noise)

    @property
    def mean(self) -> Tensor:
        return self.loc


class Laplace(LocationScale):
    """The density exp(-|z|) / (2 scale), z = (x - loc) / scale.

    >>> Laplace(0.0, 0.5).log_prob(torch.zeros(3, 2))
    tensor([0., 0., 0.])
    """

    @staticmethod
    def standard_log_density(value: Tensor) -> Tensor:
        return -value.abs() - math.log(2)

    @staticmethod
    def standard_quantile(noise: Tensor) -> Tensor:
        return (0.5 - noise).sign() * (2 * torch.minimum(noise, 1 - noise)).log()

    def base(self) -> torch.distributions.Distribution:
        return torch.distributions.Laplace(self.loc, self.scale, validate_args=False)


class Cauchy(LocationScale):
    """The density 1 / (pi scale (1 + z^2)), z = (x - loc) / scale. It has no mean: `mean` is its median, loc."""

    @staticmethod
    def standard_log_density(value: Tensor) -> Tensor:
        return -log_one_plus_square(value) - math.log(math.pi)

    @staticmethod
    def standard_quantile(noise: Tensor) -> Tensor:
        return cauchy_quantile(noise)

    def base(self) -> torch.distributions.Distribution:
        return torch.distributions.Cauchy(self.loc, self.scale, validate_args=False)


class Logistic(LocationScale):
    """The density s(z) s(-z) / scale, s the logistic function and z = (x - loc) / scale."""

    @staticmethod
    def standard_log_density(value: Tensor) -> Tensor:
        return functional.logsigmoid(value) + functional.logsigmoid(-value)

    @staticmethod
    def standard_quantile(noise: Tensor) -> Tensor:
        return noise.log() - torch.log1p(-noise)


class StudentT(Distribution):
    """The density proportional to (1 + z^2 / df)^(-(df + 1) / 2), z = (x - loc) / scale.

    It has no mean where df <= 1: `mean` is its median there as everywhere, loc.
    """

    parameters = ("df", "loc", "scale")
    support = "real"

    def __init__(self, df: Tensor | float, loc: Tensor | float, scale: Tensor | float, event: int = 1) -> None:
        self.df, self.loc, self.scale, self.event = as_parameter(df), as_parameter(loc), as_parameter(scale), event

    def log_density(self, value: Tensor) -> Tensor:
        ratio = (value - self.loc) / self.scale / self.df.sqrt()
        constant = log_gamma_step(self.df / 2) - 0.5 * (math.pi * self.df).log() - self.scale.log()
        return constant - (self.df + 1) / 2 * log_one_plus_square(ratio)

    def sample(self, noise: Tensor) -> Tensor:
        """loc + scale x / sqrt(g / (df / 2)): x normal, the first of the noise, and g from Gamma(df / 2, 1)."""
        half = self.df / 2
        log_size = 0.5 * (half.log() - log_standard_gamma(half, noise[..., 1:]))
        # The bound leaves room to scale the draw and to score it.
        bounded = log_size.clamp_max(0.8 * math.log(torch.finfo(noise.dtype).max))
        return self.loc + self.scale * noise[..., 0] * bounded.exp()

    @property
    def mean(self) -> Tensor:
        return self.loc

    @staticmethod
    def noise(shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        return torch.cat([normal_noise((*shape, 1), generator, dtype), gamma_noise(shape, generator, dtype)], -1)


class Positive(Distribution):
    """A density over the numbers above 0."""

    support = "positive"
    inside = 1.0

    @staticmethod
    def supported(value: Tensor, soft: bool, event: tuple[int, ...], number: int) -> Tensor:
        return ((value > 0) & value.isfinite()) | value.isnan()


class LogNormal(Positive):
    """The exponential of a draw from N(loc, scale^2)."""

    parameters = ("loc", "scale")

    def __init__(self, loc: Tensor | float, scale: Tensor | float, event: int = 1) -> None:
        self.loc, self.scale, self.event = as_parameter(loc), as_parameter(scale), event

    def log_density(self, value: Tensor) -> Tensor:
        log_value = value.log()
        deviation = (log_value - self.loc) / self.scale
        return -0.5 * deviation.square() - self.scale.log() - log_value - 0.5 * math.log(2 * math.pi)

    def sample(self, noise: Tensor) -> Tensor:
        return bounded_exp(self.loc + self.scale * noise)

    def base(self) -> torch.distributions.Distribution:
        return torch.distributions.LogNormal(self.loc, self.scale, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return bounded_exp(self.loc + self.scale.square() / 2)

    @staticmethod
    def noise(shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        return normal_noise(shape, generator, dtype)


class HalfNormal(Positive):
    """The absolute value of a draw from N(0, scale^2)."""

    parameters = ("scale",)

    def __init__(self, scale: Tensor | float, event: int = 1) -> None:
        self.scale, self.event = as_parameter(scale), event

    def log_density(self, value: Tensor) -> Tensor:
        return -0.5 * (value / self.scale).square() - self.scale.log() + 0.5 * math.log(2 / math.pi)

    def sample(self, noise: Tensor) -> Tensor:
        return (self.scale * noise.abs()).clamp_min(torch.finfo(noise.dtype).tiny)

    def base(self) -> torch.distributions.Distribution:
        return torch.distributions.HalfNormal(self.scale, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @staticmethod
    def noise(shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        return normal_noise(shape, generator, dtype)


class Exponential(Positive):
    """The density rate exp(-rate x)."""

    parameters = ("rate",)

    def __init__(self, rate: Tensor | float, event: int = 1) -> None:
        self.rate, self.event = as_parameter(rate), event

    def log_density(self, value: Tensor) -> Tensor:
        return self.rate.log() - self.rate * value

    def sample(self, noise: Tensor) -> Tensor:
        return (-torch.log1p(-noise) / self.rate).clamp_min(torch.finfo(noise.dtype).tiny)

    def base(self) -> torch.distributions.Distribution:
        return torch.distributions.Exponential(self.rate, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return 1 / self.rate


class Weibull(Positive):
    """The density (k / scale) z^(k - 1) exp(-z^k), z = x / scale and k the concentration."""

    parameters = ("scale", "concentration")

    def __init__(self, scale: Tensor | float, concentration: Tensor | float, event: int = 1) -> None:
        self.scale, self.concentration, self.event = as_parameter(scale), as_parameter(concentration), event

    def log_density(self, value: Tensor) -> Tensor:
        log_ratio = value.log() - self.scale.log()
        constant = self.concentration.log() - self.scale.log()
        return constant + (self.concentration - 1) * log_ratio - (self.concentration * log_ratio).exp()

    def sample(self, noise: Tensor) -> Tensor:
        return bounded_exp(self.scale.log() + (-torch.log1p(-noise)).log() / self.concentration)

    @property
    def mean(self) -> Tensor:
        return bounded_exp(self.scale.log() + torch.lgamma(1 + 1 / self.concentration))


class Gamma(Positive):
    """The density rate^a x^(a - 1) exp(-rate x) / Gamma(a), a the concentration."""

    parameters = ("concentration", "rate")

    def __init__(self, concentration: Tensor | float, rate: Tensor | float, event: int = 1) -> None:
        self.concentration, self.rate, self.event = as_parameter(concentration), as_parameter(rate), event

    def log_density(self, value: Tensor) -> Tensor:
        power = self.concentration * self.rate.log() + (self.concentration - 1) * value.log()
        return power - self.rate * value - torch.lgamma(self.concentration)

    def sample(self, noise: Tensor) -> Tensor:
        return bounded_exp(log_standard_gamma(self.concentration, noise) - self.rate.log())

    def base(self) -> torch.distributions.Distribution:
        return torch.distributions.Gamma(self.concentration, self.rate, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @staticmethod
    def noise(shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        return gamma_noise(shape, generator, dtype)


class Beta(Distribution):
    """The density proportional to x^(a - 1) (1 - x)^(b - 1), a = concentration1 and b = concentration0."""

    parameters = ("concentration1", "concentration0")
    support = "unit interval"
    inside = 0.5

    def __init__(self, concentration1: Tensor | float, concentration0: Tensor | float, event: int = 1) -> None:
        self.concentration1, self.concentration0 = as_parameter(concentration1), as_parameter(concentration0)
        self.event = event

    def log_density(self, value: Tensor) -> Tensor:
        one, zero = self.concentration1, self.concentration0
        constant = torch.lgamma(one + zero) - torch.lgamma(one) - torch.lgamma(zero)
        return constant + (one - 1) * value.log() + (zero - 1) * torch.log1p(-value)

    def sample(self, noise: Tensor) -> Tensor:
        """One gamma draw as a share of two: the logistic function of the difference of their logarithms."""
        first, second = noise.split(GAMMA_NOISE, -1)
        logit = log_standard_gamma(self.concentration1, first) - log_standard_gamma(self.concentration0, second)
        limits = torch.finfo(noise.dtype)
        return logit.sigmoid().clamp(limits.tiny, 1 - limits.eps / 2)

    def base(self) -> torch.distributions.Distribution:
        return torch.distributions.Beta(self.concentration1, self.concentration0, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @staticmethod
    def noise(shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        return torch.cat([gamma_noise(shape, generator, dtype), gamma_noise(shape, generator, dtype)], -1)

    @staticmethod
    def supported(value: Tensor, soft: bool, event: tuple[int, ...], number: int) -> Tensor:
        """Strictly between 0 and 1: at the ends the density may be 0 or without bound."""
        return ((value > 0) & (value < 1)) | value.isnan()


class Uniform(Distribution):
    """The uniform density between two ends in [0, 1], which come in either order; it is at least 10^-6 wide."""

    parameters = ("low", "high")
    support = "unit interval"
    inside = 0.5

    def __init__(self, low: Tensor | float, high: Tensor | float, event: int = 1) -> None:
        ends, self.event = (as_parameter(low), as_parameter(high)), event
        self.low = torch.minimum(*ends).clamp_max(1 - LEAST_WIDTH)
        self.width = (ends[1] - ends[0]).abs().clamp_min(LEAST_WIDTH)

    def log_density(self, value: Tensor) -> Tensor:
        inside = (value >= self.low) & (value <= self.low + self.width)
        return torch.where(inside, -self.width.log().to(value.dtype), -torch.inf)

    def sample(self, noise: Tensor) -> Tensor:
        return self.low + self.width * noise

    @property
    def mean(self) -> Tensor:
        return self.low + self.width / 2

    @staticmethod
    def supported(value: Tensor, soft: bool, event: tuple[int, ...], number: int) -> Tensor:
        return ((value >= 0) & (value <= 1)) | value.isnan()


class VonMises(Distribution):
    """The density exp(k cos(x - loc)) / (2 pi I0(k)) of an angle in [-pi, pi], k the concentration.

    `mean` is the circular one, the direction loc.
    """

    parameters = ("loc", "concentration")
    support = "angle"

    def __init__(self, loc: Tensor | float, concentration: Tensor | float, event: int = 1) -> None:
        self.loc, self.concentration, self.event = as_parameter(loc), as_parameter(concentration), event

    def log_density(self, value: Tensor) -> Tensor:
        fall = 2 * ((value - self.loc) / 2).sin().square()  # 1 - cos(x - loc), and exact where it is small
        scaled: Tensor = torch.special.i0e(self.concentration)
        return -self.concentration * fall - scaled.log() - math.log(2 * math.pi)

    def sample(self, noise: Tensor) -> Tensor:
        """loc plus an angle by Best and Fisher (1979), with an implicit gradient in the concentration.

        A wrapped Cauchy angle a is accepted where log u <= log e + 1 - e, with e = m + 2 k sin^2(a / 2) and
        m = (1 + 1 / (sqrt(1 + 4 k^2) + 2 k)) / 2: their k (r - cos a), without its differences of like numbers. A proposal
        fails at most 34.3% of the time; all 22 do, and the first stands, less than once in 10^10.
        """
        turn, uniform = noise.split(ANGLE_PROPOSALS, -1)
        double = 2 * by_proposal(self.concentration, noise)
        least = (1 + 1 / (torch.hypot(torch.ones_like(double), double) + double)) / 2
        proposed = 2 * ((least / (least + double)).sqrt() * cauchy_quantile(turn)).atan()
        excess = least + double * (proposed / 2).sin().square()
        accepted = without_zero(uniform).log() <= excess.log() + 1 - excess
        angle = first_accepted(proposed, accepted)
        slope = angle_slope(angle, self.concentration.detach())
        return wrap_angle(self.loc + angle + slope * (self.concentration - self.concentration.detach()))

    @property
    def mean(self) -> Tensor:
        return wrap_angle(self.loc)

    @staticmethod
    def noise(shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        return uniform_noise((*shape, 2 * ANGLE_PROPOSALS), generator, dtype)

    @staticmethod
    def supported(value: Tensor, soft: bool, event: tuple[int, ...], number: int) -> Tensor:
        return (value.abs() <= math.pi) | value.isnan()


def angle_slope(angle: Tensor, concentration: Tensor) -> Tensor:
    """The implicit derivative of a von Mises angle a, at loc 0, in its concentration k, elementwise.

    It is the integral of (A - cos t) exp(k (cos t - cos a)) over t from 0 to a, A = I1(k) / I0(k); both differences are written
    as sin^2(t / 2), and all is in double precision, where 1 - A has digits left at any k. No accepted draw has an exponent
    above 50.
    """
    half, k = angle.double() / 2, concentration.double()
    rule = torch.tensor(HALF_NODES, dtype=half.dtype, device=half.device).reshape(-1, 2, *(1,) * half.dim())
    node, weight = rule.unbind(1)
    fall = 2 * (torch.cat([node, 1 - node]) * half).sin().square()
    shortfall: Tensor = 1 - torch.special.i1e(k) / torch.special.i0e(k)
    growth = (k * (2 * half.sin().square() - fall)).clamp_max(50).exp()
    integral = (torch.cat([weight, weight]) * (fall - shortfall) * growth).sum(0)
    return (2 * half * integral).to(angle.dtype)


def by_proposal(parameter: Tensor, noise: Tensor) -> Tensor:
    """A parameter [...] as the constant [..., 1] that meets every proposal in noise."""
    return parameter.detach().to(noise.dtype).unsqueeze(-1)


def first_accepted(proposals: Tensor, accepted: Tensor) -> Tensor:
    """Of proposals [..., proposal] the first that was accepted, [...]; the very first where none was."""
    return torch.take_along_dim(proposals, accepted.int().argmax(-1, keepdim=True), -1).squeeze(-1)


def cauchy_quantile(noise: Tensor) -> Tensor:
    """The quantile tan(pi (noise - 1/2)) of the standard Cauchy distribution, exact at both ends."""
    noise = without_zero(noise)
    return (noise - 0.5).sign() / (math.pi * torch.minimum(noise, 1 - noise)).tan()


def without_zero(noise: Tensor) -> Tensor:
    """Uniform noise with the lowest number it can be, which stands for all below its resolution, at their middle."""
    return noise.clamp_min(torch.finfo(noise.dtype).eps / 4)


def bounded_exp(log_value: Tensor) -> Tensor:
    """The exponential, held to what its type can hold above 0; without a gradient where it is held."""
    limits = torch.finfo(log_value.dtype)
    return log_value.clamp(0.999 * math.log(limits.tiny), 0.999 * math.log(limits.max)).exp()


def wrap_angle(angle: Tensor) -> Tensor:
    """An angle by whole turns brought between -pi and pi."""
    end = math.pi * (1 - torch.finfo(angle.dtype).eps)
    return (torch.remainder(angle + math.pi, 2 * math.pi) - math.pi).clamp(-end, end)


def log_one_plus_square(value: Tensor) -> Tensor:
    """log(1 + x^2), also where x^2 is more than its type can hold."""
    large = value.abs() > 1
    near, far = torch.where(large, 0.0, value), torch.where(large, value.abs(), 1.0)
    return torch.where(large, 2 * far.log() + torch.log1p(far.pow(-2)), torch.log1p(near.square()))


def log_gamma_step(value: Tensor) -> Tensor:
    """log Gamma(x + 1/2) - log Gamma(x): by its series where x is large, as a difference of large numbers elsewhere."""
    large = value > 100
    near, far = torch.where(large, 1.0, value), torch.where(large, value, 1000.0)
    series = far.log() / 2 - 1 / (8 * far) + 1 / (192 * far.pow(3)) - 1 / (640 * far.pow(5))
    return torch.where(large, series, torch.lgamma(near + 0.5) - torch.lgamma(near))
