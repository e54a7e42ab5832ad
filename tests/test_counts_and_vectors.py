"""What the common laws do not ask of counts, pixels and vectors: accuracy far out, and in single precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special, stats

from graphvae.runtime.counts import Binomial, DiscretisedLogistic, NegativeBinomial, Ordinal, Poisson, poisson_quantile
from graphvae.runtime.multivariate import LowRankNormal

double = pytest.mark.usefixtures("float64")
COUNTS = [0.0, 1.0, 2.0, 15.0, 16.0, 17.0, 100.0, 10_000.0, 1_000_000.0]
RATES = [1e-8, 1e-3, 0.7, 16.0, 100.0, 1e4, 1e6]


def between(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """The logarithm of the standard logistic mass between two points, from the tail in which it keeps its digits."""
    left = stats.logistic.cdf(upper) - stats.logistic.cdf(lower)
    right = stats.logistic.sf(lower) - stats.logistic.sf(upper)
    with np.errstate(divide="ignore"):
        return np.log(np.where(lower + upper > 0, right, left))


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-9), (torch.float32, 2e-6)])
@pytest.mark.parametrize("rate", RATES)
def test_poisson_of_any_size(rate: float, dtype: torch.dtype, rtol: float) -> None:
    """Where log-densities in single precision, 1e6 log 1e6 - 1e6 - log 1e6!, would have no digit left."""
    parameter, values = torch.tensor(rate, dtype=dtype, requires_grad=True), torch.tensor(COUNTS, dtype=dtype)
    found = Poisson(parameter, event=0).log_prob(values)
    expected = stats.poisson.logpmf(values.numpy(), parameter.item())
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=rtol, atol=rtol * 10)
    slope = torch.autograd.grad(found.sum(), parameter)[0].item()
    assert slope == pytest.approx((values.double() / parameter.item() - 1).sum().item(), rel=1e-5)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-8), (torch.float32, 2e-5)])
@pytest.mark.parametrize("total", [1e-3, 0.5, 15.3, 100.0, 1e4, 1e6])
def test_negative_binomial_of_any_size(total: float, dtype: torch.dtype, rtol: float) -> None:
    """The log-probability and its gradients, against scipy in double precision."""
    for logits in (-30.0, -5.0, 0.0, 3.0):
        parameters = [torch.tensor(number, dtype=dtype, requires_grad=True) for number in (total, logits)]
        size, value = parameters[0].item(), torch.tensor(COUNTS, dtype=dtype)
        found = NegativeBinomial(*parameters, event=0).log_prob(value)
        count = value.double().numpy()
        rising = [np.log(size + np.arange(number)).sum() for number in count]  # size (size + 1) ... (size + count - 1)
        expected = special.log_expit(logits) * count + special.log_expit(-logits) * size + rising - special.gammaln(count + 1)
        np.testing.assert_allclose(found.detach().double().numpy(), expected, rtol=rtol, atol=rtol)
        slopes = torch.autograd.grad(found.sum(), parameters)
        by_size = (special.digamma(count + size) - special.digamma(size) + special.log_expit(-logits)).sum()
        by_logits = (count * special.expit(-logits) - size * special.expit(logits)).sum()
        np.testing.assert_allclose([slope.item() for slope in slopes], [by_size, by_logits], rtol=1e-3, atol=1e-4)


@double
@pytest.mark.parametrize("rate", [1e-8, 0.3, 5.0, 300.0, 1e6, 1e9])
def test_the_quantile_of_a_poisson_distribution(rate: float) -> None:
    """The least count whose distribution function is not below the number, scipy's, also at the last numbers below 1."""
    ends = torch.tensor([1e-300, 1e-20, 1 - 2**-53])
    uniform = torch.cat([torch.rand(2000, generator=torch.Generator().manual_seed(0)), ends])
    found = poisson_quantile(torch.tensor(rate), uniform).numpy()
    assert (special.pdtr(found, rate) >= uniform.numpy() - 1e-11).all()
    assert ((found == 0) | (special.pdtr(found - 1, rate) < uniform.numpy() + 1e-11)).all()
    expected = stats.poisson.ppf(uniform.numpy()[:-3], rate)
    assert (found[:-3] != expected).sum() <= 2  # where the number meets a step of the function to the last digits


@double
@pytest.mark.parametrize("loc", [-600.0, -60.0, -1.0, 0.0, 2.5, 60.0, 600.0])
def test_ordinal_probabilities_far_from_the_cuts(loc: float) -> None:
    logits = torch.tensor([0.3, -1.0, 2.0, 0.5])
    cumulative = special.softmax(logits.numpy()).cumsum()[:-1]
    edges = np.concatenate([[-np.inf], special.logit(cumulative) - loc, [np.inf]])
    found = Ordinal(torch.tensor(loc), logits).log_prob(torch.eye(4))
    np.testing.assert_allclose(found, between(edges[:-1], edges[1:]), rtol=1e-12, atol=1e-12)


def test_a_larger_location_moves_ordered_categories_upwards() -> None:
    """And with none, the probabilities are those of the baseline, in which order it may."""
    logits = torch.tensor([0.3, -1.0, 2.0, 0.5])
    torch.testing.assert_close(Ordinal(torch.tensor(0.0), logits).mean, logits.softmax(0))
    tails = [Ordinal(torch.tensor(loc), logits).mean.flip(0).cumsum(0).flip(0) for loc in (-1.0, 0.0, 1.0)]
    assert (tails[0][1:] < tails[1][1:]).all()
    assert (tails[1][1:] < tails[2][1:]).all()


@double
@pytest.mark.parametrize("scale", [1e-3, 0.05, 10.0])
def test_pixels_far_from_the_location(scale: float) -> None:
    """Every level of 256, from scipy's logistic distribution; the outermost levels have the tails."""
    for loc in (-0.5, 0.0, 0.31, 1.7):
        edges = np.concatenate([[-np.inf], (np.arange(255) + 0.5) / 255, [np.inf]])
        expected = between(*((end - loc) / scale for end in (edges[:-1], edges[1:])))
        found = DiscretisedLogistic(torch.tensor(loc), torch.tensor(scale), event=0)
        values = found.cells()
        kept = expected > -700  # beyond, the reference underflows
        np.testing.assert_allclose(found.log_prob(values)[kept], expected[kept], rtol=1e-9, atol=1e-9)
        assert found.mean.item() == pytest.approx((np.exp(expected) * values.numpy()).sum(), rel=0, abs=1e-12)


def test_a_pixel_pulls_at_a_location_however_far() -> None:
    """With the gradient 1 / scale, in single precision too."""
    loc = torch.tensor(-50.0, requires_grad=True)
    score = DiscretisedLogistic(loc, torch.tensor(0.01), event=0).log_prob(torch.tensor(0.5))
    assert torch.autograd.grad(score, loc)[0].item() == pytest.approx(100.0, rel=1e-5)


def test_the_grid_of_levels_may_be_rounded() -> None:
    """To single precision, with 16 bits too; but not by a hundredth of a level."""
    for levels in (2, 256, 65_536):
        grid = torch.arange(levels, dtype=torch.float32) / (levels - 1)
        assert DiscretisedLogistic.supported(grid, False, (), levels).all()
        assert not DiscretisedLogistic.supported(grid + 0.01 / (levels - 1), False, (), levels).any()


def test_binomial_draws_invert_the_distribution_function() -> None:
    uniform = torch.rand(2000, generator=torch.Generator().manual_seed(1))
    found = Binomial(torch.tensor(0.4), total_count=30, event=0).sample(uniform)
    assert found.tolist() == stats.binom.ppf(uniform.double().numpy(), 30, special.expit(0.4)).tolist()


@double
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_low_rank_where_the_common_causes_outweigh_the_noise(dtype: torch.dtype) -> None:
    """By 10^4, in which single precision has no digit for the noise beside them in a sum of squares."""
    axes = torch.tensor(stats.ortho_group.rvs(6, random_state=0))
    loc, scale, factor = torch.zeros(6), torch.full((6,), 1e-2), 1e2 * axes[:, :2]
    noise = torch.randn(20, 6, 2, generator=torch.Generator().manual_seed(2))
    value = LowRankNormal(loc, scale, factor).sample(noise).to(dtype)
    deviations = [np.hypot(100, 0.01)] * 2 + [0.01] * 4  # along the axes, coordinates are independent
    expected = stats.norm(0, deviations).logpdf((value.double() @ axes).numpy()).sum(1)
    found = LowRankNormal(*(parameter.to(dtype) for parameter in (loc, scale, factor))).log_prob(value)
    # Rounding the factor turns it by eps, and moves a value of size 100 by 10^4 eps of its noise.
    np.testing.assert_allclose(found.double().numpy(), expected, rtol=0, atol=3e4 * torch.finfo(dtype).eps)
