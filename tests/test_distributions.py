"""The same laws for every family, against independent implementations; the compiler's table against the runtime's classes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from graphvae.compiler.families import FAMILIES
from graphvae.runtime import distributions
from graphvae.runtime.distributions import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    Distribution,
    Normal,
    positive,
)

CATEGORIES = 4


@dataclass(frozen=True)
class Case:
    """One family: how to make parameters of any shape, extreme ones, and an independent implementation."""

    family: type[Distribution]
    parameters: Callable[[tuple[int, ...], torch.Generator], list[Tensor]]
    extremes: list[tuple[float, ...]]
    reference: Callable[..., torch.distributions.Distribution]
    bounds: tuple[float, float] | None = None  # of a density, for quadrature
    simplex: bool = False

    @property
    def name(self) -> str:
        return self.family.__name__

    def event(self, dimensions: int) -> tuple[int, ...]:
        """A small event shape; a simplex has at least its categories."""
        shape = (2, 1, 3)[:dimensions]
        return (*shape[:-1], CATEGORIES) if self.simplex else shape

    def make(self, shape: tuple[int, ...], event: int, seed: int = 0) -> tuple[Distribution, list[Tensor]]:
        parameters = [parameter.requires_grad_() for parameter in self.parameters(shape, generator(seed))]
        return self.family(*parameters, event=event), parameters


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normals(shape: tuple[int, ...], source: torch.Generator) -> list[Tensor]:
    return [torch.randn(shape, generator=source), torch.rand(shape, generator=source) + 0.3]


def logits(shape: tuple[int, ...], source: torch.Generator) -> list[Tensor]:
    return [2 * torch.randn(shape, generator=source)]


HUGE = [-1e6, -200.0, -30.0, -1e-3, 0.0, 1e-3, 30.0, 200.0, 1e6]
CASES = [
    Case(
        Normal,
        normals,
        extremes=[(loc, scale) for loc in (-1e4, 0.0, 1e4) for scale in (1e-6, 1e-2, 1e6)],
        reference=torch.distributions.Normal,
        bounds=(-12.0, 12.0),
    ),
    Case(Bernoulli, logits, [(value,) for value in HUGE], lambda value: torch.distributions.Bernoulli(logits=value)),
    Case(
        ContinuousBernoulli,
        logits,
        [(value,) for value in HUGE],
        lambda value: torch.distributions.ContinuousBernoulli(logits=value, lims=(0.5 - 1e-5, 0.5 + 1e-5)),
        bounds=(0.0, 1.0),
    ),
    Case(
        Categorical,
        logits,
        [(0.0,) * (CATEGORIES - 1) + (value,) for value in HUGE],
        lambda value: torch.distributions.OneHotCategorical(logits=value),
        simplex=True,
    ),
]
BY_NAME = {case.name: case for case in CASES}
every = pytest.mark.parametrize("case", CASES, ids=list(BY_NAME))
double = pytest.mark.usefixtures("float64")


def is_discrete(family: type[Distribution]) -> bool:
    return family.cells is not Distribution.cells


def value_of(case: Case, distribution: Distribution, shape: tuple[int, ...], seed: int = 1) -> Tensor:
    return distribution.sample(case.family.noise(shape, generator(seed), torch.get_default_dtype())).detach()


def events(case: Case) -> list[int]:
    return [1, 2, 3] if case.simplex else [0, 1, 2, 3]


def test_every_family_has_a_case() -> None:
    assert [case.family for case in CASES] == Distribution.__subclasses__()


@every
@double
def test_log_prob_has_the_shape_of_what_broadcasts_without_the_event(case: Case) -> None:
    for dimensions in events(case):
        event = case.event(dimensions)
        distribution, _ = case.make((5, *event), dimensions)
        for batch in ((5,), (7, 5), (3, 1, 5), (1,)):
            assert distribution.log_prob(value_of(case, distribution, (7, 5, *event))).shape == (7, 5)
            wide, _ = case.make((*batch, *event), dimensions)
            expected = torch.broadcast_shapes(batch, (5,))
            assert wide.log_prob(value_of(case, distribution, (5, *event))).shape == expected
            assert wide.mean.shape == (*batch, *event)
        empty, _ = case.make((0, *event), dimensions)
        noise = case.family.noise((2, 0, *event), None, torch.float64)
        assert empty.log_prob(empty.sample(noise)).shape == (2, 0)


@every
@double
def test_log_prob_sums_over_the_event(case: Case) -> None:
    """Independent coordinates: the joint is the product, and parameters that lack an axis are repeated along it."""
    for dimensions in events(case):
        event, least = case.event(dimensions), int(case.simplex)
        distribution, parameters = case.make((5, *event), dimensions)
        value = value_of(case, distribution, (5, *event))
        elements = case.family(*parameters, event=least).log_prob(value)
        torch.testing.assert_close(distribution.log_prob(value), elements.reshape(5, -1).sum(1), rtol=0, atol=1e-12)
        shared, one = case.make(event, dimensions)
        repeated = case.family(*(parameter.expand(5, *event) for parameter in one), event=dimensions)
        torch.testing.assert_close(shared.log_prob(value), repeated.log_prob(value), rtol=0, atol=1e-12)


@every
@double
def test_it_agrees_with_torch(case: Case) -> None:
    """In log-probability, mean, and the gradient of the log-probability."""
    shape = (200, CATEGORIES) if case.simplex else (200,)
    distribution, parameters = case.make(shape, int(case.simplex))
    reference = case.reference(*parameters)
    value = value_of(case, distribution, (3, *shape))
    found, expected = distribution.log_prob(value), reference.log_prob(value)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(distribution.mean, reference.mean, rtol=0, atol=1e-10)
    pairs = zip(*(torch.autograd.grad(total.sum(), parameters) for total in (found, expected)), strict=True)
    assert all((a - b).abs().max() < 1e-9 for a, b in pairs)


@every
@double
def test_probabilities_sum_to_one(case: Case) -> None:
    nodes, weights = np.polynomial.legendre.leggauss(200)
    for seed in range(5):
        distribution, _ = case.make((6, CATEGORIES) if case.simplex else (6,), int(case.simplex), seed)
        if case.bounds is None:
            total = distribution.log_prob(distribution.cells().unsqueeze(1)).exp().sum(0)
        else:
            low, high = case.bounds
            points = torch.tensor((low + high) / 2 + (high - low) / 2 * nodes)
            total = (torch.tensor(weights)[:, None] * (high - low) / 2 * distribution.log_prob(points[:, None]).exp()).sum(0)
        torch.testing.assert_close(total, torch.ones(6), rtol=0, atol=1e-10)


@double
@pytest.mark.parametrize("case", [case for case in CASES if is_discrete(case.family)], ids=lambda case: case.name)
def test_cells_are_every_value_once(case: Case) -> None:
    for dimensions in events(case):
        event = case.event(dimensions)
        distribution, _ = case.make((5, *event), dimensions)
        cells = distribution.cells()
        base, power = (event[-1], math.prod(event[:-1])) if case.simplex else (2, math.prod(event))
        assert cells.shape == (base**power, *event)
        assert len(cells.flatten(1).unique(dim=0)) == base**power if event else sorted(cells.tolist()) == [0.0, 1.0]
        torch.testing.assert_close(distribution.log_prob(cells.unsqueeze(1)).exp().sum(0), torch.ones(5), rtol=0, atol=1e-10)


@every
@double
def test_gradients_reach_every_parameter(case: Case) -> None:
    """Through the log-probability and, of a reparameterised family, through the draw."""
    for dimensions in events(case):
        event = case.event(dimensions)
        distribution, parameters = case.make((5, *event), dimensions)
        totals = [distribution.log_prob(value_of(case, distribution, (40, 5, *event))).sum()]
        if not is_discrete(case.family):
            noise = case.family.noise((40, 5, *event), generator(2), torch.float64)
            totals.append(distribution.sample(noise).square().sum())
        for total in totals:
            for gradient in torch.autograd.grad(total, parameters, retain_graph=True):
                assert gradient.isfinite().all()
                assert (gradient != 0).all()


@double
@pytest.mark.parametrize("case", [case for case in CASES if not is_discrete(case.family)], ids=lambda case: case.name)
def test_draws_have_the_implicit_gradient(case: Case) -> None:
    """d value / d parameter at fixed noise is -(dF / d parameter) / density, with torch's F; over parameters near zero too."""
    noise = torch.linspace(0.05, 0.95, 19) if case.family is not Normal else torch.linspace(-2, 2, 19)
    step = 1e-4
    for near in (-3.0, -0.06, -0.04, 0.0, 0.01, 0.04, 0.06, 3.0):
        parameters = [torch.full((19,), near), torch.full((19,), 0.7)][: len(case.family.parameters)]
        tracked = [parameter.clone().requires_grad_() for parameter in parameters]
        value = case.family(*tracked, event=0).sample(noise)
        found = torch.autograd.grad(value.sum(), tracked)
        density = case.reference(*parameters).log_prob(value.detach()).exp()
        for index, gradient in enumerate(found):
            ends = [[p + sign * step * (i == index) for i, p in enumerate(parameters)] for sign in (1, -1)]
            above, below = (case.reference(*end).cdf(value.detach()) for end in ends)
            torch.testing.assert_close(gradient, -(above - below) / (2 * step) / density, rtol=0, atol=1e-6)


CHI_SQUARED = 60.0  # 20 degrees of freedom exceed it once in 170,000 times


@every
@double
def test_moments_of_draws(case: Case) -> None:
    """Mean and variance over 40,000 draws for each of 12 parameters, within 4 standard errors."""
    shape = (12, CATEGORIES) if case.simplex else (12,)
    distribution, parameters = case.make(shape, int(case.simplex))
    draws = value_of(case, distribution, (40_000, *shape))
    reference = case.reference(*(parameter.detach() for parameter in parameters))
    standard_error = (reference.variance / len(draws)).sqrt()
    assert ((draws.mean(0) - distribution.mean).abs() < 4 * standard_error + 1e-12).all()
    squares = (draws - reference.mean).square()
    assert ((squares.mean(0) - reference.variance).abs() < 4 * squares.std(0) / len(draws) ** 0.5 + 1e-12).all()


@every
@double
def test_draws_follow_the_distribution(case: Case) -> None:
    """A chi-squared test of the shares of draws in cells, or between the reference's quantiles."""
    count = 40_000
    shape = (CATEGORIES,) if case.simplex else ()
    distribution, parameters = case.make(shape, len(shape), seed=3)
    draws = value_of(case, distribution, (count, *shape))
    if is_discrete(case.family):
        cells = distribution.cells()
        expected = count * distribution.log_prob(cells).exp().detach()
        found = torch.stack([(draws.reshape(count, -1) == cell.reshape(-1)).all(1).sum() for cell in cells])
    else:
        uniform = case.reference(*parameters).cdf(draws).detach()
        expected, found = torch.full((20,), count / 20), torch.histc(uniform, 20, 0, 1)
    assert found.sum() == count
    assert ((found - expected) ** 2 / expected).sum() < CHI_SQUARED


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_parameters_give_no_nan(case: Case, dtype: torch.dtype) -> None:
    """Neither in log-probability, draw and mean nor in their gradients, at any value of the support."""
    for extreme in case.extremes:
        numbers = [extreme] if case.simplex else extreme
        parameters = [torch.tensor(number, dtype=dtype, requires_grad=True) for number in numbers]
        event = int(case.simplex)
        noise = noises(case, dtype)
        values = [case.family(*parameters, event=event).sample(noise).detach(), *corners(case, parameters, event, dtype)]
        for value in values:
            assert value.isfinite().all()
            check_finite(case.family(*parameters, event=event).log_prob(value), parameters)
        check_finite(case.family(*parameters, event=event).mean, parameters)
        if not is_discrete(case.family):
            check_finite(case.family(*parameters, event=event).sample(noise), parameters)


def noises(case: Case, dtype: torch.dtype) -> Tensor:
    """Noise with its own extremes."""
    tiny, last = torch.finfo(dtype).tiny, 1 - torch.finfo(dtype).eps / 2
    ends = [-6.0, 0.0, 6.0] if case.family is Normal else [tiny, 0.5, last]
    cells = list(product(ends, repeat=CATEGORIES)) if case.simplex else ends
    return torch.tensor(cells, dtype=dtype)


def corners(case: Case, parameters: list[Tensor], event: int, dtype: torch.dtype) -> list[Tensor]:
    """Every cell of a discrete family; the ends and the middle of the support of a density."""
    if is_discrete(case.family):
        return list(case.family(*parameters, event=event).cells().detach())
    low, high = case.bounds or (0.0, 1.0)
    return [torch.tensor(value, dtype=dtype) for value in (low, (low + high) / 2, high)]


def check_finite(result: Tensor, parameters: list[Tensor]) -> None:
    assert result.isfinite().all()
    for gradient in torch.autograd.grad(result.sum(), parameters, allow_unused=True):
        assert gradient is None or gradient.isfinite().all()


@double
@pytest.mark.parametrize(
    "logit", [-1e4, -300.0, -20.0, -1.0, -0.06, -0.04, -1e-6, 0.0, 1e-6, 0.04, 0.06, 1.0, 20.0, 300.0, 1e4]
)
def test_continuous_bernoulli_at_any_logits(logit: float) -> None:
    """exp(logit x) truncated to [0, 1]: an exponential cut off, for which scipy has density, distribution and mean."""
    distribution = ContinuousBernoulli(torch.tensor(logit), event=0)
    noise = torch.linspace(0.01, 0.99, 50)
    if logit == 0:
        expected, quantiles, mean = stats.uniform.logpdf(noise), noise.numpy(), 0.5
    else:  # the mirror image of a rising one falls
        cut = stats.truncexpon(b=abs(logit), scale=1 / abs(logit))
        mirror = (lambda x: 1 - x) if logit > 0 else (lambda x: x)
        expected, quantiles = cut.logpdf(mirror(noise.numpy())), mirror(cut.ppf(mirror(noise.numpy())))
        mean = mirror(1 / abs(logit) - 1 / math.expm1(abs(logit)) if abs(logit) < 700 else 1 / abs(logit))
    np.testing.assert_allclose(distribution.log_prob(noise), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(distribution.sample(noise), quantiles, rtol=0, atol=1e-9)
    assert distribution.mean.item() == pytest.approx(mean, rel=0, abs=1e-9)


@double
def test_bernoulli_is_exact_where_it_is_certain() -> None:
    """log sigmoid(30) is -9.4e-14, and not 0."""
    value = Bernoulli(torch.tensor(30.0), event=0).log_prob(torch.tensor(1.0)).item()
    assert value == pytest.approx(-math.log1p(math.exp(-30.0)), rel=0, abs=5e-15)
    assert Bernoulli(torch.tensor(-22.0), event=0).log_prob(torch.tensor(0.0)).item() == pytest.approx(-2.789e-10, rel=1e-3)


@double
def test_a_soft_bernoulli_is_a_cross_entropy() -> None:
    distribution, value = Bernoulli(torch.tensor([0.3, -2.0]), event=1), torch.tensor([0.25, 0.8])
    expected = -torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor([0.3, -2.0]), value, reduction="sum")
    torch.testing.assert_close(distribution.log_prob(value), expected, rtol=0, atol=1e-12)


@double
def test_a_category_of_probability_zero() -> None:
    """-inf is a logit: never drawn, scored -inf where it is the value and nothing where it is not."""
    parameter = torch.tensor([0.0, -torch.inf, 1.0], requires_grad=True)
    distribution = Categorical(parameter)
    assert distribution.log_prob(torch.eye(3)).exp().tolist() == pytest.approx([0.26894142, 0.0, 0.73105858])
    drawn = distribution.sample(Categorical.noise((1000, 3), generator(0), torch.float64))
    assert drawn[:, 1].sum() == 0
    gradient = torch.autograd.grad(distribution.log_prob(torch.eye(3)[[0, 2]]).sum(), parameter)[0]
    assert gradient.isfinite().all()


@every
@double
def test_noise_repeats_by_its_generator_and_never_touches_the_ends(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    first, again = (case.family.noise((50, 3), generator(7), torch.float32) for _ in range(2))
    assert torch.equal(first, again)
    assert first.dtype == torch.float32
    assert not torch.equal(first, case.family.noise((50, 3), generator(8), torch.float32))
    if case.family is not Normal:
        monkeypatch.setattr(torch, "rand", lambda shape, **options: torch.zeros(shape, dtype=options["dtype"]))
        assert (case.family.noise((3,), None, torch.float32) > 0).all()


DATA = {  # as data holds values, with one that is missing; and the event shape
    Normal: (torch.tensor([[0.5, -2.0], [torch.nan, 1.0]]), (2,)),
    Bernoulli: (torch.tensor([[0.0, 1.0], [torch.nan, 1.0]]), (2,)),
    ContinuousBernoulli: (torch.tensor([[0.0, 0.7], [torch.nan, 1.0]]), (2,)),
    Categorical: (torch.tensor([[0, 3], [-1, 2]]), (2, CATEGORIES)),
}


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_encode_and_decode_return_the_data(case: Case, dtype: torch.dtype) -> None:
    data, event = DATA[case.family]
    encoded = case.family.encode(data, event, dtype)
    assert encoded.dtype == dtype
    assert encoded.shape == (2, *event)
    assert encoded[1, 0].isnan().all()
    assert torch.equal(case.family.decode(encoded)[0], data[0].to(case.family.decode(encoded).dtype))
    assert torch.equal(case.family.decode(encoded)[1, 1], data[1, 1].to(case.family.decode(encoded).dtype))
    distribution, _ = case.make((5, *event), len(event))
    drawn = value_of(case, distribution, (5, *event))
    again = case.family.encode(case.family.decode(drawn), event, drawn.dtype)
    assert torch.equal(again, drawn)


SUPPORTED: dict[type[Distribution], tuple[list[float], list[float]]] = {  # inside, outside
    Normal: ([-3.0, 0.0, 1e9, math.nan], [math.inf, -math.inf]),
    Bernoulli: ([0.0, 1.0, math.nan], [0.5, -1.0, 2.0]),
    ContinuousBernoulli: ([0.0, 0.3, 1.0, math.nan], [-0.1, 1.1]),
    Categorical: ([-1.0, 0.0, 3.0], [0.5, 4.0, -2.0]),
}


@every
def test_the_support_is_checked_elementwise(case: Case) -> None:
    inside, outside = (torch.tensor(values) for values in SUPPORTED[case.family])
    event = (CATEGORIES,) if case.simplex else ()
    assert case.family.supported(inside, False, event).tolist() == [True] * len(inside)
    assert case.family.supported(outside, False, event).tolist() == [False] * len(outside)


def test_soft_data_lie_between_the_ends() -> None:
    assert Bernoulli.supported(torch.tensor([0.0, 0.4, 1.0, math.nan, 1.1]), True, ()).tolist() == [True] * 4 + [False]


def test_positive_is_softplus_above_its_floor() -> None:
    raw = torch.tensor([-200.0, -1.0, 0.0, 3.0, 50.0], dtype=torch.float64)
    expected = [math.log1p(math.exp(value)) + 0.01 for value in raw.tolist()]
    assert positive(raw, floor=0.01).tolist() == pytest.approx(expected, rel=1e-12)
    assert (positive(torch.full((1,), -1e4)) > 0).all()


# The compiler's table.


@pytest.mark.parametrize("row", FAMILIES.values(), ids=FAMILIES)
def test_the_compilers_table_agrees_with_the_class(row: Any) -> None:
    family = getattr(distributions, row.distribution)
    names = tuple(parameter.name for parameter in row.parameters)
    positional = list(inspect.signature(family).parameters)
    assert issubclass(family, Distribution)
    assert family.parameters == names == tuple(positional[: len(names)])
    assert family.support == row.support
    assert is_discrete(family) == row.discrete == ("enumerate" in row.gradients)
    assert row.simplex == BY_NAME[row.distribution].simplex
    assert ("soft" in row.options) == differs_when_soft(family)
    assert all(spelled.name in positional and head in names for spelled, head in row.spellings)
    assert positional[-1] == "event"
    assert inspect.signature(family).parameters["event"].default == 1


def differs_when_soft(family: type[Distribution]) -> bool:
    value, event = torch.tensor([0.5]), (CATEGORIES,)
    return bool((family.supported(value, True, event) != family.supported(value, False, event)).any())


def test_the_compiler_knows_every_class_once() -> None:
    assert sorted(row.distribution for row in FAMILIES.values()) == sorted(BY_NAME)


@double
@pytest.mark.parametrize("row", [row for row in FAMILIES.values() if row.discrete], ids=lambda row: row.name)
def test_the_compiler_counts_the_cells(row: Any) -> None:
    case = BY_NAME[row.distribution]
    for dimensions in events(case):
        event = case.event(dimensions)
        base, power = row.cells(event)
        assert base**power == len(case.make((5, *event), dimensions)[0].cells())


@double
@pytest.mark.parametrize("row", FAMILIES.values(), ids=FAMILIES)
def test_a_spelling_is_another_name_of_the_parameter(row: Any) -> None:
    """And a parameter's link, floor and interval are those of the class: a positive head lies in the open interval."""
    family, shape = getattr(distributions, row.distribution), (3, CATEGORIES)
    for spelled, head in row.spellings:
        assert head == "logits"
        number = torch.tensor(0.2)
        value = value_of(BY_NAME[row.distribution], family(torch.logit(number).expand(shape)), shape)
        expected = family(**{head: torch.logit(number)}).log_prob(value)
        torch.testing.assert_close(family(**{spelled.name: number}).log_prob(value), expected)
        assert (spelled.low, spelled.high) == (0.0, 1.0)
    for parameter in row.parameters:
        assert (parameter.link == "positive") == (parameter.low == 0.0)
        assert parameter.low < parameter.standard < parameter.high


def test_a_missing_label_of_a_switch_may_be_minus_one() -> None:
    encoded = Bernoulli.encode(torch.tensor([0, 1, -1]), (), torch.float32)
    assert encoded[:2].tolist() == [0, 1]
    assert encoded[2].isnan()
