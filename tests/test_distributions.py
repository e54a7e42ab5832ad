"""The same laws for every family, against independent implementations; the compiler's table against the runtime's classes."""

from __future__ import annotations

import inspect
import io
import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import family_cases
import family_cases_continuous
import family_cases_discrete
import numpy as np
import pytest
import torch
from family_cases import CATEGORIES, Case, generator
from family_integrals import expectation, half_line, interval, lattice, slopes
from scipy import stats
from torch import Tensor, nn

from graphvae import runtime
from graphvae.compiler.families import FAMILIES
from graphvae.runtime.continuous import Cauchy, Gamma, StudentT, VonMises
from graphvae.runtime.distributions import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    Distribution,
    Relaxable,
    positive,
)

CASES = [*family_cases.CASES, *family_cases_continuous.CASES, *family_cases_discrete.CASES]
BY_NAME = {case.name: case for case in CASES}
double = pytest.mark.usefixtures("float64")
precisions = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def each(condition: Callable[[Case], bool]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [case for case in CASES if condition(case)], ids=lambda case: case.name)


every = each(lambda case: True)


def value_of(case: Case, distribution: Distribution, shape: tuple[int, ...], seed: int = 1) -> Tensor:
    return distribution.sample(noise_of(case, shape, seed)).detach()


def noise_of(case: Case, shape: tuple[int, ...], seed: int = 1, dtype: torch.dtype | None = None) -> Tensor:
    return case.family.noise(shape, generator(seed), dtype or torch.get_default_dtype())


def events(case: Case) -> list[int]:
    return [1, 2, 3] if case.joint else [0, 1, 2, 3]


def element(case: Case, length: int = CATEGORIES) -> tuple[int, ...]:
    """The shape of one element; vectors may be given another length."""
    return (length,) * case.joint


def settings(case: Case, length: int = CATEGORIES, seeds: int = 2) -> Iterator[list[Tensor]]:
    """Parameters of one element: some mild ones, then the case's further ones, which have the common length."""
    yield from (case.parameters(element(case, length), generator(seed)) for seed in range(seeds))
    yield from (list(map(torch.tensor, numbers)) for numbers in case.further if length == CATEGORIES or not case.joint)


def tracked(parameters: Sequence[Tensor], shape: tuple[int, ...] = ()) -> list[Tensor]:
    """Copies that take gradients, repeated along the axes of `shape`."""
    return [parameter.detach().expand((*shape, *parameter.shape)).clone().requires_grad_() for parameter in parameters]


def check_mean(draws: Tensor, expected: Tensor | float) -> None:
    """The mean over draws [draw, ...] is what is expected, within 4 standard errors."""
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - expected).abs() <= 4 * error + 1e-9).all()


def check_shares(found: Tensor, expected: Tensor) -> None:
    """Counts follow the expected counts by the chi-squared test, once those below 5 are put together."""
    assert found.sum().item() == pytest.approx(expected.sum().item(), rel=1e-6)
    rare = expected < 5
    found = torch.cat([found[~rare], found[rare].sum(0, keepdim=True)]).double()
    expected = torch.cat([expected[~rare], expected[rare].sum(0, keepdim=True)]).detach()
    distance = ((found - expected).square() / expected.clamp_min(1e-6)).sum().item()
    assert stats.chi2.sf(distance, len(expected) - 1) > 1e-5


def test_every_family_has_a_case() -> None:
    assert sorted(BY_NAME) == sorted(row.distribution for row in FAMILIES.values())


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
            value = wide.sample(noise_of(case, (5, *event)))
            assert value.shape == (*expected, *event)
            assert wide.log_prob(value).shape == expected
            assert wide.mean.shape == (*batch, *event)
        empty, _ = case.make((0, *event), dimensions)
        noise = case.family.noise((2, 0, *event), None, torch.float64)
        assert empty.log_prob(empty.sample(noise)).shape == (2, 0)


@every
@double
def test_log_prob_sums_over_the_event(case: Case) -> None:
    """Independent elements: the joint is the product, and parameters that lack an axis are repeated along it."""
    for dimensions in events(case):
        event = case.event(dimensions)
        distribution, parameters = case.make((5, *event), dimensions)
        value = value_of(case, distribution, (5, *event))
        elements = case.build(parameters).log_prob(value)
        assert elements.shape == distribution.log_density(value).shape == (5, *event[: dimensions - case.joint])
        torch.testing.assert_close(distribution.log_density(value), elements, rtol=0, atol=1e-12)
        torch.testing.assert_close(distribution.log_prob(value), elements.reshape(5, -1).sum(1), rtol=0, atol=1e-12)
        shared, one = case.make(event, dimensions)
        repeated = case.build([parameter.expand(5, *parameter.shape) for parameter in one], dimensions)
        torch.testing.assert_close(shared.log_prob(value), repeated.log_prob(value), rtol=0, atol=1e-12)


@every
@double
def test_it_agrees_with_its_reference(case: Case) -> None:
    """In log-probability, also of draws from elsewhere, and mean; a mean that does not exist is the median."""
    distribution, parameters = case.make((200, *element(case)))
    elsewhere, _ = case.make((200, *element(case)), seed=1)
    value, reference = value_of(case, elsewhere, (3, 200, *element(case))), case.reference(*parameters)
    torch.testing.assert_close(distribution.log_prob(value), reference.log_prob(value), rtol=1e-10, atol=1e-10)
    for parameters in settings(case):
        distribution, reference = case.build(parameters), case.reference(*parameters)
        value, mean = value_of(case, distribution, (50, *element(case))), distribution.mean
        torch.testing.assert_close(distribution.log_prob(value), reference.log_prob(value), rtol=1e-10, atol=1e-10)
        if reference.mean.isfinite().all():
            torch.testing.assert_close(mean, reference.mean, rtol=1e-10, atol=1e-10)
        else:
            torch.testing.assert_close(reference.cdf(mean), torch.tensor(0.5), rtol=0, atol=1e-10)


@every
@double
def test_the_gradient_of_the_log_probability_is_that_of_the_reference(case: Case) -> None:
    distribution, parameters = case.make((3, *element(case)))
    value = value_of(case, distribution, (5, 3, *element(case)))
    found = torch.autograd.grad(distribution.log_prob(value).sum(), parameters)
    expected = slopes(lambda *near: case.reference(*near).log_prob(value).sum(), parameters)
    for gradient, (direction, slope) in zip(found, expected, strict=True):
        torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-7, atol=1e-7)


@every
@double
def test_probabilities_sum_to_one(case: Case) -> None:
    """Over all cells, over counts far beyond any draw, or by quadrature: of vectors, those with two coordinates."""
    length = CATEGORIES if case.discrete else 2
    for seed in range(3):
        distribution, parameters = case.make(element(case, length), seed=seed)
        values, weights = lattice(case, parameters)
        total = (weights * distribution.log_prob(values).exp()).sum().item()
        assert total == pytest.approx(1, rel=0, abs=1e-10)


@each(lambda case: case.finite)
@double
def test_cells_are_every_value_once(case: Case) -> None:
    """As many as the compiler counts."""
    for dimensions in events(case):
        event = case.event(dimensions)[-2:] if case.number > 3 else case.event(dimensions)
        distribution, _ = case.make((5, *event), len(event))
        cells = distribution.cells()
        base, power = case.row.cells(event, case.number)
        assert cells.shape == (base**power, *event)
        assert len(cells.reshape(len(cells), -1).unique(dim=0)) == base**power
        torch.testing.assert_close(distribution.log_prob(cells.unsqueeze(1)).exp().sum(0), torch.ones(5), rtol=0, atol=1e-10)


@every
@double
def test_gradients_reach_every_parameter(case: Case) -> None:
    """Through the log-probability and a reparameterised draw; of a square parameter, what is below the diagonal."""
    for dimensions in events(case):
        event = case.event(dimensions)
        distribution, parameters = case.make((5, *event), dimensions)
        totals = [distribution.log_prob(value_of(case, distribution, (41, 5, *event))).sum()]
        if not case.discrete:
            totals.append(distribution.sample(noise_of(case, (41, 5, *event), 2)).square().sum())
        for total in totals:
            found = torch.autograd.grad(total, parameters, retain_graph=True)
            for gradient, parameter in zip(found, case.row.parameters, strict=True):
                assert gradient.isfinite().all()
                used = torch.ones_like(gradient, dtype=torch.bool)
                assert torch.equal(gradient != 0, used.tril(-1) if parameter.layout == "square" else used)


# Draws.


@each(lambda case: not case.discrete and not case.joint and not case.row.implicit)
@double
def test_draws_have_the_gradient_of_the_inverse_distribution_function(case: Case) -> None:
    """At fixed noise -(dF / d parameter) / density, with the reference's F, which gives uniform noise back."""
    for parameters in settings(case):
        repeated, noise = tracked(parameters, (20,)), noise_of(case, (20,))
        value = case.build(repeated).sample(noise)
        if not (noise < 0).any():
            torch.testing.assert_close(case.reference(*parameters).cdf(value.detach()), noise, rtol=0, atol=1e-9)
        found = torch.autograd.grad(value.sum(), repeated)
        check_implicit(case, parameters, value.detach(), found, atol=1e-6)


def check_implicit(case: Case, parameters: list[Tensor], value: Tensor, found: Sequence[Tensor], atol: float) -> None:
    density = case.reference(*parameters).log_prob(value).exp()
    for place, point in enumerate(value):
        expected = slopes(lambda *near, point=point: case.reference(*near).cdf(point), parameters, 1e-4)
        for gradient, (direction, slope) in zip(found, expected, strict=True):
            along = -slope / density[place] / direction
            assert gradient[place].item() == pytest.approx(along.item(), rel=1e-5, abs=atol)


def measure(case: Case, values: Tensor) -> Tensor:
    """A smooth function of elements [..., element] that is bounded, and has the period of an angle."""
    if case.joint:
        values = values @ torch.tensor([1.0, -0.5])
    return values.sin() if case.family.support == "angle" else values.tanh()


@each(lambda case: not case.discrete)
@double
def test_the_pathwise_gradient_is_the_derivative_of_an_expectation(case: Case) -> None:
    """E[h(draw)] and its derivative in every parameter by 20,000 draws, against quadrature over the reference."""
    for parameters in settings(case, length=2):
        repeated = tracked(parameters, (20_000,))
        measured = measure(case, case.build(repeated).sample(noise_of(case, (20_000, *element(case, 2)))))
        found = torch.autograd.grad(measured.sum(), repeated)

        def expected(*near: Tensor) -> Tensor:
            return expectation(case, near, lambda values: measure(case, values))

        check_mean(measured.detach(), expected(*parameters))
        check_gradients(found, expected, parameters)


def check_gradients(found: Sequence[Tensor], expected: Callable[..., Tensor], parameters: Sequence[Tensor]) -> None:
    """Gradients [draw, ...] of repeated parameters are on average the derivative of what is expected."""
    for gradient, (direction, slope) in zip(found, slopes(expected, parameters), strict=True):
        check_mean((gradient * direction).reshape(len(gradient), -1).sum(1), slope)


@each(lambda case: case.family not in (Cauchy, VonMises))
@double
def test_moments_of_draws(case: Case) -> None:
    """Mean and variance over 40,000 draws; a Cauchy variable has neither, and an angle has others."""
    distribution, parameters = case.make((4, *element(case)))
    reference = case.reference(*(parameter.detach() for parameter in parameters))
    draws = value_of(case, distribution, (40_000, 4, *element(case)))
    standard_error = (reference.variance / len(draws)).sqrt()
    assert ((draws.mean(0) - reference.mean).abs() < 4 * standard_error + 1e-12).all()
    check_mean((draws - reference.mean).square(), reference.variance)


@every
@double
@precisions
def test_draws_follow_the_distribution(case: Case, dtype: torch.dtype) -> None:
    """A chi-squared test of values, or of numbers between quantiles of the reference: of a vector, its first number."""
    count = 40_000
    for parameters in settings(case):
        distribution = case.build([parameter.to(dtype) for parameter in parameters])
        draws = distribution.sample(noise_of(case, (count, *element(case)), dtype=dtype)).double()
        if case.discrete:
            values, _ = lattice(case, parameters)
            expected = count * case.reference(*parameters).log_prob(values).exp()
            found = (draws if case.finite and case.joint else draws.unsqueeze(-1)).reshape(count, -1)
            places = torch.cdist(found, values.reshape(len(values), -1)).argmin(1)
            assert torch.equal(values[places], draws)
            check_shares(torch.bincount(places, minlength=len(values)), expected)
        elif case.marginal or not case.joint:
            reference = case.marginal(*parameters) if case.marginal else case.reference(*parameters)
            uniform = reference.cdf(draws[..., 0] if case.joint else draws)
            check_shares(torch.histc(uniform, 20, 0, 1), torch.full((20,), count / 20))


@double
def test_a_gamma_draw_has_the_implicit_gradient() -> None:
    """Where nothing is boosted, the draw is one at concentration + 1, and torch's series for it is good to a few in 10^4."""
    case = BY_NAME["Gamma"]
    for number in (0.01, 0.7, 3.0, 30.0, 1000.0):
        noise = noise_of(case, (50,))
        noise[:, -1] = 1.0
        concentration = torch.full((50,), number, requires_grad=True)
        value = Gamma(concentration, 1.0, event=0).sample(noise)
        found = torch.autograd.grad(value.sum(), concentration)[0]
        near = [stats.gamma(number + 1 + steps * 1e-4).cdf(value.detach().numpy()) for steps in (1, -1)]
        expected = -(near[0] - near[1]) / 2e-4 / stats.gamma(number + 1).pdf(value.detach().numpy())
        np.testing.assert_allclose(found, expected, rtol=2e-3)


@double
def test_a_von_mises_draw_has_the_implicit_gradient() -> None:
    """By scipy's F as long as that is a series, and beyond as of a normal draw."""
    case = BY_NAME["VonMises"]
    for concentration in (1e-2, 0.5, 3.0, 12.0, 45.0):
        parameters = [torch.tensor(0.0), torch.tensor(concentration)]
        repeated = tracked(parameters, (50,))
        value = VonMises(*repeated, event=0).sample(noise_of(case, (50,)))
        check_implicit(case, parameters, value.detach(), torch.autograd.grad(value.sum(), repeated), atol=1e-7)
    large = torch.full((50,), 1e6, requires_grad=True)
    value = VonMises(0.0, large, event=0).sample(noise_of(case, (50,)))
    torch.testing.assert_close(torch.autograd.grad(value.sum(), large)[0], -value.detach() / 2e6, rtol=1e-4, atol=0)


# Extremes.


@every
@precisions
def test_extreme_parameters_give_no_nan(case: Case, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in log-probability, draw and mean nor in their gradients, at draws of extreme noise and values of the support."""
    noise = extreme_noise(case, dtype, monkeypatch)
    for extreme in case.extremes:
        parameters = [torch.tensor(numbers, dtype=dtype, requires_grad=True) for numbers in extreme]
        draws = case.build(parameters).sample(noise)
        assert case.simplex or case.family.supported(draws.double(), False, element(case), case.number).all()
        assert case.family.support != "positive" or (draws >= torch.finfo(dtype).tiny).all()
        cells = case.build(parameters).cells().detach() if case.finite else torch.tensor(case.values, dtype=dtype)
        for values in (draws.detach(), cells):
            check_finite(case.build(parameters).log_prob(values), parameters)
        check_finite(case.build(parameters).mean, parameters)
        if not case.discrete:
            check_finite(draws, parameters)


def extreme_noise(case: Case, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Noise in which every number is at an end of what its generator gives, or in the middle."""
    source = generator(0)

    def choose(*numbers: float) -> Callable[..., Tensor]:
        return lambda shape, dtype, **_: torch.tensor(numbers, dtype=dtype)[torch.randint(3, shape, generator=source)]

    with monkeypatch.context() as patched:
        patched.setattr(torch, "rand", choose(0.0, 0.5, 1 - torch.finfo(dtype).eps / 2))
        patched.setattr(torch, "randn", choose(-6.0, 0.0, 6.0))
        return case.family.noise((300, *element(case)), None, dtype)


def check_finite(result: Tensor, parameters: list[Tensor]) -> None:
    assert result.isfinite().all()
    if result.requires_grad and result.numel():
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


@double
def test_many_degrees_of_freedom_are_nearly_normal() -> None:
    """To (z^4 - 2 z^2 - 1) / (4 df); in single precision too, where a difference of values of log Gamma has no digits left."""
    value = torch.linspace(-5, 5, 21)
    expected = stats.norm.logpdf(value.numpy()) + (value.pow(4) - 2 * value.square() - 1).numpy() / 4e6
    for dtype, atol in ((torch.float64, 1e-8), (torch.float32, 5e-6)):
        parameters = [torch.tensor(number, dtype=dtype) for number in (1e6, 0.0, 1.0)]
        np.testing.assert_allclose(StudentT(*parameters, event=0).log_prob(value.to(dtype)), expected, rtol=0, atol=atol)


@each(lambda case: not case.row.tensors)
def test_numbers_as_parameters_are_tensors_of_any_precision(case: Case) -> None:
    """They make nothing wider than noise and value are."""
    numbers = [parameter.standard for parameter in case.row.parameters]
    noise = noise_of(case, (20,), dtype=torch.float32)
    plain, single = case.build(numbers), case.build([torch.tensor(number) for number in numbers])
    value = plain.sample(noise)
    assert value.dtype == plain.log_prob(value).dtype == torch.float32
    torch.testing.assert_close(value, single.sample(noise), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(plain.log_prob(value), single.log_prob(value), rtol=1e-5, atol=1e-5)


# Noise and data.


@every
@double
def test_noise_repeats_by_its_generator_and_never_touches_the_ends(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (50, 3, *element(case))
    first, again = (noise_of(case, shape, 7, torch.float32) for _ in range(2))
    assert torch.equal(first, again)
    assert first.dtype == torch.float32
    assert first.shape[:2] == (50, 3)
    assert not torch.equal(first, noise_of(case, shape, 8, torch.float32))
    monkeypatch.setattr(torch, "rand", lambda shape, **options: torch.zeros(shape, dtype=options["dtype"]))
    monkeypatch.setattr(torch, "randn", lambda shape, **options: torch.ones(shape, dtype=options["dtype"]))
    assert (case.family.noise(shape, None, torch.float32) > 0).all()


@every
@precisions
def test_encode_and_decode_return_the_data(case: Case, dtype: torch.dtype) -> None:
    event = (2, *element(case))
    encoded = case.family.encode(case.data, event, dtype)
    assert encoded.dtype == dtype
    assert encoded.shape == (2, *event)
    assert encoded[1, 0].isnan().all()
    decoded = case.family.decode(encoded)
    assert torch.equal(decoded[0], case.data[0].to(decoded.dtype))
    assert torch.equal(decoded[1, 1], case.data[1, 1].to(decoded.dtype))
    distribution, _ = case.make((5, *event), len(event))
    drawn = value_of(case, distribution, (5, *event))
    assert torch.equal(case.family.encode(case.family.decode(drawn), event, drawn.dtype), drawn)


@every
def test_the_support_is_checked_by_element(case: Case) -> None:
    """Of data; every draw lies inside."""
    for elements, lies in ((case.inside, True), (case.outside, False)):
        found = case.family.supported(torch.tensor(elements), False, element(case), case.number)
        assert found.reshape(len(elements), -1).all(1).tolist() == [lies] * len(elements)
    distribution, _ = case.make((100, *element(case)))
    drawn = case.family.decode(value_of(case, distribution, (100, *element(case))))
    assert case.family.supported(drawn, False, element(case), case.number).all()


@every
@double
def test_what_stands_where_a_cell_is_missing_has_a_score(case: Case) -> None:
    """And a gradient; a number lies in the support."""
    distribution, parameters = case.make(element(case))
    inside = torch.full(element(case), case.family.inside)
    check_finite(distribution.log_prob(inside), parameters)
    assert case.joint or case.family.supported(inside, False, (), case.number)


@every
@double
def test_saved_parameters_give_the_same_score(case: Case) -> None:
    """Through the state of a module, and with the distribution itself."""
    distribution, parameters = case.make((3, *element(case)))
    value = value_of(case, distribution, (3, *element(case)))
    expected = distribution.log_prob(value)
    module, other = (nn.ParameterList(case.parameters((3, *element(case)), generator(seed))) for seed in (0, 1))
    stream = io.BytesIO()
    torch.save(module.state_dict(), stream)
    stream.seek(0)
    other.load_state_dict(torch.load(stream))
    assert torch.equal(case.build(list(other)).log_prob(value), expected)
    detached = case.build([parameter.detach() for parameter in parameters])
    assert torch.equal(pickle.loads(pickle.dumps(detached)).log_prob(value), expected)


def test_soft_data_lie_between_the_ends() -> None:
    assert Bernoulli.supported(torch.tensor([0.0, 0.4, 1.0, math.nan, 1.1]), True, (), 0).tolist() == [True] * 4 + [False]


def test_a_missing_label_of_a_switch_may_be_minus_one() -> None:
    encoded = Bernoulli.encode(torch.tensor([0, 1, -1]), (), torch.float32)
    assert encoded[:2].tolist() == [0, 1]
    assert encoded[2].isnan()


def test_positive_is_softplus_above_its_floor() -> None:
    raw = torch.tensor([-200.0, -1.0, 0.0, 3.0, 50.0], dtype=torch.float64)
    expected = [math.log1p(math.exp(value)) + 0.01 for value in raw.tolist()]
    assert positive(raw, floor=0.01).tolist() == pytest.approx(expected, rel=1e-12)
    assert (positive(torch.full((1,), -1e4)) > 0).all()


# Closed forms.


def pairs() -> list[Any]:
    """Every family of q with every family of p against which the table says that there is a closed form."""
    named = [(case, BY_NAME[FAMILIES[other].distribution]) for case in CASES for other in case.row.closed_kl]
    return [pytest.param(q, p, id=f"{q.name}-{p.name}") for q, p in named]


@double
@pytest.mark.parametrize(("q", "p"), pairs())
def test_the_closed_divergence_is_the_expected_log_ratio(q: Case, p: Case) -> None:
    """By element, against enumeration, summation or quadrature over the references; with its gradient."""
    length = CATEGORIES if q.discrete else 2
    for seed in range(3):
        posterior, prior = (case.parameters(element(case, length), generator(s)) for case, s in ((q, seed), (p, seed + 10)))
        count = len(posterior)

        def expected(*near: Tensor, count: int = count) -> Tensor:
            ours, theirs = q.reference(*near[:count]), p.reference(*near[count:])
            kinks = [] if q.joint else [p.build(near[count:]).mean.item()]
            return expectation(q, near[:count], lambda values: ours.log_prob(values) - theirs.log_prob(values), kinks)

        parameters = tracked([*posterior, *prior])
        found = q.build(parameters[:count]).kl(p.build(parameters[count:]))
        assert found.item() == pytest.approx(expected(*posterior, *prior).item(), rel=1e-8, abs=1e-9)
        gradients = torch.autograd.grad(found, parameters)
        for gradient, (direction, slope) in zip(gradients, slopes(expected, parameters), strict=True):
            torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-6, atol=1e-8)


@double
@pytest.mark.parametrize(("q", "p"), pairs())
def test_the_closed_divergence_is_by_element(q: Case, p: Case) -> None:
    """And broadcasts, as log-densities do."""
    event = q.event(2)
    (posterior, ours), (prior, theirs) = q.make((7, 5, *event), 2), p.make((5, *event), 2, seed=1)
    found = posterior.kl(prior)
    assert found.shape == (7, 5, *event[: 2 - q.joint])
    one = q.build([parameter[3, 2, 1] for parameter in ours]).kl(p.build([parameter[2, 1] for parameter in theirs]))
    torch.testing.assert_close(found[3, 2, 1], one, rtol=0, atol=1e-12)


# Relaxations.


relaxed = each(lambda case: issubclass(case.family, Relaxable))
temperatures = pytest.mark.parametrize("temperature", [0.3, 0.66, 1.0, 2.0])


def probabilities(case: Case, parameters: Sequence[Tensor]) -> Tensor:
    """Those of the categories, or of a switch's two ends, by the reference, [..., 2 or more]."""
    ends = torch.eye(parameters[-1].shape[-1]) if case.joint else torch.tensor([0.0, 1.0])
    shape = (len(ends), *(1,) * (parameters[-1].dim() - case.joint), *ends.shape[1:])
    return case.reference(*parameters).log_prob(ends.reshape(shape)).exp().movedim(0, -1)


def odds(case: Case, parameters: Sequence[Tensor]) -> Tensor:
    """The log-odds of the first of two categories, or of a switch being on, by the reference."""
    first, second = probabilities(case, parameters).log().unbind(-1)
    return first - second if case.joint else second - first


def real_line() -> tuple[Tensor, Tensor]:
    """Nodes and weights over all logits."""
    nodes, weights = half_line(0.0, math.inf)
    return torch.cat([-nodes, nodes]), torch.cat([weights, weights])


def log_values(case: Case, logits: Tensor) -> Tensor:
    """The log-values of switches, or of pairs of categories, whose first has these logits."""
    return torch.stack([nn.functional.logsigmoid(logits), nn.functional.logsigmoid(-logits)], -1) if case.joint else logits


@relaxed
@temperatures
@double
def test_a_relaxed_density_integrates_to_one(case: Case, temperature: float) -> None:
    """In the logit of the first of two categories, whose density y1 y2 of a simplex is; above 0, to its probability."""
    nodes, weights = real_line()
    for parameters in settings(case, length=2):
        distribution = case.build(parameters)
        shares = weights * distribution.log_relaxed(log_values(case, nodes), torch.tensor(temperature)).exp()
        assert shares.sum().item() == pytest.approx(1, rel=0, abs=1e-10)
        above = odds(case, parameters).sigmoid().item()
        assert shares[nodes > 0].sum().item() == pytest.approx(above, rel=0, abs=1e-10)


@relaxed
@temperatures
@double
def test_a_relaxed_density_is_that_of_torch_in_log_values(case: Case, temperature: float) -> None:
    """The Jacobian of the logarithm, or of the logit, stands between the two."""
    distribution, parameters = case.make((20, *element(case)))
    noise, scale = noise_of(case, (20, *element(case))), torch.tensor(temperature)
    log_value = distribution.relax(noise, scale).detach()
    logits = probabilities(case, parameters).log()
    if case.joint:
        torch_density = torch.distributions.RelaxedOneHotCategorical(scale, logits=logits)
        jacobian = log_value.sum(-1)
    else:
        torch_density = torch.distributions.RelaxedBernoulli(scale, logits=logits[..., 1] - logits[..., 0])
        jacobian = nn.functional.logsigmoid(log_value) + nn.functional.logsigmoid(-log_value)
    expected = torch_density.log_prob(distribution.soften(log_value)) + jacobian
    torch.testing.assert_close(distribution.log_relaxed(log_value, scale), expected, rtol=1e-8, atol=1e-8)


@relaxed
@double
def test_a_relaxed_draw_is_nearest_to_the_draw_of_its_noise_and_tends_to_it(case: Case) -> None:
    """At every temperature; so its arg-max has the probabilities of the categories."""
    for parameters in settings(case):
        distribution, noise = case.build(parameters), noise_of(case, (40_000, *element(case)))
        hard, distances = distribution.sample(noise), []
        for temperature in (2.0, 0.66, 0.1, 1e-2, 1e-3):
            soft = distribution.soften(distribution.relax(noise, torch.tensor(temperature)))
            nearest = torch.eye(CATEGORIES)[soft.argmax(-1)] if case.joint else (soft > 0.5).double()
            assert torch.equal(nearest, hard)
            distances.append((soft - hard).abs().mean().item())
        assert distances == sorted(distances, reverse=True)
        assert distances[-1] < 1e-3
        found = hard.sum(0) if case.joint else torch.stack([(1 - hard).sum(), hard.sum()])
        check_shares(found, len(hard) * probabilities(case, parameters))


@relaxed
@temperatures
@double
def test_a_relaxed_draw_has_the_pathwise_gradient(case: Case, temperature: float) -> None:
    """The first of two relaxed categories is s((log-odds + logistic noise) / temperature); so is a relaxed switch."""
    uniform, weights = interval(0.0, 1.0)

    def expected(*near: Tensor) -> Tensor:
        return (weights * ((odds(case, near) + uniform.logit()) / temperature).sigmoid().square()).sum()

    for parameters in settings(case, length=2):
        repeated = tracked(parameters, (20_000,))
        noise = noise_of(case, (20_000, *element(case, 2)))
        value = case.family.soften(case.build(repeated).relax(noise, torch.tensor(temperature)))
        squares = (value[..., 0] if case.joint else value).square()
        check_mean(squares.detach(), expected(*parameters))
        check_gradients(torch.autograd.grad(squares.sum(), repeated), expected, parameters)


@relaxed
@precisions
def test_a_cold_relaxation_gives_no_nan(case: Case, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in draw and density nor in their gradients, at a temperature of 0.1 and below."""
    noise = extreme_noise(case, dtype, monkeypatch)
    for extreme in case.extremes:
        parameters = [torch.tensor(numbers, dtype=dtype, requires_grad=True) for numbers in extreme]
        for temperature in torch.tensor([0.1, 1e-2], dtype=dtype):
            distribution = case.build(parameters)
            log_value = distribution.relax(noise, temperature)
            score = distribution.log_relaxed(log_value, temperature)
            check_finite(log_value.sum() + distribution.soften(log_value).sum() + score.sum(), parameters)


@double
def test_the_oracle_of_a_relaxation() -> None:
    """Three categories: what the score of the arg-max says of the divergence, and what the mean of relaxed draws is not."""
    logits = torch.tensor([0.2, -0.5, 1.0], requires_grad=True)
    distribution, noise = Categorical(logits), Categorical.noise((200_000, 3), generator(0), torch.float64)
    assert distribution.mean.tolist() == pytest.approx([0.26866364, 0.13341442, 0.59792194], abs=1e-8)
    assert distribution.kl(Categorical(torch.zeros(3))).item() == pytest.approx(0.1692646735, abs=1e-10)
    value = distribution.relax(noise, torch.tensor(0.66)).detach()
    check_mean(distribution.log_prob(torch.eye(3)[value.argmax(-1)]).detach(), -0.9293476152)
    means = distribution.soften(value).mean(0).tolist()
    assert means == pytest.approx([0.288, 0.161, 0.551], abs=0.0005 + 4 * 0.4 / 200_000**0.5)
    # The score of a held arg-max has mean 0, whatever the gradient of the entropy.
    repeated = logits.detach().expand(200_000, 3).clone().requires_grad_()
    score = -Categorical(repeated).log_prob(distribution.sample(noise))
    check_mean(torch.autograd.grad(score.sum(), repeated)[0], 0.0)
    entropy = -(distribution.mean * distribution.mean.log()).sum()
    assert torch.autograd.grad(entropy, logits)[0].tolist() == pytest.approx([0.10342139, 0.14474763, -0.24816902], abs=1e-8)
    pair, above = Categorical(torch.tensor([0.7, -0.2])), real_line()
    for temperature in (0.3, 0.66, 1.0, 2.0):
        shares = above[1] * pair.log_relaxed(log_values(BY_NAME["Categorical"], above[0]), torch.tensor(temperature)).exp()
        assert shares[above[0] > 0].sum().item() == pytest.approx(0.7109495026, abs=1e-10)


# The compiler's table.


@pytest.mark.parametrize("row", FAMILIES.values(), ids=FAMILIES)
def test_the_compilers_table_agrees_with_the_class(row: Any) -> None:
    family, case = getattr(runtime, row.distribution), BY_NAME[row.distribution]
    names = tuple(parameter.name for parameter in row.parameters)
    arguments = inspect.signature(family).parameters
    assert issubclass(family, Distribution)
    assert case.family is family
    assert family.parameters == names == tuple(arguments)[: len(names)]
    extra = [spelled.name for spelled, _ in row.spellings] + ([row.number.name] if row.number and row.number.argument else [])
    assert sorted(tuple(arguments)[len(names) : -1]) == sorted(extra)
    assert tuple(arguments)[-1] == "event"
    assert arguments["event"].default == 1
    assert all(head in names for _, head in row.spellings)
    assert family.support == row.support
    assert case.finite == row.finite
    assert case.discrete == row.discrete
    assert case.joint == row.joint
    assert case.simplex == row.simplex
    assert issubclass(family, Relaxable) == ("concrete" in row.gradients)
    assert ("soft" in row.options) == differs_when_soft(case)
    assert bool(case.number) == (row.number is not None)


def differs_when_soft(case: Case) -> bool:
    value = torch.full((1, *element(case)), 0.5)
    hard, soft = (case.family.supported(value, kind, element(case), case.number) for kind in (False, True))
    return bool((hard != soft).any())


@pytest.mark.parametrize("row", FAMILIES.values(), ids=FAMILIES)
def test_the_tables_parameters_have_the_shapes_and_intervals_of_the_class(row: Any) -> None:
    """A link leads into the interval; the standard value lies there; the layouts are those of the case's parameters."""
    intervals = {"identity": (-math.inf, math.inf), "positive": (0.0, math.inf), "unit": (0.0, 1.0)}
    case, event = BY_NAME[row.distribution], BY_NAME[row.distribution].event(2)
    made = case.parameters((7, *event), generator(0))
    for parameter, tensor in zip(row.parameters, made, strict=True):
        assert (parameter.low, parameter.high) == intervals[parameter.link]
        assert parameter.allows(parameter.standard)
        assert tensor.shape == (7, *parameter.shape(event, case.number))


@double
@pytest.mark.parametrize("row", FAMILIES.values(), ids=FAMILIES)
def test_a_spelling_is_another_name_of_the_parameter(row: Any) -> None:
    """The probability whose logits a head gives."""
    case, number = BY_NAME[row.distribution], torch.tensor(0.2)
    total = {row.number.name: case.number} if row.number and row.number.argument else {}
    plain = {parameter.name: torch.tensor(parameter.standard) for parameter in row.parameters}
    for spelled, head in row.spellings:
        expected = case.family(**(plain | {head: number.logit()} | total), event=0)
        rest = {name: value for name, value in plain.items() if name != head}
        found = case.family(**(rest | {spelled.name: 0.2} | total), event=0)
        value = value_of(case, expected, (20,))
        torch.testing.assert_close(found.log_prob(value), expected.log_prob(value))
        assert (spelled.low, spelled.high) == (0.0, 1.0)
