"""Families whose element is a vector: the last dimension of a value is one draw with a density of its own."""

from __future__ import annotations

from abc import abstractmethod
from functools import reduce
from types import MappingProxyType

import torch
from torch import Tensor

from graphvae.runtime.continuous import gamma_noise, log_standard_gamma
from graphvae.runtime.counts import draw_index
from graphvae.runtime.distributions import HALF_LOG_TWO_PI, Distribution, Normal, normal_noise, one_hot, uniform_noise


class Dirichlet(Distribution):
    """Shares of a whole, [..., event...] with every vector on the simplex: gamma variables divided by their sum."""

    parameters = ("concentration",)
    support = "simplex"
    inside = 0.5
    joint = 1

    def __init__(self, concentration: Tensor, event: int = 1) -> None:
        self.concentration, self.event = concentration, event

    def log_density(self, value: Tensor) -> Tensor:
        return self.base().log_prob(value)

    def sample(self, noise: Tensor) -> Tensor:
        # A share that underflows is the least number above zero, where a density is still defined.
        shares = log_standard_gamma(self.concentration, noise).softmax(-1)
        return shares.clamp_min(torch.finfo(shares.dtype).tiny)

    def base(self) -> torch.distributions.Distribution:
        return torch.distributions.Dirichlet(self.concentration, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, keepdim=True)

    @staticmethod
    def noise(shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        return gamma_noise(shape, generator, dtype)

    @staticmethod
    def supported(value: Tensor, soft: bool, event: tuple[int, ...], number: int) -> Tensor:
        total = value.sum(-1, keepdim=True)  # NaN where a part of the vector is missing, and so all of it
        return ((value > 0) & ((total - 1).abs() <= 1e-4)) | total.isnan()


class VectorNormal(Distribution):
    """A normal vector N(loc, S) by the means that its covariance S offers; `log_volume` [...] is half of log det S."""

    support = "real"
    joint = 1

    loc: Tensor
    log_volume: Tensor

    @property
    @abstractmethod
    def roots(self) -> tuple[Tensor, ...]:
        """Matrices [..., d, column] whose products with their own transposes sum to S."""

    @abstractmethod
    def whiten(self, columns: Tensor) -> Tensor:
        """Matrices [..., d, column] as [..., k, column], of which every column c has the squared length c^T S^{-1} c."""

    def log_density(self, value: Tensor) -> Tensor:
        square = self.whiten((value - self.loc).unsqueeze(-1)).square().sum((-2, -1))
        return -0.5 * square - self.log_volume - value.shape[-1] * HALF_LOG_TWO_PI

    def kl(self, prior: Distribution) -> Tensor:
        assert isinstance(prior, VectorNormal)
        columns = (*self.roots, (self.loc - prior.loc).unsqueeze(-1))
        square = reduce(torch.add, (prior.whiten(part).square().sum((-2, -1)) for part in columns))
        return 0.5 * (square - self.loc.shape[-1]) + prior.log_volume - self.log_volume

    @property
    def mean(self) -> Tensor:
        return self.loc


class MultivariateNormal(VectorNormal):
    """N(loc, L L^T), L the Cholesky factor: `scale` [..., d] on its diagonal, `below` [..., d, d] underneath."""

    parameters = ("loc", "scale", "below")
    extra = MappingProxyType({"factor": 1, "log_volume": -1})

    def __init__(self, loc: Tensor, scale: Tensor, below: Tensor, event: int = 1) -> None:
        self.loc, self.log_volume, self.event = loc, scale.log().sum(-1), event
        self.factor = below.tril(-1) + torch.diag_embed(scale)

    @property
    def roots(self) -> tuple[Tensor, ...]:
        return (self.factor,)

    def whiten(self, columns: Tensor) -> Tensor:
        white: Tensor = torch.linalg.solve_triangular(self.factor, columns, upper=False)
        return white

    def sample(self, noise: Tensor) -> Tensor:
        return self.loc + transform(self.factor, noise)

    @staticmethod
    def noise(shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        return normal_noise(shape, generator, dtype)


class LowRankNormal(VectorNormal):
    """N(loc, W W^T + diag(scale^2)), W the `factor` [..., d, r] with r <= d: r common causes, and noise of every coordinate.

    With A = diag(1 / scale) W, the squared length y^T (I + A A^T)^{-1} y is that of what (y, 0) has outside of the column space
    of (A, I). A QR decomposition of (A, I) gives it without a difference of large numbers, and R the determinant, since
    R^T R = I + A^T A.
    """

    parameters = ("loc", "scale", "factor")
    extra = MappingProxyType({"factor": 1, "upper": 1, "lower": 1, "log_volume": -1})

    def __init__(self, loc: Tensor, scale: Tensor, factor: Tensor, event: int = 1) -> None:
        self.loc, self.scale, self.factor, self.event = loc, scale, factor, event
        loading, (dimension, rank) = factor / scale.unsqueeze(-1), factor.shape[-2:]
        identity = torch.eye(rank, dtype=loading.dtype, device=loading.device).expand(*loading.shape[:-2], rank, rank)
        basis, triangle = torch.linalg.qr(torch.cat([loading, identity], -2))
        self.upper, self.lower = basis.split([dimension, rank], -2)
        self.log_volume = scale.log().sum(-1) + triangle.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)

    @property
    def roots(self) -> tuple[Tensor, ...]:
        return (self.factor, torch.diag_embed(self.scale))

    def whiten(self, columns: Tensor) -> Tensor:
        scaled = columns / self.scale.unsqueeze(-1)
        coordinates = self.upper.mT @ scaled
        return torch.cat([scaled - self.upper @ coordinates, self.lower @ coordinates], -2)

    def sample(self, noise: Tensor) -> Tensor:
        own, common = noise.unbind(-1)
        return self.loc + self.scale * own + transform(self.factor, common[..., : self.factor.shape[-1]])

    @staticmethod
    def noise(shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        return normal_noise((*shape, 2), generator, dtype)  # the rank is not known here, and at most d


class MixtureOfNormals(Distribution):
    """One of several normal vectors with independent coordinates: logits [..., m], loc and scale [..., m, d].

    A draw passes its gradient on through the distribution functions of its coordinates, each given those before it (Figurnov,
    Mohamed and Mnih 2018): F_d(z_d | z_<d) is a mixture of normal distribution functions, the weight of a component in
    proportion to its own times its density at z_<d, and dz_d = -dF_d / p(z_d | z_<d).
    """

    parameters = ("logits", "loc", "scale")
    support = "real"
    joint = 1
    extra = MappingProxyType({"loc": 1, "scale": 1})

    def __init__(self, logits: Tensor, loc: Tensor, scale: Tensor, event: int = 1) -> None:
        self.log_weights, self.loc, self.scale, self.event = logits.log_softmax(-1), loc, scale, event

    def log_density(self, value: Tensor) -> Tensor:
        components = Normal(self.loc, self.scale).log_density(value.unsqueeze(-2)).sum(-1)
        return (self.log_weights + components).logsumexp(-1)

    def sample(self, noise: Tensor) -> Tensor:
        log_weights, live = self.log_weights, list[Tensor]()
        for value, loc, scale in zip(self.draw(noise).unbind(-1), self.loc.unbind(-1), self.scale.unbind(-1), strict=True):
            component = Normal(loc, scale)
            below = (log_weights.exp() * torch.special.ndtr((value.unsqueeze(-1) - loc) / scale)).sum(-1)
            density = (log_weights + component.log_density(value.unsqueeze(-1))).logsumexp(-1).exp()
            density = density.detach().clamp_min(torch.finfo(density.dtype).tiny)
            live.append(value - (below - below.detach()) / density)
            log_weights = (log_weights + component.log_density(live[-1].unsqueeze(-1))).log_softmax(-1)
        return torch.stack(live, -1)

    @torch.no_grad()
    def draw(self, noise: Tensor) -> Tensor:
        """A draw without gradient: that of one component."""
        normal, uniform = noise.unbind(-1)
        component = draw_index(self.log_weights, uniform[..., 0])
        chosen = one_hot(component, self.log_weights.shape[-1], noise.dtype).unsqueeze(-1)
        return (chosen * (self.loc + self.scale * normal.unsqueeze(-2))).sum(-2)

    @property
    def mean(self) -> Tensor:
        return (self.log_weights.exp().unsqueeze(-1) * self.loc).sum(-2)

    @staticmethod
    def noise(shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        return torch.stack([normal_noise(shape, generator, dtype), uniform_noise(shape, generator, dtype)], -1)


def transform(matrix: Tensor, vector: Tensor) -> Tensor:
    """The product of matrices [..., i, j] and vectors [..., j], as [..., i]."""
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)
