"""Labels of several kinds around continuous draws, compiled: by Gauss quadrature in the runtime, by other rules in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exact import gauss_hermite, logsumexp, set_linear, spec_model, with_nodes
from scipy import stats

from graphvae.runtime import Block, Model
from graphvae.runtime.objectives import log_evidence, report, self_normalised

pytestmark = pytest.mark.usefixtures("float64")

Logs = dict[str, np.ndarray]
MIXTURE = """
model: mixture
variables:
  kind: {distribution: categorical, categories: 2, role: supervised}
  z: {distribution: normal}
  size: {distribution: normal, role: supervised}
  x: {distribution: normal, role: observed}
p:
  z: {parents: [kind], network: {hidden: []}, parameters: {scale: 0.8}}
  size: {parents: [z], network: {hidden: []}, parameters: {scale: 0.7}}
  x: {parents: [kind, z, size], network: {hidden: []}, parameters: {scale: 0.9}}
q:
  kind: {parents: [x], network: {hidden: []}}
  z: {parents: [x, kind], network: {hidden: []}, parameters: {scale: 0.6}}
  size: {parents: [x, z, kind], network: {hidden: []}, parameters: {scale: 0.5}}
objective: {label_term: %s}
"""
SWITCH = """
model: switch
variables:
  on: {distribution: bernoulli, role: supervised}
  z: {distribution: continuous_bernoulli}
  x: {distribution: normal, role: observed}
p:
  z: {parameters: {probs: 0.3}}
  x: {parents: [on, z], network: {hidden: []}, parameters: {scale: 0.5}}
q:
  z: {parents: [x], network: {hidden: []}}
  on: {parents: [z], network: {hidden: []}}
objective: {label_term: %s}
"""
LABEL_TERMS = ("log_mean", "mean_log")
X = 0.7


def near(value: object) -> object:
    return pytest.approx(value, rel=0, abs=1e-10)


def truth(log_p: Logs, log_q: Logs, known: list[str], log_cell: np.ndarray, label_term: str) -> dict[str, float]:
    """Everything about one row from log-densities over a grid of worlds, whose cells have these log-volumes."""
    unknown = [name for name in log_q if name not in known]
    draws = log_cell + sum((log_q[name] for name in unknown), np.zeros(log_cell.shape))
    assert logsumexp(draws) == near(0.0)
    weight, found = draws, {"log_evidence": logsumexp(log_cell + sum(log_p.values(), np.zeros(log_cell.shape)))}
    for name in (name for name in log_q if name in known):
        following = weight + log_q[name]
        log_mean, mean_log = logsumexp(following) - logsumexp(weight), (np.exp(draws) * log_q[name]).sum()
        found[f"label.{name}"] = log_mean if label_term == "log_mean" else mean_log
        weight = following
    posterior = np.exp(weight - logsumexp(weight))
    found |= {f"kl.{name}": (posterior * (log_q[name] - log_p[name])).sum() for name in log_q}
    return found | {f"reconstruction.{name}": (posterior * log_p[name]).sum() for name in log_p if name not in log_q}


def grid(low: float, high: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and the log-volumes of the trapezoidal rule."""
    points, step = np.linspace(low, high, count, retstep=True)
    return points, np.log(np.full(count, step) * np.r_[0.5, np.ones(count - 2), 0.5])


def mixture(label_term: str) -> Model:
    model = spec_model(MIXTURE % label_term)
    with torch.no_grad():
        for network, head in (
            (model.decoder.z, {}),
            (model.decoder.size, {"z": 0.5}),
            (model.decoder.x, {"z": 1.0, "size": -0.4}),
        ):
            set_linear(network, loc=head | {"bias": 0.1})
        set_linear(model.encoder.kind, first={"x": 0.5}, second={"bias": -0.3})
        set_linear(model.encoder.z, loc={"x": 0.4, "bias": 0.1})
        set_linear(model.encoder.size, loc={"x": 0.2, "z": 0.6, "bias": -0.1})
        for network, weight in ((model.decoder.z, [0.5, -0.5]), (model.decoder.x, [0.2, 0.9]), (model.encoder.z, [0.3, -0.2])):
            network.first.weight_kind.copy_(torch.tensor([weight]))
        model.encoder.size.first.weight_kind.copy_(torch.tensor([[-0.4, 0.5]]))
    return model


def mixture_truth(known: dict[str, float], label_term: str) -> dict[str, float]:
    kind = np.array([0, 1]) if "kind" not in known else np.array([int(known["kind"])])
    z, z_cell = grid(-5.5, 6.0, 301)
    size, size_cell = grid(-6.0, 6.5, 301) if "size" not in known else (np.array([known["size"]]), np.zeros(1))
    kind, z, size = kind[:, None, None], z[:, None], size
    cell = np.zeros(kind.shape) + z_cell[:, None] + size_cell
    log_kind = np.array([0.5 * X, -0.3]) - np.logaddexp(0.5 * X, -0.3)
    log_q = {
        "kind": log_kind[kind],
        "z": stats.norm.logpdf(z, 0.4 * X + 0.1 + np.array([0.3, -0.2])[kind], 0.6),
        "size": stats.norm.logpdf(size, 0.2 * X + 0.6 * z - 0.1 + np.array([-0.4, 0.5])[kind], 0.5),
    }
    log_p = {
        "kind": np.full(kind.shape, np.log(0.5)),
        "z": stats.norm.logpdf(z, 0.1 + np.array([0.5, -0.5])[kind], 0.8),
        "size": stats.norm.logpdf(size, 0.5 * z + 0.1, 0.7),
        "x": stats.norm.logpdf(X, z - 0.4 * size + 0.1 + np.array([0.2, 0.9])[kind], 0.9),
    }

    def flat(logs: Logs) -> Logs:
        return {name: np.broadcast_to(value, cell.shape).ravel() for name, value in logs.items()}

    return truth(flat(log_p), flat(log_q), list(known), cell.ravel(), label_term)


@pytest.mark.parametrize("label_term", LABEL_TERMS)
def test_a_label_behind_a_draw_behind_an_enumerated_label(label_term: str) -> None:
    """All patterns of labels in one block, with alpha per label and beta per latent."""
    model, patterns = mixture(label_term), [{}, {"kind": 1.0}, {"size": 0.9}, {"kind": 0.0, "size": -0.3}]
    table = {
        "x": torch.full((4,), X),
        "kind": torch.tensor([int(known.get("kind", -1)) for known in patterns]),
        "size": torch.tensor([known.get("size", torch.nan) for known in patterns]),
    }
    (z, size), log_weight = gauss_hermite(40, 2)
    noise = {name: nodes[:, None, None, None] for name, nodes in (("z", z), ("size", size))}
    alpha, beta = {"kind": 0.7, "size": 2.0}, {"kind": 0.5, "size": 0.5, "z": 1.5}
    terms = model.infer(Block(model.evidence(table), noise), model.knobs())[1]
    terms, knobs = with_nodes(terms, log_weight, model.knobs(alpha, beta))
    estimate = self_normalised(terms, knobs, label_term)
    parts = report(terms, estimate) | {"log_evidence": log_evidence(terms).value}
    for row, known in enumerate(patterns):
        expected = mixture_truth(known, label_term)
        assert {name: parts[name][row].item() for name in expected} == near(expected)
        bound = expected["reconstruction.x"] - sum(beta[name] * expected[f"kl.{name}"] for name in beta)
        bound += sum((alpha[name] + beta[name]) * expected[f"label.{name}"] for name in known)
        assert estimate.bound[row].item() == near(bound)


def switch_truth(known: dict[str, float], label_term: str) -> dict[str, float]:
    nodes, weights = np.polynomial.legendre.leggauss(80)
    z, on = (nodes + 1) / 2, np.array([[0.0], [1.0]]) if not known else np.array([[known["on"]]])
    cell = np.broadcast_to(np.log(weights / 2), (len(on), len(z)))
    logit = 1.5 - 4.0 * z
    log_q = {"z": continuous_bernoulli(z, 1.4 * X - 0.2), "on": on * logit - np.logaddexp(0, logit)}
    log_p = {
        "on": np.full((len(on), 1), np.log(0.5)),
        "z": continuous_bernoulli(z, np.log(0.3 / 0.7)),
        "x": stats.norm.logpdf(X, 0.8 * on + z - 0.1, 0.5),
    }

    def flat(logs: Logs) -> Logs:
        return {name: np.broadcast_to(value, cell.shape).ravel() for name, value in logs.items()}

    return truth(flat(log_p), flat(log_q), list(known), cell.ravel(), label_term)


def continuous_bernoulli(value: np.ndarray, logit: float) -> np.ndarray:
    """torch's, as an independent implementation."""
    family = torch.distributions.ContinuousBernoulli(logits=torch.tensor(logit, dtype=torch.float64))
    return family.log_prob(torch.tensor(value)).numpy()


@pytest.mark.parametrize("label_term", LABEL_TERMS)
def test_a_switch_behind_a_draw_from_the_unit_interval(label_term: str) -> None:
    model, patterns = spec_model(SWITCH % label_term), [{}, {"on": 0.0}, {"on": 1.0}]
    set_linear(model.encoder.z, logits={"x": 1.4, "bias": -0.2})
    set_linear(model.encoder.on, logits={"z": -4.0, "bias": 1.5})
    set_linear(model.decoder.x, loc={"on": 0.8, "z": 1.0, "bias": -0.1})
    nodes, weights = np.polynomial.legendre.leggauss(60)
    noise = {"z": torch.tensor((nodes + 1) / 2)[:, None, None, None]}
    table = {"x": torch.full((3,), X), "on": torch.tensor([torch.nan, 0.0, 1.0])}
    terms = model.infer(Block(model.evidence(table), noise), model.knobs())[1]
    terms, knobs = with_nodes(terms, torch.tensor(np.log(weights / 2)), model.knobs(alpha=0.3))
    estimate = self_normalised(terms, knobs, label_term)
    parts = report(terms, estimate) | {"log_evidence": log_evidence(terms).value}
    for row, known in enumerate(patterns):
        expected = switch_truth(known, label_term)
        assert {name: parts[name][row].item() for name in expected} == near(expected)
        bound = expected["reconstruction.x"] - expected["kl.z"] - expected["kl.on"] + 1.3 * expected.get("label.on", 0.0)
        assert estimate.bound[row].item() == near(bound)
