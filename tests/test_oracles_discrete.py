"""O1, O2, O7 and O8: everything is discrete, so that every expectation is a finite sum."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch
from exact import Factors, all_draws, exact, factor, fill, spec_model, table_model
from torch import Tensor

from graphvae.runtime import Model
from graphvae.runtime.objectives import log_evidence

pytestmark = pytest.mark.usefixtures("float64")

LIKELIHOOD = np.array([[0.10, 0.40, 0.25], [0.05, 0.30, 0.60]])  # of x = 0 given [y, z]
P: Factors = {
    "y": factor("", [0.6, 0.4]),
    "z": factor("", [1 / 3, 1 / 3, 1 / 3]),
    "x": factor("y z", np.stack([LIKELIHOOD, 1 - LIKELIHOOD], -1)),
}
BEHIND: Factors = {"z": factor("", [0.5, 0.3, 0.2]), "y": factor("z", [[0.7, 0.3], [0.2, 0.8], [0.5, 0.5]])}  # O1
FIRST: Factors = {  # O2: the same joint, as q(y) q(z | y)
    "y": factor("", [0.51, 0.49]),
    "z": factor("y", [[0.35 / 0.51, 0.06 / 0.51, 0.10 / 0.51], [0.15 / 0.49, 0.24 / 0.49, 0.10 / 0.49]]),
}
SPEC = """
model: small
variables:
  y: {distribution: categorical, categories: 2, role: supervised}
  z: {distribution: categorical, categories: 3}
  x: {distribution: categorical, categories: 2, role: observed}
p:
  y: []
  x: {parents: [y, z], network: {hidden: [6]}}
q: {%s}
objective: {label_term: %s}
"""
Q_BEHIND = "z: [], y: {parents: [z], network: {hidden: []}}"
Q_FIRST = "y: [], z: {parents: [y], network: {hidden: []}}"

ROW = {"x": 0}
LOG_EVIDENCE, ELBO = -1.2849418669, -1.9731880262
LOG_JOINT = [-1.8971199849, -2.0661963149]
LOG_LABEL = [-0.6733445533, -0.7133498879]
MEAN_LOG = [-0.7997982818, -0.8075589037]
MAIN = [-2.0663217687, -1.8762529064]
BOUND = {  # L_sup by label term and alpha
    ("log_mean", 0): [-2.7396663220, -2.5896027943],
    ("log_mean", 1): [-3.4130108752, -3.3029526821],
    ("mean_log", 0): [-2.8661200505, -2.6838118101],
    ("mean_log", 1): [-3.6659183323, -3.4913707137],
}
SELF_NORMALISED = [  # the mean of the main part, by samples
    [-1.4834252548, -1.8072877196, -1.9093292912, -1.9550071106],
    [-2.1389142056, -1.9982544927, -1.9519898467, -1.9303900401],
]
LOG_MEAN = [
    [MEAN_LOG[0], -0.7294401239, -0.7082461119, -0.6985486246],
    [MEAN_LOG[1], -0.7631052045, -0.7466804758, -0.7383085630],
]
IMPORTANCE = [
    [-2.2832235367, -2.0902959316, -2.0168980184, -1.9816205682],
    [-2.9464731093, -2.5551272546, -2.3816776739, -2.2910482491],
]
LABEL_TERMS = ("log_mean", "mean_log")


def near(value: object) -> object:
    """A number that the oracles give to ten decimals."""
    return pytest.approx(value, rel=0, abs=1e-10)


def row(**known: int) -> dict[str, Tensor]:
    return {name: torch.tensor([value]) for name, value in (ROW | known).items()}


def by_hand(q: Factors, enumerated: str = "", label_term: str = "log_mean") -> Model:
    return table_model(P, q, labels="y", enumerated=enumerated, label_term=label_term)


def by_spec(q: Factors, label_term: str = "log_mean") -> Model:
    return fill(spec_model(SPEC % (Q_BEHIND if q is BEHIND else Q_FIRST, label_term)), P, q)


def bound(model: Model, alpha: float = 0.0, **known: int) -> float:
    return model.objective(row(**known), knobs=model.knobs(alpha=alpha)).item()


def main_part(model: Model, block: object) -> Tensor:
    """The objective without its label terms."""
    estimate = model.estimate(block, model.knobs(alpha=0.0))[1]
    return estimate.bound - sum(estimate.labels.values())


@pytest.mark.parametrize("y", [0, 1])
def test_the_reference_agrees_with_the_oracle(y: int) -> None:
    for q in (BEHIND, FIRST):
        truth = exact(P, q, ROW | {"y": y})
        assert truth.log_evidence == near(LOG_JOINT[y])
        assert truth.labels["y"] == near(LOG_LABEL[y])
        assert truth.mean_logs["y"] == near(MEAN_LOG[y] if q is BEHIND else LOG_LABEL[y])
        assert exact(P, q, ROW).bound({}, {"y": 1, "z": 1}) == near(ELBO)


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize("y", [0, 1])
def test_o1_expectations_over_every_tuple_of_samples(y: int, samples: int) -> None:
    for label_term, log_label in (("log_mean", LOG_MEAN[y][samples - 1]), ("mean_log", MEAN_LOG[y])):
        model = by_hand(BEHIND, label_term=label_term)
        block, probability = all_draws(model, BEHIND, ["z"], ROW | {"y": y}, samples)
        assert probability.sum().item() == near(1.0)
        terms, estimate = model.estimate(block, model.knobs(alpha=1.0))
        assert (probability * main_part(model, block)).sum().item() == near(SELF_NORMALISED[y][samples - 1])
        assert (probability * estimate.labels["y"]).sum().item() == near(log_label)
        expected = SELF_NORMALISED[y][samples - 1] + 2 * log_label
        assert (probability * estimate.bound).sum().item() == pytest.approx(expected, rel=0, abs=3e-10)
        assert (probability * log_evidence(terms).value).sum().item() == near(IMPORTANCE[y][samples - 1])


@pytest.mark.parametrize("y", [0, 1])
def test_o1_one_sample_is_the_importance_bound(y: int) -> None:
    model = by_hand(BEHIND)
    block, _ = all_draws(model, BEHIND, ["z"], ROW | {"y": y}, samples=1)
    terms, estimate = model.estimate(block, model.knobs(alpha=0.0))
    torch.testing.assert_close(estimate.bound, log_evidence(terms).value, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("label_term", "alpha"), BOUND)
@pytest.mark.parametrize("y", [0, 1])
def test_o1_enumerated_is_the_limit_of_many_samples(y: int, label_term: str, alpha: float) -> None:
    for model in (by_hand(BEHIND, "z", label_term), by_hand(BEHIND, "z y", label_term), by_spec(BEHIND, label_term)):
        assert bound(model, alpha, y=y) == near(BOUND[label_term, alpha][y])
        assert main_part(model, model.block(row(y=y), 1, None)).item() == near(MAIN[y])


@pytest.mark.parametrize("y", [0, 1])
def test_o1_sampled_tends_to_the_limit(y: int) -> None:
    samples, generator = 200_000, torch.Generator().manual_seed(y)
    model = by_hand(BEHIND)
    terms, estimate = model.estimate(model.block(row(y=y), samples, generator), model.knobs(alpha=0.0))
    weight = samples * estimate.weight[:, 0]
    part = (terms["x"].log_p + sum(terms[name].log_p - terms[name].log_q for name in "zy"))[:, 0]
    influence = weight * (part - (estimate.bound - estimate.labels["y"])) + weight - 1
    standard_error = influence.std().item() / samples**0.5
    assert standard_error < 0.005
    assert abs(estimate.bound.item() - BOUND["log_mean", 0][y]) < 4 * standard_error


@pytest.mark.parametrize(("label_term", "alpha"), BOUND)
@pytest.mark.parametrize("y", [0, 1])
def test_o2_a_label_first_gives_the_same_exact_bound(y: int, label_term: str, alpha: float) -> None:
    exact_bound = near(BOUND["log_mean", alpha][y])  # both label terms agree
    for model in (by_hand(FIRST, "y z", label_term), by_hand(FIRST, "y", label_term), by_spec(FIRST, label_term)):
        if model.variables["z"].enumerated:
            assert bound(model, alpha, y=y) == exact_bound
        for samples in (1, 2, 3):
            block, probability = all_draws(model, FIRST, ["z"], ROW | {"y": y}, samples)
            _, estimate = model.estimate(block, model.knobs(alpha=alpha))
            if not model.variables["z"].enumerated:
                torch.testing.assert_close(estimate.weight, torch.full_like(estimate.weight, 1 / samples))
                assert (probability * estimate.bound).sum().item() == exact_bound
            torch.testing.assert_close(estimate.labels["y"], torch.full_like(probability, log([0.51, 0.49][y])))


def test_o2_the_unlabelled_bound_is_kingmas_sum_over_labels() -> None:
    for model in (by_hand(FIRST, "y z"), by_spec(FIRST)):
        assert bound(model) == near(ELBO)
        q = [0.51, 0.49]
        assert sum(q[y] * (bound(model, y=y) - log(q[y])) for y in (0, 1)) == near(ELBO)


@pytest.mark.parametrize(("q", "enumerated"), [(BEHIND, "z y"), (BEHIND, "z"), (FIRST, "y z"), (FIRST, "y"), (BEHIND, "")])
def test_o8_enumerated_and_sampled_are_one_elbo(q: Factors, enumerated: str) -> None:
    model, name = by_hand(q, enumerated), next(iter(q))
    if set(q) == set(enumerated.split()):
        assert bound(model) == pytest.approx(exact(P, q, ROW).bound({}, {"y": 1, "z": 1}), rel=0, abs=1e-12)
    elif name not in enumerated.split():
        for samples in (1, 2):
            block, probability = all_draws(model, q, [n for n in q if n not in enumerated.split()], ROW, samples)
            assert (probability * model.estimate(block, model.knobs())[1].bound).sum().item() == near(ELBO)
    bounds = model.objective({"x": torch.zeros(100_000)}, 1, torch.Generator().manual_seed(1)).detach()
    standard_error = bounds.std().item() / len(bounds) ** 0.5
    assert standard_error < 0.005
    assert abs(bounds.mean().item() - ELBO) < 4 * standard_error + 1e-10


def test_o8_a_spec_enumerates_to_the_elbo() -> None:
    for q in (BEHIND, FIRST):
        assert bound(by_spec(q)) == pytest.approx(exact(P, q, ROW).bound({}, {"y": 1, "z": 1}), rel=0, abs=1e-12)


def test_o8_enumeration_for_each_sample_has_the_same_mean_and_less_variance() -> None:
    z, y = BEHIND["z"].table[:, None], BEHIND["y"].table
    ratio = np.log(0.2 * LIKELIHOOD.T * [1.0, 2 / 3]) - np.log(z * y)  # log p - log q, [z, y]
    mean_given_z = (y * ratio).sum(1)
    variance = {"": (z * y * (ratio - ELBO) ** 2).sum(), "y": (z[:, 0] * (mean_given_z - ELBO) ** 2).sum()}
    for enumerated, drawn in (("", ["z", "y"]), ("y", ["z"])):
        model = by_hand(BEHIND, enumerated)
        block, probability = all_draws(model, BEHIND, drawn, ROW, samples=1)
        value = model.estimate(block, model.knobs())[1].bound
        mean = (probability * value).sum().item()
        assert mean == near(ELBO)
        assert (probability * (value - mean) ** 2).sum().item() == near(variance[enumerated])
    assert variance["y"] < variance[""]


def posterior(order: str) -> Factors:
    """q as the exact posterior p(y, z | x = 0), in either factorisation."""
    joint = np.array([[0.6 / 3], [0.4 / 3]]) * LIKELIHOOD
    joint = joint / joint.sum()
    joint = joint if order == "y z" else joint.T
    first, second = order.split()
    return {first: factor("", joint.sum(1)), second: factor(first, joint / joint.sum(1, keepdims=True))}


@pytest.mark.parametrize("order", ["z y", "y z"])
@pytest.mark.parametrize("samples", [1, 3])
def test_o7_the_exact_posterior_leaves_no_variance(order: str, samples: int) -> None:
    q = posterior(order)
    label = LOG_JOINT - np.float64(LOG_EVIDENCE)  # log p(y | x)
    for enumerated in ("", "y", "z", "y z"):
        model = by_hand(q, enumerated)
        generator = torch.Generator().manual_seed(2)
        free = model.block({"x": torch.zeros(50)}, samples, generator)
        assert main_part(model, free).tolist() == near([LOG_EVIDENCE] * 50)
        evidence = log_evidence(model.infer(free, model.knobs())[1])
        assert evidence.value.tolist() == near([LOG_EVIDENCE] * 50)
        if samples > 1 or enumerated == "y z":
            assert evidence.standard_error.max().item() < 1e-12
        for y in (0, 1):
            clamped = model.block({"x": torch.zeros(50), "y": torch.full((50,), y)}, samples, generator)
            assert main_part(model, clamped).tolist() == near([LOG_EVIDENCE] * 50)
    for y in (0, 1):
        assert bound(fill(by_spec(BEHIND if order == "z y" else FIRST), P, q), y=y) == near(LOG_JOINT[y])
        assert bound(by_hand(q, "z"), y=y) == near(LOG_EVIDENCE + label[y])


@pytest.mark.parametrize("known", [{}, {"y": 0}, {"y": 1}])
def test_evidence_and_prediction_by_enumeration(known: dict[str, int]) -> None:
    for q in (BEHIND, FIRST):
        truth = exact(P, q, ROW | known)
        for model in (by_hand(q, "z y"), by_spec(q)):
            evidence = model.log_evidence(row(**known))
            assert (evidence.value.item(), evidence.standard_error.item()) == (near(truth.log_evidence), 0.0)
            for by, answer in (("q", truth.q), ("importance", truth.p)):
                found = model.predict(row(**known), by=by)
                assert {name: value[0].tolist() for name, value in found.items()} == {
                    n: near(v.tolist()) for n, v in answer.items()
                }
                weight = model.posterior(row(**known), by=by).weight
                assert weight.flatten(0, -2).sum(0).tolist() == near([1.0])


@pytest.mark.parametrize("known", [{}, {"y": 0}, {"y": 1}])
@pytest.mark.parametrize("by", ["q", "importance"])
def test_prediction_by_sampling(by: str, known: dict[str, int]) -> None:
    samples, generator = 50_000, torch.Generator().manual_seed(3)
    for q in (BEHIND, FIRST):
        truth, model = exact(P, q, ROW | known), by_hand(q)
        found = model.predict(row(**known), samples, generator, by=by)
        for name, answer in (truth.q if by == "q" else truth.p).items():
            standard_error = 0.5 / (samples * 0.2) ** 0.5  # of an indicator, at an effective share of the samples above 0.2
            np.testing.assert_allclose(found[name][0], answer, rtol=0, atol=4 * standard_error)


def test_a_known_label_weighs_what_stands_before_it() -> None:
    """By q, what is inferred above a label follows q(z | x, y), and not q(z | x)."""
    model = by_spec(BEHIND)
    assert model.predict(row(y=0), by="q")["z"][0].tolist() == near([0.6862745098, 0.1176470588, 0.1960784314])
    assert model.predict(row(y=1), by="q")["z"][0].tolist() == near([0.3061224490, 0.4897959184, 0.2040816327])


def test_gradients_with_detached_weights_differ_only_where_weights_vary(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphvae.runtime import objectives

    def gradients(q: Factors) -> Tensor:
        model = by_hand(q)
        block, probability = all_draws(model, q, ["z"], ROW | {"y": 0}, samples=3)
        (probability * model.estimate(block, model.knobs())[1].bound).sum().backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])

    attached = {order: gradients(q) for order, q in (("behind", BEHIND), ("first", FIRST))}
    expect = objectives.expect
    monkeypatch.setattr(objectives, "expect", lambda weight, value: expect(weight.detach(), value))
    torch.testing.assert_close(gradients(FIRST), attached["first"], rtol=0, atol=1e-12)
    assert (gradients(BEHIND) - attached["behind"]).abs().max() > 0.01
