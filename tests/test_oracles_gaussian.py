"""O3, O4 and O7 in a compiled linear-Gaussian model, where quadrature is exact and a label stands behind a draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exact import gauss_hermite, set_linear, spec_model, unpositive, with_nodes
from torch import Tensor

from graphvae.runtime import Block, Model, Term, objectives
from graphvae.runtime.objectives import Estimate, log_evidence, log_importance, self_normalised

pytestmark = pytest.mark.usefixtures("float64")

SPEC = """
model: gaussian
variables:
  y: {distribution: normal, role: supervised}
  z: {distribution: normal}
  x: {distribution: normal, role: observed}
p: {x: {parents: [y, z], network: {hidden: []}, parameters: {scale: 0.5}}}
q:
  z: {parents: [x], network: {hidden: []}, parameters: {scale: %s}}
  y: {parents: [x, z], network: {hidden: []}}
objective: {label_term: %s}
"""
X, Y = 1.0, 0.8
LOG_LABEL, MEAN_LOG = -0.4057913526, -0.5651478013
BOUND, IMPORTANCE, LOG_JOINT = -2.2921390609, -2.5355555096, -2.2854488421
ELBO, LOG_EVIDENCE = -1.6829077083, -1.5466258635
FIRST_MOMENT, SECOND_MOMENT, SQUARED_VARIATION = 0.6664492058, 0.5236732352, 0.179034


def near(value: object) -> object:
    return pytest.approx(value, rel=0, abs=1e-10)


def model_of(z: tuple[float, float], y: tuple[float, float, float], label_term: str = "log_mean") -> Model:
    """q(z | x) = N(a x, s^2) and q(y | x, z) = N(b x + c z, t^2), from z = (a, s) and y = (b, c, t)."""
    model = spec_model(SPEC % (repr(z[1]), label_term))
    set_linear(model.decoder.x, loc={"y": 1.0, "z": 1.0})
    set_linear(model.encoder.z, loc={"x": z[0]})
    # A label's scale has a floor of 0.01.
    set_linear(model.encoder.y, loc={"x": y[0], "z": y[1]}, scale={"bias": unpositive(y[2], 0.01)})
    return model


def gaussian(label_term: str = "log_mean") -> Model:
    """The model of O3."""
    return model_of((0.4, 0.6), (0.7, -0.5, 0.4), label_term)


def wide() -> Model:
    """The same p under a wider q, so that the weights p / q have moments enough for a standard error to be trusted."""
    return model_of((0.4, 0.9), (0.7, -0.5, 0.6))


def data(**known: float) -> dict[str, Tensor]:
    return {name: torch.tensor([value]) for name, value in {"x": X, **known}.items()}


def quadrature(model: Model, alpha: float = 0.0, **known: float) -> tuple[dict[str, Term], Estimate]:
    """The objective of one row with its samples replaced by the nodes of a quadrature: the limit of infinitely many."""
    unknown = [name for name in ("z", "y") if name not in known]
    noise, log_weight = gauss_hermite(80 if len(unknown) == 1 else 40, len(unknown))
    block = Block(
        model.evidence(data(**known)), {name: nodes[:, None, None] for name, nodes in zip(unknown, noise, strict=True)}
    )
    _, terms = model.infer(block, model.knobs())
    terms, knobs = with_nodes(terms, log_weight, model.knobs(alpha=alpha))
    return terms, self_normalised(terms, knobs, model.label_term)


def closed_form(m: float) -> tuple[float, float]:
    """The bound at alpha 0, and log q(y | x), as functions of the mean of q(z | x)."""
    a, b, s2, t2 = -0.5, 0.7 * X, 0.36, 0.16
    variance = 1 / (1 / s2 + a * a / t2)
    mean = variance * (m / s2 + a * (Y - b) / t2)
    second = variance + mean**2
    log_p = -1.5 * np.log(2 * np.pi) - np.log(0.5) - (Y**2 + second + 4 * ((X - Y - mean) ** 2 + variance)) / 2
    log_z = -0.5 * np.log(2 * np.pi * s2) - ((mean - m) ** 2 + variance) / (2 * s2)
    log_y = -0.5 * np.log(2 * np.pi * t2) - ((Y - b - a * mean) ** 2 + a * a * variance) / (2 * t2)
    total = a * a * s2 + t2
    log_label = -0.5 * np.log(2 * np.pi * total) - (Y - b - a * m) ** 2 / (2 * total)
    return float(log_p - log_z - log_y + log_label), float(log_label)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.5])
def test_o3_by_quadrature(alpha: float) -> None:
    terms, estimate = quadrature(gaussian(), alpha, y=Y)
    bound, log_label = closed_form(0.4)
    assert (bound, log_label) == (near(BOUND), near(LOG_LABEL))
    assert estimate.labels["y"].item() == near(log_label)
    assert estimate.bound.item() == near(bound + alpha * log_label)
    assert log_evidence(terms).value.item() == near(LOG_JOINT)
    _, lower = quadrature(gaussian("mean_log"), alpha, y=Y)
    assert lower.labels["y"].item() == near(MEAN_LOG)
    assert lower.bound.item() == near(bound - log_label + (1 + alpha) * lower.labels["y"].item())


def test_o3_without_the_label() -> None:
    terms, estimate = quadrature(gaussian())
    assert estimate.bound.item() == near(ELBO)
    assert log_evidence(terms).value.item() == pytest.approx(LOG_EVIDENCE, rel=0, abs=1e-10)


def test_o3_one_sample_is_the_importance_bound_in_the_mean() -> None:
    model, ([noise], log_weight) = gaussian(), gauss_hermite(80)
    rows = {name: value.expand(len(noise)) for name, value in data(y=Y).items()}
    terms, estimate = model.estimate(Block(model.evidence(rows), {"z": noise[None]}), model.knobs(alpha=0.0))
    assert (log_weight.exp() * estimate.bound).sum().item() == near(IMPORTANCE)
    assert (log_weight.exp() * log_evidence(terms).value).sum().item() == near(IMPORTANCE)


def test_o3_moments_of_the_weights_and_the_effective_sample_size() -> None:
    terms, _ = quadrature(gaussian(), y=Y)
    weight, log_node = terms["y"].log_label.exp().flatten(), terms["node"].log_p.exp().flatten()
    first, second = ((log_node * weight**power).sum().item() for power in (1, 2))
    assert (first, second) == (near(FIRST_MOMENT), near(SECOND_MOMENT))
    assert second / first**2 - 1 == pytest.approx(SQUARED_VARIATION, abs=1e-6)
    model, samples = gaussian(), 20_000
    rows = {name: value.expand(50) for name, value in data(y=Y).items()}
    found = model([model.block(rows, samples, torch.Generator().manual_seed(0))], model.knobs()).parts["effective_samples"]
    standard_error = found.std().item() / 50**0.5
    assert abs(found.mean().item() - samples / (1 + SQUARED_VARIATION)) < 4 * standard_error < 0.01 * samples


@pytest.mark.parametrize("label_term", ["log_mean", "mean_log"])
def test_o3_by_sampling(label_term: str) -> None:
    samples, model = 200_000, gaussian(label_term)
    block = model.block(data(y=Y), samples, torch.Generator().manual_seed(1))
    terms, estimate = model.estimate(block, model.knobs(alpha=1.0))
    log_weight = terms["y"].log_label[:, 0]
    ratio = (terms["x"].log_p + sum(terms[name].log_p - terms[name].log_q for name in "yz"))[:, 0]
    main = BOUND - LOG_LABEL
    label_part = log_weight.exp() / FIRST_MOMENT - 1 if label_term == "log_mean" else log_weight - MEAN_LOG
    influence = log_weight.exp() / FIRST_MOMENT * (ratio - main) + 2 * label_part
    standard_error = influence.std().item() / samples**0.5
    expected = main + 2 * (LOG_LABEL if label_term == "log_mean" else MEAN_LOG)
    assert abs(estimate.bound.item() - expected) < 4 * standard_error < 0.02


def test_o3_elbo_by_sampling() -> None:
    samples = 200_000
    model = gaussian()
    terms, estimate = model.estimate(model.block(data(), samples, torch.Generator().manual_seed(2)), model.knobs())
    standard_error = log_importance(terms).std().item() / samples**0.5
    assert abs(estimate.bound.item() - ELBO) < 4 * standard_error < 0.02


def gradients() -> dict[str, float]:
    """d/dm at alpha 0 of both label terms, of the rest, and of the sum; m is the bias of q's mean of z."""
    found = {}
    for label_term in ("mean_log", "log_mean"):
        model = gaussian(label_term)
        estimate = quadrature(model, y=Y)[1]
        bias = model.encoder.z.first.bias
        parts = estimate.bound, estimate.labels["y"]
        total, label = (torch.autograd.grad(part, bias, retain_graph=True)[0].item() for part in parts)
        found |= {label_term: label, "main": total - label, "total": total}
    return found


def test_o4_the_gradient_is_exact() -> None:
    assert gradients() == {"main": near(0.5232), "log_mean": near(-0.6), "mean_log": near(-0.9375), "total": near(-0.0768)}


def test_o4_the_gradient_is_the_derivative_of_the_closed_form() -> None:
    step = 1e-5
    derivative = (closed_form(0.4 + step)[0] - closed_form(0.4 - step)[0]) / (2 * step)
    assert derivative == pytest.approx(gradients()["total"], abs=1e-8)  # the rounding error of a difference quotient


def test_o4_by_sampling() -> None:
    model, found = gaussian(), []
    bias = model.encoder.z.first.bias
    generator = torch.Generator().manual_seed(3)
    for _ in range(40):
        estimate = model.estimate(model.block(data(y=Y), 5000, generator), model.knobs(alpha=0.0))[1]
        found.append(torch.autograd.grad(estimate.bound - estimate.labels["y"], bias)[0])
    standard_error = torch.cat(found).std().item() / 40**0.5  # the bias of order 1 / samples is a twentieth of it
    assert abs(torch.cat(found).mean().item() - 0.5232) < 4 * standard_error < 0.5232 - 0.48


def test_o4_tells_detached_weights_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    expect = objectives.expect
    monkeypatch.setattr(objectives, "expect", lambda weight, value: expect(weight.detach(), value))
    assert gradients()["main"] == near(0.48)


EXACT_POSTERIOR = (1 / 2.25, (1 - 1 / 2.25) ** 0.5), (0.8, -0.8, 0.2**0.5)


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_o7_the_exact_posterior_leaves_no_variance(samples: int) -> None:
    model = model_of(*EXACT_POSTERIOR)
    generator = torch.Generator().manual_seed(4)
    free = model.block({"x": torch.full((100,), X)}, samples, generator)
    terms, estimate = model.estimate(free, model.knobs())
    assert estimate.bound.tolist() == near([LOG_EVIDENCE] * 100)
    evidence = log_evidence(terms)
    assert evidence.value.tolist() == near([LOG_EVIDENCE] * 100)
    assert samples == 1 or evidence.standard_error.max().item() < 1e-12
    assert evidence.effective_samples.tolist() == near([float(samples)] * 100)
    labelled = model.block({"x": torch.full((100,), X), "y": torch.full((100,), Y)}, samples, generator)
    _, estimate = model.estimate(labelled, model.knobs(alpha=0.0))
    assert (estimate.bound - estimate.labels["y"]).tolist() == near([LOG_EVIDENCE] * 100)


def test_o7_the_bound_of_the_exact_posterior_is_log_p() -> None:
    assert quadrature(model_of(*EXACT_POSTERIOR), y=Y)[1].bound.item() == near(LOG_JOINT)


@pytest.mark.parametrize("known", [{}, {"y": Y}])
def test_log_evidence_and_its_standard_error(known: dict[str, float]) -> None:
    """Over many repetitions, the error in units of the reported standard error is standard normal."""
    model, rows, samples = wide(), 400, 2000
    repeated = {name: value.expand(rows) for name, value in data(**known).items()}
    evidence = model.log_evidence(repeated, samples, torch.Generator().manual_seed(5))
    error = (evidence.value - (LOG_JOINT if known else LOG_EVIDENCE)) / evidence.standard_error
    assert abs(error.mean().item()) < 4 / rows**0.5
    assert abs(error.std().item() - 1) < 4 / (2 * rows) ** 0.5
    assert evidence.standard_error.max().item() < 0.1
    assert (evidence.effective_samples < samples).all()


def test_log_evidence_of_one_sample_has_no_standard_error() -> None:
    assert gaussian().log_evidence(data(), 1).standard_error.isnan().all()


POSTERIOR_MEANS = {  # by what is known and by which weights: the mean of z and of y
    ("nothing", "q"): (0.4, 0.5),
    ("nothing", "importance"): (X / 2.25, X / 2.25),
    ("y", "q"): (0.184, Y),
    ("y", "importance"): ((X - Y) / 1.25, Y),
}


@pytest.mark.parametrize(("known", "by"), POSTERIOR_MEANS)
def test_posterior_means(known: str, by: str) -> None:
    samples, model = 100_000, gaussian() if by == "q" else wide()
    table = data(y=Y) if known == "y" else data()
    posterior = model.posterior(table, samples, torch.Generator().manual_seed(6), by=by)
    found = model.predict(table, samples, torch.Generator().manual_seed(6), by=by)
    for name, expected in zip("zy", POSTERIOR_MEANS[known, by], strict=True):
        values = posterior.values[name].expand(samples, 1)
        standard_error = (posterior.weight.square() * (values - expected).square()).sum().sqrt().item()
        assert abs((posterior.weight * values).sum().item() - expected) <= 4 * standard_error + 1e-12 < 0.02
        assert abs(found[name].item() - expected) <= 4 * standard_error + 1e-12
    if (known, by) == ("nothing", "q"):
        assert found["z"].item() == near(0.4)  # the conditional mean itself: no draw is needed
