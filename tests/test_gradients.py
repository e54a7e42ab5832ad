"""Gradients of draws: each by enumeration, quadrature or a closed form, in compiled models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from math import log

import numpy as np
import pytest
import test_oracles_discrete as discrete
import test_oracles_masks as masks
import torch
from exact import (
    Factors,
    every_tuple,
    exact,
    factor,
    fill,
    forced,
    gauss_hermite,
    random_factor,
    set_linear,
    spec_model,
    unpositive,
    with_nodes,
)
from scipy import integrate, special, stats
from torch import Tensor, distributions, nn
from torch.distributions.relaxed_bernoulli import LogitRelaxedBernoulli
from torch.distributions.relaxed_categorical import ExpRelaxedCategorical
from worlds import Logits, Worlds, logits

from graphvae.runtime import Bernoulli, Block, Categorical, Draws, Evidence, Knobs, Mlp, Model, Normal, Term, Variable
from graphvae.runtime import model as runtime
from graphvae.runtime.draws import Draw
from graphvae.runtime.objectives import Estimate, log_evidence, ruled_out, score_terms, self_normalised

pytestmark = pytest.mark.usefixtures("float64")

LABEL_TERMS = ("log_mean", "mean_log")
SMALL = """
model: small
variables:
  y: {distribution: categorical, categories: 2, role: supervised}
  z: {distribution: categorical, categories: 3}
  x: {distribution: categorical, categories: 2, role: observed}
p:
  y: []
  x: {parents: [y, z], network: {hidden: [6]}}
q: {%s}
objective: {bound: %s, label_term: %s, samples: 2}
"""
BEHIND = "z: {gradient: %s}, y: {parents: [z], network: {hidden: []}, gradient: %s}"
FIRST = "y: {gradient: %s}, z: {parents: [y], network: {hidden: []}, gradient: %s}"
CHAIN = """
model: chain
variables:
  a: {distribution: categorical, categories: 2, role: supervised}
  b: {distribution: categorical, categories: 2, role: supervised}
  z: {distribution: categorical, categories: 2}
  x: {distribution: categorical, categories: 3, role: observed}
p:
  a: []
  z: {parents: [a], network: {hidden: []}}
  b: {parents: [z], network: {hidden: []}}
  x: {parents: [a, z, b], network: {hidden: [8]}}
q:
  a: {parents: [x], network: {hidden: []}, gradient: %s}
  z: {parents: [x, a], network: {hidden: [6]}, gradient: %s}
  b: {parents: [x, a, z], network: {hidden: [12]}, gradient: %s}
objective: {label_term: %s, samples: 2}
"""
ROW = {"x": 0}


def near(value: object) -> object:
    return pytest.approx(value, rel=0, abs=1e-10)


def split(gradients: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Which variables are drawn and which enumerated."""
    return {
        "drawn": tuple(name for name, kind in gradients.items() if kind != "enumerate"),
        "enumerated": tuple(name for name, kind in gradients.items() if kind == "enumerate"),
    }


def small(q: Factors, z: str, y: str, label_term: str = "log_mean", bound: str = "self_normalised") -> tuple[Model, Worlds]:
    """O1's or O2's model, with these gradients, as it is compiled and as it is enumerated."""
    order = BEHIND % (z, y) if q is discrete.BEHIND else FIRST % (y, z)
    model = fill(spec_model(SMALL % (order, bound, label_term)), discrete.P, q)
    kinds = {name: {"z": z, "y": y}[name] for name in q}
    return model, Worlds(discrete.P, q, **split(kinds), bound=bound, label_term=label_term)


def chain(a: str, z: str, b: str, label_term: str = "log_mean") -> tuple[Model, Worlds]:
    """O6's model."""
    model = fill(spec_model(CHAIN % (a, z, b, label_term)), masks.P, masks.Q_OF_X)
    return model, Worlds(masks.P, masks.Q_OF_X, **split({"a": a, "z": z, "b": b}), label_term=label_term)


def bounds(model: Model, block: Block, worlds: Worlds) -> Tensor:
    beta = dict.fromkeys(worlds.q, 1.0) | dict(worlds.beta)
    return model.estimate(block, model.knobs(worlds.alpha, beta))[1].bound


def tables(network: nn.Module, factors: Factors, of: Tensor) -> dict[str, Tensor]:
    """The gradient of a number in the logits of each table that a network learns."""
    found = {}
    for name, each in factors.items():
        weight = (
            getattr(network, f"{name}_logits", None)
            if not each.parents
            else output_weight(getattr(network, name), each.parents)
        )
        if isinstance(weight, nn.Parameter):
            (gradient,) = torch.autograd.grad(of, weight, retain_graph=True, materialize_grads=True, allow_unused=True)
            found[name] = (gradient.T if each.parents else gradient).reshape(each.table.shape)
    return found


def output_weight(network: Mlp, parents: tuple[str, ...]) -> nn.Parameter:
    """The weight that holds a table: see `exact.set_table`."""
    return network.body[-1].weight if len(network.body) else network.first.get_parameter(f"weight_{parents[0]}")


def truth(worlds: Worlds, patterns: list[Mapping[str, int]], samples: int) -> tuple[float, dict[str, Logits]]:
    """The mean of the estimate summed over rows, and its derivative in every table."""
    leaves = {"p": logits(worlds.p), "q": logits(worlds.q)}
    mean = sum(worlds.mean(leaves["p"], leaves["q"], known, samples) for known in patterns)
    every = [leaf for side in leaves.values() for leaf in side.values()]
    gradients = iter(torch.autograd.grad(mean, every, materialize_grads=True, allow_unused=True))
    return mean.item(), {side: {name: next(gradients) for name in leaves[side]} for side in leaves}


def assert_unbiased(model: Model, worlds: Worlds, patterns: list[Mapping[str, int]], samples: int) -> None:
    """The mean over every way to draw, of the estimate and of its gradient, is the enumerated mean and its derivative."""
    block, probability = worlds.block(model, patterns, samples)
    mean = (probability * bounds(model, block, worlds)).sum()
    value, gradient = truth(worlds, patterns, samples)
    assert mean.item() == near(value)
    for side, network in (("p", model.decoder), ("q", model.encoder)):
        found = tables(network, worlds.p if side == "p" else worlds.q, mean)
        assert found
        for name, each in found.items():
            torch.testing.assert_close(each, gradient[side][name], rtol=0, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")


SCORED = "score_function"


@pytest.mark.parametrize("label_term", LABEL_TERMS)
@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("samples", [2, 3])
@pytest.mark.parametrize("known", [{}, {"y": 0}, {"y": 1}])
@pytest.mark.parametrize(
    ("q", "z", "y"), [("behind", SCORED, "enumerate"), ("behind", SCORED, SCORED), ("first", SCORED, "enumerate")]
)
def test_a_score_function_gradient_has_no_bias(
    q: str, z: str, y: str, known: dict[str, int], samples: int, alpha: float, label_term: str
) -> None:
    """Above an enumerated variable, below one and beside another drawn one, with the label and without it."""
    model, worlds = small(discrete.BEHIND if q == "behind" else discrete.FIRST, z, y, label_term)
    assert_unbiased(model, replace(worlds, alpha=alpha), [ROW | known], samples)


def test_the_number_of_the_derivative() -> None:
    """O1 with y = 0, alpha 1 and two samples."""
    _, worlds = small(discrete.BEHIND, SCORED, "enumerate")
    _, gradient = truth(replace(worlds, alpha=1.0), [ROW | {"y": 0}], samples=2)
    assert gradient["q"]["z"].tolist() == pytest.approx([-0.345, 0.112, 0.234], abs=5e-4)


def per_sample(objective: object, terms: dict[str, Term], knobs: Knobs, label_term: str, scored: bool = False) -> Estimate:
    """The obvious gradient: a draw's score is weighed by its own sample's share of the sum, less the mean of the others.

    `scored` leaves the label terms to the right weight, L - L(-s).
    """
    estimate = self_normalised(terms, knobs, label_term)
    ratio = sum(term.log_p if term.observed else -term.divergence for term in terms.values())
    samples, log_r, label = len(ratio), terms["z"].log_draw, terms["y"].log_label
    share = estimate.weight * (ratio - (ratio.sum(0) - ratio) / (samples - 1))
    if scored:
        rest = torch.stack([torch.cat([label[:s], label[s + 1 :]]).logsumexp(0) for s in range(samples)]) - log(samples - 1)
        share = share + (1 + knobs.alpha["y"]) * (estimate.labels["y"] - rest)
    return estimate._replace(bound=estimate.bound + (share.detach() * (log_r - log_r.detach())).sum(0))


def test_the_obvious_gradient_is_biased(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its numbers, in O1 with y = 0 and alpha 1; with the label terms scored rightly two samples hide it, and three do not."""
    model, worlds = small(discrete.BEHIND, SCORED, "enumerate")
    found = {}
    for name, scored, samples in (("obvious", False, 2), ("half", True, 2), ("half of three", True, 3)):
        monkeypatch.setattr(runtime, "with_score_function", partial(per_sample, scored=scored))
        block, probability = worlds.block(model, [ROW | {"y": 0}], samples)
        mean = (probability * bounds(model, block, replace(worlds, alpha=1.0))).sum()
        found[name] = tables(model.encoder, worlds.q, mean)["z"]
    correct = {samples: truth(replace(worlds, alpha=1.0), [ROW | {"y": 0}], samples)[1]["q"]["z"] for samples in (2, 3)}
    assert found["obvious"].tolist() == pytest.approx([-0.764, 0.547, 0.217], abs=5e-4)
    torch.testing.assert_close(found["half"], correct[2], rtol=0, atol=1e-12)
    assert (found["half of three"][0].item(), correct[3][0].item()) == pytest.approx((-0.403, -0.358), abs=5e-4)


KINDS = [("enumerate", SCORED, "enumerate"), (SCORED, "enumerate", SCORED), ("enumerate", "enumerate", SCORED), (SCORED,) * 3]
PATTERNS = [{k: v for k, v in zip("xab", row, strict=True) if v >= 0} for row in product((0, 2), (-1, 0, 1), (-1, 1))]


@pytest.mark.parametrize("label_term", LABEL_TERMS)
@pytest.mark.parametrize("kinds", KINDS, ids=" ".join)
def test_a_score_function_gradient_has_no_bias_in_a_mixed_block(kinds: tuple[str, str, str], label_term: str) -> None:
    """Every pattern of two labels in one block, with beta: draws in cells that a label rules out change nothing in the mean."""
    model, worlds = chain(*kinds, label_term)
    assert_unbiased(model, replace(worlds, alpha=0.7, beta={"a": 0.5, "b": 0.5, "z": 1.5}), PATTERNS, samples=2)


def test_a_score_function_gradient_at_three_samples_in_a_chain() -> None:
    model, worlds = chain("enumerate", SCORED, "enumerate")
    assert_unbiased(model, replace(worlds, alpha=0.7), PATTERNS, samples=3)


def test_the_value_is_the_objective_and_the_draw_passes_nothing_on() -> None:
    model, worlds = small(discrete.FIRST, SCORED, "enumerate")
    block, _ = worlds.block(model, [ROW, ROW | {"y": 1}], samples=2)
    q, terms = model.infer(block, model.knobs())
    assert torch.equal(model.estimate(block, model.knobs())[1].bound, self_normalised(terms, model.knobs(), "log_mean").bound)
    assert not q["z"].value.requires_grad
    assert q["z"].value.shape == (2, 2, 162, 3)  # a draw for each value of y


def test_one_sample_has_no_other_to_be_compared_with() -> None:
    model, _ = small(discrete.BEHIND, SCORED, SCORED)
    with pytest.raises(ValueError, match="two or more"):
        model.objective({"x": torch.zeros(3)}, samples=1)
    model, _ = small(discrete.FIRST, "enumerate", SCORED)
    known = {"x": torch.zeros(3), "y": torch.zeros(3)}
    assert model.objective(known, samples=1).isfinite().all()  # nothing is drawn


@pytest.mark.parametrize("bound", ["self_normalised", "importance"])
def test_without_a_gradient_one_sample_is_enough(bound: str) -> None:
    """An estimate that nobody differentiates is log p - log q of its draws, and the mean of it the lower bound of O1."""
    model, worlds = small(discrete.BEHIND, SCORED, SCORED, bound=bound)
    data, seed = {"x": torch.zeros(50)}, 0
    block, probability = worlds.block(model, [ROW], samples=1)
    q, _ = model.infer(model.block(data, 1, torch.Generator().manual_seed(seed)), model.knobs())
    y, z = (q[name].value.argmax(-1)[0].numpy() for name in "yz")
    tables = discrete.BEHIND["z"].table[z] * discrete.BEHIND["y"].table[z, y]
    ratio = np.log(discrete.LIKELIHOOD[y, z] * discrete.P["y"].table[y] / 3 / tables)
    with torch.no_grad():
        assert (probability @ bounds(model, block, worlds)).item() == near(discrete.ELBO)
        found = model.objective(data, 1, torch.Generator().manual_seed(seed))
    np.testing.assert_allclose(found, ratio, rtol=0, atol=1e-12)
    assert len(set(zip(y, z, strict=True))) == 6
    with torch.inference_mode():
        assert torch.equal(model.objective(data, 1, torch.Generator().manual_seed(seed)), found)
    with pytest.raises(ValueError, match="two or more"):
        model.objective(data, samples=1)


BESIDE = """
model: beside
variables:
  k: {distribution: categorical, categories: 3}
  n: {distribution: normal}
  y: {distribution: bernoulli, role: supervised}
  x: {distribution: normal, role: observed}
p: {x: {parents: [k, n, y], network: {hidden: []}, parameters: {scale: 0.5}}}
q:
  k: {parents: [x], network: {hidden: []}, gradient: score_function}
  n: {parents: [k], network: {hidden: []}, parameters: {scale: 0.6}}
  y: {parents: [n], network: {hidden: []}}
objective: {samples: 2}
"""


def beside(leaves: Mapping[str, Tensor], k: Tensor, noise: Tensor, y: int | None) -> tuple[Tensor, Tensor]:
    """Log q of the draws of k [sample, row] and the estimate, [row]; `noise` is that of n."""
    log_k = leaves["k"].log_softmax(0)[k]
    n = leaves["n"][k] + 0.6 * noise
    values = torch.tensor([0.0, 1.0] if y is None else [float(y)])[:, None, None]
    log_y = -torch.nn.functional.softplus((1 - 2 * values) * (1.3 * n - 0.2))
    normal = torch.distributions.Normal
    log_x = normal(torch.tensor([0.3, -0.8, 1.1])[k] + 0.7 * n + 0.4 * values, 0.5).log_prob(torch.tensor(0.9))
    prior = normal(0.0, 1.0).log_prob(n) - np.log(3) - np.log(2)
    ratio = (log_x + prior - log_k - normal(leaves["n"][k], 0.6).log_prob(n) - log_y).flatten(0, 1)
    weight = log_y.flatten(0, 1).softmax(0)
    label = 0.0 if y is None else 2.0 * (log_y.flatten(0, 1).logsumexp(0) - log(2))
    return log_k.sum(0), (weight * ratio).sum(0) + label


@pytest.mark.parametrize("y", [None, 0, 1])
def test_a_score_function_gradient_beside_a_reparameterised_one(y: int | None) -> None:
    """A normal draw below the scored one, a label behind both: the noise of the normal is that of a quadrature."""
    model = spec_model(BESIDE)
    leaves = {"k": torch.tensor([0.2, -0.5, 1.0]), "n": torch.tensor([0.5, -1.0, 0.3])}
    set_linear(model.decoder.x, loc={"n": 0.7, "y": 0.4})
    set_linear(model.encoder.y, logits={"n": 1.3, "bias": -0.2})
    set_linear(model.encoder.k, zero={}, one={}, two={})
    set_linear(model.encoder.n, loc={})
    with torch.no_grad():
        model.decoder.x.first.weight_k.copy_(torch.tensor([[0.3, -0.8, 1.1]]))
        model.encoder.k.first.bias.copy_(leaves["k"])
        model.encoder.n.first.weight_k.copy_(leaves["n"][None])
    nodes, log_weight = gauss_hermite(5, 2)
    k = every_tuple({"k": 3}, 2)["k"]
    pairs = torch.cartesian_prod(torch.arange(k.shape[1]), torch.arange(len(log_weight))).T
    k, noise = k[:, pairs[0]], torch.stack(nodes)[:, pairs[1]]
    for leaf in leaves.values():
        leaf.requires_grad_()
    log_k, estimate = beside(leaves, k, noise, y)
    probability = (log_k + log_weight[pairs[1]]).exp()
    expected = torch.autograd.grad((probability * estimate).sum(), list(leaves.values()))
    data = {"x": torch.full((len(log_k),), 0.9)} | ({} if y is None else {"y": torch.full((len(log_k),), float(y))})
    block = Block(model.evidence(data), {"k": forced(k, 3), "n": noise})
    bound = model.estimate(block, model.knobs())[1].bound
    torch.testing.assert_close(bound, estimate, rtol=0, atol=1e-12)
    weights = (model.encoder.k.first.bias, model.encoder.n.first.weight_k)
    found = torch.autograd.grad((probability.detach() * bound).sum(), weights)
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(found[1][0], expected[1], rtol=0, atol=1e-12)


NORMAL = """
model: normals
variables:
  y: {distribution: normal, role: supervised}
  z: {distribution: normal}
  x: {distribution: normal, role: observed}
p: {x: {parents: [y, z], network: {hidden: []}, parameters: {scale: 0.8}}}
q:
  z: {parents: [x], network: {hidden: []}, gradient: %s}
  y: {parents: [z], network: {hidden: []}, gradient: %s}
objective: {samples: 2}
"""


def normal_slopes(gradient_of_z: str, gradient_of_y: str, y: float | None) -> Tensor:
    """The derivatives of the mean estimate at two samples in every weight, by quadrature over the noise of all draws."""
    model = spec_model(NORMAL % (gradient_of_z, gradient_of_y))
    set_linear(model.decoder.x, loc={"y": 0.6, "z": 0.9})
    set_linear(model.encoder.z, loc={"x": 0.4}, scale={"bias": unpositive(0.7)})
    set_linear(model.encoder.y, loc={"z": 0.5, "bias": 0.1}, scale={"bias": unpositive(0.6, 0.01)})
    nodes, log_weight = gauss_hermite(12 if y is None else 80, 4 if y is None else 2)
    noise = {"z": torch.stack(nodes[:2]), "y": torch.stack(nodes[-2:])}
    table = {"x": 1.0} | ({} if y is None else {"y": y})
    data = {name: torch.full((len(log_weight),), value) for name, value in table.items()}
    bound = model.estimate(Block(model.evidence(data), noise), model.knobs(alpha=0.5))[1].bound
    weights = list(model.parameters())
    mean = (log_weight.exp() * bound).sum()
    return torch.cat([each.flatten() for each in torch.autograd.grad(mean, weights, materialize_grads=True, allow_unused=True)])


@pytest.mark.parametrize("y", [None, 0.8])
@pytest.mark.parametrize(("of_z", "of_y"), [(SCORED, SCORED), (SCORED, "reparameterised"), ("reparameterised", SCORED)])
def test_a_score_function_gradient_of_a_normal_draw(of_z: str, of_y: str, y: float | None) -> None:
    """It has the mean of the reparameterised one: above such a draw, below one, and with a label behind."""
    expected = normal_slopes("reparameterised", "reparameterised", y)
    torch.testing.assert_close(normal_slopes(of_z, of_y, y), expected, rtol=0, atol=1e-8)


COUNT = """
model: count
variables:
  c: {distribution: poisson}
  x: {distribution: normal, role: observed}
p: {x: {parents: [c], network: {hidden: []}, parameters: {scale: 0.8}}}
q: {c: {parents: [x], network: {hidden: []}}}
objective: {samples: 3}
"""


def test_the_score_function_gradient_of_a_count() -> None:
    """The bound is a polynomial in the rate r, but for r log r: E (x - c)^2 = (x - r)^2 + r, and KL = r log r - r + 1."""
    model, x = spec_model(COUNT), 1.5
    set_linear(model.decoder.x, loc={"c": 1.0})
    set_linear(model.encoder.c, rate={"bias": unpositive(1.3)})
    bias = model.encoder.c.first.bias
    rate = torch.nn.functional.softplus(bias) + 1e-6
    bound = -((x - rate).square() + rate) / (2 * 0.64) - np.log(0.8 * (2 * np.pi) ** 0.5) - (rate * rate.log() - rate + 1)
    (expected,) = torch.autograd.grad(bound, bias)
    generator, values, gradients = torch.Generator().manual_seed(0), [], []
    for _ in range(40):
        mean = model.objective({"x": torch.full((5000,), x)}, 3, generator).mean()
        values.append(mean.item())
        gradients.append(torch.autograd.grad(mean, bias)[0].item())
    for found, exact_value in ((values, bound.item()), (gradients, expected.item())):
        standard_error = np.std(found, ddof=1) / 40**0.5
        assert abs(np.mean(found) - exact_value) < 4 * standard_error < 0.02


def moments(
    model: Model, worlds: Worlds, patterns: list[Mapping[str, int]], samples: int, name: str = "z"
) -> tuple[Tensor, float]:
    """The mean of a row's gradient in the table of a variable, and the trace of its covariance: of the first pattern's rows."""
    block, probability = worlds.block(model, patterns, samples)
    weight = (
        output_weight(getattr(model.encoder, name), parents) if (parents := worlds.q[name].parents) else model.encoder.z_logits
    )
    bound = bounds(model, block, worlds)
    rows = int((probability.cumsum(0) < 1 - 1e-9).sum()) + 1
    (each,) = torch.autograd.grad(bound, weight, torch.eye(len(bound))[:rows], is_grads_batched=True)
    each, probability = each.flatten(1), probability[:rows, None]
    mean = (probability * each).sum(0)
    return mean, (probability * (each - mean).square()).sum().item()


@pytest.mark.parametrize("q", ["behind", "first"])
def test_o8_a_sum_over_values_has_the_same_mean_gradient_and_less_variance(q: str) -> None:
    """Enumerated below what is drawn, and above it; both enumerated there is none left."""
    found = {}
    for z, y in ((SCORED, SCORED), (SCORED, "enumerate"), ("enumerate", "enumerate")):
        model, worlds = small(discrete.BEHIND if q == "behind" else discrete.FIRST, z, y)
        found[z, y] = moments(model, worlds, [ROW], samples=2)
    (drawn, most), (summed, less), (exact_mean, none) = found.values()
    torch.testing.assert_close(drawn, exact_mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(summed, exact_mean, rtol=0, atol=1e-12)
    assert none < 1e-20 < less < most


def gradient_at_two_samples(y: int) -> tuple[np.ndarray, float]:
    """Mean and variance of O2's gradient in the logits of z, with the label: by hand, over nine pairs of draws.

    The weights are equal, so that L - L(-s) is half of the difference of two log-ratios, and log r has the scores of two draws.
    """
    prior, q = discrete.P["y"].table[y] / 3, discrete.FIRST["z"].table[y]
    ratio = np.log(discrete.LIKELIHOOD[y] * prior / q)
    made = []
    for one, other in product(range(3), repeat=2):
        scores = np.eye(3)[[one, other]] - q
        made.append((ratio[one] - ratio[other]) / 2 * (scores[0] - scores[1]) - scores.mean(0))
    probability = np.outer(q, q).reshape(-1, 1)
    mean = (probability * np.array(made)).sum(0)
    return mean, float((probability * (np.array(made) - mean) ** 2).sum())


@pytest.mark.parametrize("y", [0, 1])
def test_what_a_label_rules_out_adds_no_variance(y: int) -> None:
    """In a block with rows that lack the label there is a draw for each of its values: of a known one, all but one is in vain.

    In O2 with y = 0 they would make a variance of 1.58 of one of 0.67.
    """
    model, worlds = small(discrete.FIRST, SCORED, "enumerate")
    right, variance = gradient_at_two_samples(y)
    assert variance == pytest.approx([0.66828, 1.02956][y], abs=5e-6)
    for others in ([], [ROW], [ROW, ROW | {"y": 1 - y}]):
        mean, found = moments(model, worlds, [ROW | {"y": y}, *others], samples=2)
        assert mean.reshape(3, 2)[:, y].tolist() == near(right.tolist())
        assert found == near(variance)


@pytest.mark.parametrize("known", [{"a": 0}, {"a": 1}, {"z": 1}, {"a": 1, "z": 0}], ids=str)
def test_what_one_of_two_labels_rules_out_adds_no_variance(known: dict[str, int]) -> None:
    """A draw below two enumerated variables, of which one is known or both are: as in a block where every row knows it."""
    text = CHAIN % ("enumerate", "enumerate", SCORED, "log_mean")
    text = text.replace("z: {distribution: categorical", "z: {role: supervised, distribution: categorical")
    model, worlds = fill(spec_model(text), masks.P, masks.Q_OF_X), chain("enumerate", "enumerate", SCORED)[1]
    alone, mixed = (moments(model, worlds, [ROW | known, *others], 2, "b") for others in ([], [ROW]))
    torch.testing.assert_close(mixed[0], alone[0], rtol=0, atol=1e-12)
    assert mixed[1] == near(alone[1])
    assert alone[1] > 0.01


def by_loops(cells: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Which places of a draw of that shape have no cell left: a place of a draw stands for all cells that agree with it."""
    full = torch.broadcast_shapes(cells.shape, shape)
    left = torch.zeros(shape, dtype=torch.bool)
    for place in product(*map(range, full)):
        own = tuple(min(index, size - 1) for index, size in zip(place[len(full) - len(shape) :], shape, strict=True))
        left[own] |= cells.expand(full)[place] > -torch.inf
    return ~left


OUT = -torch.inf
ONE = torch.tensor([[[0.0, OUT, -1.0]], [[OUT, OUT, -2.0]]])  # of two values: the first is known, neither agrees, unknown
TWO = ONE.reshape(2, 1, 1, 3) + torch.tensor([[-1.0, -1.0, -1.0], [0.0, 0.0, OUT]]).reshape(1, 2, 1, 3)


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize(
    ("cells", "axes"),
    [(torch.tensor(0.0), ()), (ONE, (2,)), (ONE, ()), (TWO, (2, 2)), (TWO, (2,)), (TWO, (2, 1)), (TWO, ())],
    ids=["nothing", "its axis", "not its axis", "both axes", "the first axis", "the second axis", "neither axis"],
)
def test_the_cells_that_a_draw_has_in_vain(cells: Tensor, axes: tuple[int, ...], samples: int) -> None:
    """A draw that lacks an axis is needed where any value on it is left. Samples may share a cell's weight, or not."""
    if cells.dim():
        cells = cells + torch.linspace(0, 1, samples).reshape(samples, 1)
    shape = (*axes, 4, 3)
    found = ruled_out(cells, torch.zeros(shape))
    assert torch.equal(found.expand(shape), by_loops(cells, shape))


def test_the_scores_of_a_row() -> None:
    """Two draws under one enumerated variable of which a row may know the value, one of them below it: sums by hand."""
    above, below = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.arange(8.0).reshape(2, 2, 2)  # [sample, row], [value, ...]
    cells, zero = torch.tensor([[[-0.3, OUT]], [[-1.4, 0.0]]]), torch.zeros(2)
    terms = {
        "u": Term(zero, log_draw=above, score=True),
        "e": Term(zero, log_cell=cells, known=torch.tensor([False, True])),
        "v": Term(zero, log_draw=below, score=True),
        "w": Term(zero, log_draw=above),
    }
    of_u, of_v = score_terms(terms)
    assert torch.equal(of_u, above)
    assert of_v.tolist() == [[0.0 + 4.0, 5.0], [2.0 + 6.0, 7.0]]


RELAXED = """
model: relaxed
variables:
  y: {distribution: categorical, categories: 3, role: supervised}
  s: {distribution: bernoulli, size: 2}
  w: {distribution: bernoulli, role: supervised}
  x: {distribution: normal, role: observed}
p:
  s: {parents: [y], network: {hidden: []}}
  x: {parents: [y, s, w], network: {hidden: []}, parameters: {scale: 0.5}}
q:
  y: {parents: [x], network: {hidden: []}, gradient: concrete, temperature: 0.4}
  s: {parents: [y], network: {hidden: []}, gradient: concrete, temperature: 0.7}
  w: {parents: [y, s], network: {hidden: []}, gradient: enumerate}
objective: {label_term: %s}
"""
TEMPERATURE = {"y": 0.4, "s": 0.7}


def relaxed_model(label_term: str = "log_mean") -> Model:
    torch.manual_seed(0)
    return spec_model(RELAXED % label_term)


def linear(network: Mlp, **parents: Tensor) -> Tensor:
    """A network without hidden layers, from its weights."""
    first = network.first
    return first.bias + sum(value @ first.get_parameter(f"weight_{name}").T for name, value in parents.items())


def relaxed_objective(
    model: Model, x: Tensor, y: int, w: int, noise: Mapping[str, Tensor], alpha: float, label_term: str
) -> Tensor:
    """One row's objective by torch's own distributions, with beta 0.5 of labels and 1.5 of s; a label of -1 is missing."""
    q, p = model.encoder, model.decoder
    logits_y = linear(q.y, x=x.reshape(1, 1))
    log_y = relaxed_category(logits_y, noise["y"], TEMPERATURE["y"])
    divergence_y = category_divergence(logits_y, torch.zeros(3), log_y, TEMPERATURE["y"], closed=w < 0)
    value, log_label = log_y.exp(), torch.zeros(len(log_y))
    if y >= 0:
        value = torch.eye(3)[y].expand(log_y.shape)
        log_label = logits_y.log_softmax(-1)[0, y].expand(len(log_y))
        divergence_y = log_label + log(3)
    logits_s, prior_s = linear(q.s, y=value), linear(p.s, y=value)
    raw = (logits_s - torch.logit(noise["s"])) / TEMPERATURE["s"]
    divergence_s = switch_divergence(logits_s, prior_s, raw, TEMPERATURE["s"], closed=w < 0).sum(-1)
    values = torch.tensor([[0.0], [1.0]] if w < 0 else [[float(w)]])
    log_w = distributions.Bernoulli(logits=linear(q.w, y=value, s=raw.sigmoid())[:, 0]).log_prob(values)
    loc = linear(p.x, y=value, s=raw.sigmoid())[:, 0] + values * p.x.first.weight_w[0, 0]
    ratio = distributions.Normal(loc, 0.5).log_prob(x) - 0.5 * (divergence_y + log_w + log(2)) - 1.5 * divergence_s
    main = ((log_w + log_label).flatten().softmax(0) * ratio.flatten()).sum()
    of_w = (log_w[0].logsumexp(0) - log(len(log_y)) if label_term == "log_mean" else log_w[0].mean()) if w >= 0 else 0.0
    return main + (0.5 + alpha) * (log_label[0] + of_w)


def relaxed_category(logits_of: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """The log-value of a relaxed category."""
    return ((logits_of.log_softmax(-1) - (-noise.log()).log()) / temperature).log_softmax(-1)


def category_divergence(q: Tensor, p: Tensor, log_value: Tensor, temperature: float, closed: bool) -> Tensor:
    """KL between two categories, or the difference of the log-densities of their relaxations."""
    if closed:
        return distributions.kl_divergence(distributions.Categorical(logits=q), distributions.Categorical(logits=p))
    at = torch.tensor(temperature)
    one, other = (ExpRelaxedCategorical(at, logits=each.expand(log_value.shape)) for each in (q, p))
    return one.log_prob(log_value) - other.log_prob(log_value)


def switch_divergence(q: Tensor, p: Tensor, raw: Tensor, temperature: float, closed: bool) -> Tensor:
    """The same of switches, one by one."""
    if closed:
        return distributions.kl_divergence(distributions.Bernoulli(logits=q), distributions.Bernoulli(logits=p))
    one, other = (LogitRelaxedBernoulli(torch.tensor(temperature), logits=each) for each in (q, p))
    return one.log_prob(raw) - other.log_prob(raw)


@pytest.mark.parametrize("label_term", LABEL_TERMS)
@pytest.mark.parametrize("samples", [1, 4])
def test_concrete_draws_in_a_mixed_block(samples: int, label_term: str) -> None:
    """Relaxed where the value is missing, one-hot and scored by probability where it is known; and the gradient of it all.

    Log q - log p of a relaxed draw is the divergence of its categories, but for rows that know the label behind it: there the
    draws are weighted, and densities are compared.
    """
    model, rows = relaxed_model(label_term), list(product((-1, 0, 2), (-1, 0, 1)))
    x, (y, w) = torch.linspace(-1, 1, len(rows)), torch.tensor(rows).T
    noise = model.noise(samples, len(rows), torch.Generator().manual_seed(0))
    block = Block(model.evidence({"x": x, "y": y, "w": w.double()}), noise)
    knobs = model.knobs(alpha=0.3, beta={"y": 0.5, "w": 0.5, "s": 1.5}, temperature=TEMPERATURE)
    q, terms = model.infer(block, knobs)
    hot = torch.eye(3)[y.clamp_min(0)].expand(samples, -1, -1)
    known = (y >= 0).expand(samples, -1)
    assert torch.equal(q["y"].value[known], hot[known])
    assert ((q["y"].value[~known] > 0) & (q["y"].value[~known] < 1)).all()
    torch.testing.assert_close(terms["y"].log_p[known], torch.full((int(known.sum()),), -np.log(3)), rtol=0, atol=1e-14)
    bound = model.estimate(block, knobs)[1].bound
    expected = torch.stack(
        [
            relaxed_objective(model, x[i], *rows[i], {n: v[:, i] for n, v in noise.items()}, 0.3, label_term)
            for i in range(len(rows))
        ]
    )
    torch.testing.assert_close(bound, expected, rtol=0, atol=1e-12)
    weights = list(model.parameters())
    found, right = (torch.autograd.grad(b.sum(), weights, allow_unused=True, materialize_grads=True) for b in (bound, expected))
    for one, other in zip(found, right, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


BENEATH = """
model: beneath
variables:
  top: {distribution: bernoulli, size: 2}
  code: {distribution: categorical, categories: 3}
  x: {distribution: normal, role: observed}
p:
  code: {parents: [top], network: {hidden: []}}
  x: {parents: [code], network: {hidden: []}, parameters: {scale: 0.5}}
q:
  code: {parents: [x], network: {hidden: []}, gradient: concrete}
  top: {parents: [code], network: {hidden: []}, gradient: concrete}
objective: {bound: %s}
"""


@pytest.mark.parametrize("bound", ["self_normalised", "importance"])
def test_densities_against_a_parent_below_and_under_importance(bound: str) -> None:
    """Top stands below code in q and above it in p: given top, code does not follow q(code | x), and densities are compared.

    The divergence of top is that of its switches, but not where it is weighed by the importance bound.
    """
    torch.manual_seed(0)
    model, rows, at = spec_model(BENEATH % bound), 6, {"code": 0.4, "top": 0.7}
    p, q, x = model.decoder, model.encoder, torch.linspace(-1, 1, rows)[:, None]
    noise = model.noise(3, rows, torch.Generator().manual_seed(0))
    knobs = model.knobs(beta={"code": 0.5, "top": 1.5}, temperature=at)
    found = model.estimate(Block(model.evidence({"x": x[:, 0]}), noise), knobs)[1].bound
    of_code = linear(q.code, x=x)
    code = relaxed_category(of_code, noise["code"], at["code"])
    of_top = linear(q.top, code=code.exp())
    top = (of_top - torch.logit(noise["top"])) / at["top"]
    of_code = category_divergence(of_code, linear(p.code, top=top.sigmoid()), code, at["code"], closed=False)
    closed = bound == "self_normalised"
    of_top = switch_divergence(of_top, torch.zeros_like(of_top), top, at["top"], closed).sum(-1)
    ratio = distributions.Normal(linear(p.x, code=code.exp())[..., 0], 0.5).log_prob(x[:, 0]) - 0.5 * of_code - 1.5 * of_top
    expected = ratio.mean(0) if closed else ratio.logsumexp(0) - log(3)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    weights = list(model.parameters())
    right = torch.autograd.grad(expected.sum(), weights, allow_unused=True, materialize_grads=True)
    for one, other in zip(torch.autograd.grad(found.sum(), weights), right, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("temperature", [0.1, 0.02])
def test_concrete_gradients_are_finite_in_single_precision(temperature: float) -> None:
    """At logits of 30 and below; three in ten of the relaxed numbers underflow, and their logarithms do not.

    A third of the rows knows no label behind the draws, and has their divergence in closed form.
    """
    torch.set_default_dtype(torch.float32)
    model = relaxed_model()
    with torch.no_grad():
        model.encoder.y.first.weight_x.copy_(torch.tensor([[30.0], [0.0], [-3.0]]))
        model.encoder.s.first.weight_y.copy_(torch.tensor([[30.0, 0.0, -30.0], [0.5, -1.0, 2.0]]))
    generator = torch.Generator().manual_seed(1)
    rows = torch.arange(6000)
    data = {"x": torch.linspace(-1, 1, 6000), "y": rows % 4 - 1, "w": (rows % 3 - 1).where(rows % 3 > 0, torch.nan)}
    block = model.block(data, 4, generator)
    knobs = model.knobs(temperature=dict.fromkeys(TEMPERATURE, temperature))
    q, _ = model.infer(block, knobs)
    bound = model.estimate(block, knobs)[1].bound
    assert bound.dtype == torch.float32
    assert bound.isfinite().all()
    bound.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert (q["y"].value == 0).any()


def test_without_a_temperature_a_draw_is_hard() -> None:
    """As in every answer: posterior, prediction, evidence and rows from p know no relaxation."""
    model = relaxed_model()
    data = {"x": torch.linspace(-1, 1, 7)}
    block = model.block(data, 5, torch.Generator().manual_seed(2))
    q, terms = model.infer(block, model.knobs())
    for name in TEMPERATURE:
        assert ((q[name].value == 0) | (q[name].value == 1)).all()
    log_q = torch.distributions.OneHotCategorical(logits=linear(model.encoder.y, x=data["x"][:, None])).log_prob(q["y"].value)
    torch.testing.assert_close(terms["y"].log_draw, log_q)
    posterior = model.posterior(data, 5, torch.Generator().manual_seed(2))
    assert all(torch.equal(posterior.values[name], q[name].value) for name in TEMPERATURE)
    drawn = model.sample(20, generator=torch.Generator().manual_seed(3))
    assert set(drawn["s"].flatten().tolist()) == {0.0, 1.0}
    assert drawn["y"].dtype == torch.long


SWITCH = """
model: switch
variables:
  z: {distribution: %s}
  x: {distribution: normal, role: observed}
p: {x: {parents: [z], network: {hidden: []}, parameters: {scale: 0.7}}}
q: {z: {parents: [x], network: {hidden: []}, gradient: %s}}
objective: {%s}
"""
FAMILIES = {"bernoulli": "bernoulli", "categorical": "categorical, categories: 2"}
LOGIT = 0.9
ON = 1 / (1 + np.exp(-LOGIT))
SIGNAL = 1.1


def switch(family: str, gradient: str, objective: str = "samples: 2") -> tuple[Model, Tensor]:
    """A switch between x ~ N(0, .7^2) and N(1.5, .7^2), on with probability sigmoid(.9), and the weight that holds the .9."""
    model = spec_model(SWITCH % (FAMILIES[family], gradient, objective))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        bias = model.encoder.z.first.bias
        bias[-1] = LOGIT
        model.decoder.x.first.weight_z[0, -1] = 1.5
    return model, bias


def switch_block(model: Model, family: str, rows: int = 100_000) -> Block:
    """A row for every node of the midpoint rule over the noise."""
    uniform = (torch.arange(rows) + 0.5) / rows
    if family == "bernoulli":
        noise = uniform[None]
    else:  # two Gumbel variables, the smaller of which is 0, and whose difference is logistic
        gumbel = torch.logit(torch.stack([1 - uniform, uniform], -1)).clamp_min(0)
        noise = (-(-gumbel).exp()).exp()[None]
    return Block(model.evidence({"x": torch.full((rows,), SIGNAL)}), {} if model.variables["z"].enumerated else {"z": noise})


def switch_gradients(
    family: str, gradient: str, temperature: float | None, objective: str = "samples: 2", rows: int = 100_000
) -> dict[str, float]:
    """The mean derivative in the logit of log p(x | z) and of -(log q - log p)."""
    model, bias = switch(family, gradient, objective)
    block, at = switch_block(model, family, rows), {} if temperature is None else {"z": temperature}
    means = [model.estimate(block, model.knobs(beta=beta, temperature=at))[1].bound.mean() for beta in (0.0, 1.0)]
    likelihood, whole = (torch.autograd.grad(mean, bias, retain_graph=True)[0][-1].item() for mean in means)
    return {"likelihood": likelihood, "divergence": whole - likelihood}


TEMPERATURES = (2.0, 1.0, 0.5, 0.25, 0.1, 0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_bias_of_a_concrete_gradient(family: str) -> None:
    """It is that of the likelihood, and vanishes with the temperature: the divergence is that of the categories."""
    right, biases = switch_gradients(family, "enumerate", None), []
    assert right["divergence"] == near(-LOGIT * ON * (1 - ON))
    for temperature in TEMPERATURES:
        found = switch_gradients(family, "concrete", temperature)
        assert found["divergence"] == near(-LOGIT * ON * (1 - ON))
        biases.append(abs(found["likelihood"] - right["likelihood"]))
    assert sorted(biases, reverse=True) == biases
    assert biases[-1] < 0.015 < 0.1 < biases[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_bias_of_a_gradient_by_densities(family: str) -> None:
    """At one sample the importance bound is the same bound. Its divergence is another, the same one at every temperature.

    Up to a one-to-one map, a relaxed draw is a logistic variable whose location is the logit L, whatever the temperature: so
    the divergence from the even switch is that of two logistic distributions, L coth(L / 2) - 2.
    """
    of_logistic = 1 / np.tanh(LOGIT / 2) - LOGIT / 2 / np.sinh(LOGIT / 2) ** 2
    assert of_logistic > 1.5 * LOGIT * ON * (1 - ON)
    for temperature in TEMPERATURES:
        found = switch_gradients(family, "concrete", temperature, "bound: importance")
        assert found["divergence"] == pytest.approx(-of_logistic, rel=0, abs=1e-9)
        assert found["likelihood"] == near(switch_gradients(family, "concrete", temperature)["likelihood"])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_value_of_a_concrete_bound(family: str) -> None:
    """Log p at the relaxed value, by quadrature over the logistic noise, less the categories' divergence.

    It tends to the ELBO, in first order as the temperature T: log p is a parabola in the value v, and the integral of v^2 less
    its limit is T times the logistic density where the switch turns.
    """
    model, _ = switch(family, "concrete")
    block, values = switch_block(model, family), []
    kl = ON * log(2 * ON) + (1 - ON) * log(2 * (1 - ON))
    for temperature in TEMPERATURES:

        def at(noise: float, temperature: float = temperature) -> float:
            soft = special.expit((LOGIT + noise) / temperature)
            return float(stats.norm.logpdf(SIGNAL, 1.5 * soft, 0.7) * stats.logistic.pdf(noise))

        likelihood, _ = integrate.quad(at, -40, 40, points=[-LOGIT], epsabs=1e-10, limit=200)
        values.append(model.estimate(block, model.knobs(temperature={"z": temperature}))[1].bound.mean().item())
        assert values[-1] == pytest.approx(likelihood - kl, rel=0, abs=1e-7)
    right = ON * stats.norm.logpdf(SIGNAL, 1.5, 0.7) + (1 - ON) * stats.norm.logpdf(SIGNAL, 0.0, 0.7) - kl
    gaps = [value - right for value in values]
    assert sorted(gaps, reverse=True) == gaps
    assert gaps[-1] == pytest.approx(TEMPERATURES[-1] * ON * (1 - ON) * 1.5**2 / (2 * 0.7**2), rel=0.02)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_hard_draw_has_the_exact_value_and_the_gradient_of_the_relaxed_one(family: str) -> None:
    """Straight through: log p at the hard value, its derivative there times that of the relaxed value; KL in closed form."""
    model, bias = switch(family, "straight_through")
    rows, temperature = 4000, 0.6
    noise = model.noise(2, rows, torch.Generator().manual_seed(4))
    block = Block(model.evidence({"x": torch.full((rows,), SIGNAL)}), noise)
    knobs = model.knobs(temperature={"z": temperature})
    q, terms = model.infer(block, knobs)
    if family == "bernoulli":
        soft = torch.sigmoid((LOGIT - torch.logit(noise["z"])) / temperature)
        hard = (noise["z"] < torch.sigmoid(torch.tensor(LOGIT))).double()
        value = q["z"].value
    else:
        gumbel = -(-noise["z"].log()).log()
        soft = torch.sigmoid((LOGIT + gumbel[..., 1] - gumbel[..., 0]) / temperature)
        hard = (LOGIT + gumbel[..., 1] > gumbel[..., 0]).double()
        value = q["z"].value[..., 1]
        assert torch.equal(q["z"].value.sum(-1), torch.ones(2, rows))
    assert torch.equal(value, hard)
    on = torch.sigmoid(torch.tensor(LOGIT))
    kl = on * (2 * on).log() + (1 - on) * (2 * (1 - on)).log()
    torch.testing.assert_close(terms["z"].kl.expand(1, rows)[0], kl.expand(rows))
    log_x = torch.distributions.Normal(1.5 * hard, 0.7).log_prob(torch.tensor(SIGNAL))
    bound = model.estimate(block, knobs)[1].bound
    torch.testing.assert_close(bound, log_x.mean(0) - kl)
    slope = (SIGNAL - 1.5 * hard) / 0.49 * 1.5 * soft * (1 - soft) / temperature
    (found,) = torch.autograd.grad(bound.sum(), bias)
    assert found[-1].item() == pytest.approx((slope.mean(0) - LOGIT * on * (1 - on)).sum().item(), rel=1e-12)


@pytest.mark.parametrize("gradient", ["straight_through", "concrete"])
def test_the_value_of_the_enumerated_bound_at_hard_draws(gradient: str) -> None:
    """The mean over all draws, with and without its own label: KL in closed form only where it is drawn.

    The noise is so far apart that a relaxed value is hard as well.
    """
    model, worlds = small(discrete.FIRST, gradient, "enumerate")
    assert model.closed_kl == {"z": ()}
    worlds = replace(worlds, drawn=("z",), enumerated=())
    for y in (0, 1):
        block, probability = worlds.block(model, [ROW | {"y": y}], samples=2)
        bound = model.estimate(block, model.knobs(alpha=0.0, temperature={"z": 0.5}))[1].bound
        assert (probability * bound).sum().item() == near(discrete.BOUND["log_mean", 0][y])
    model, _ = small(discrete.FIRST, "enumerate", gradient)
    for known, exact_value in (({}, discrete.ELBO), ({"y": 0}, discrete.BOUND["log_mean", 0][0])):
        draws = torch.arange(2).expand(1, 2)
        data = {name: torch.full((2,), value) for name, value in (ROW | known).items()}
        block = Block(model.evidence(data), {"y": forced(draws, 2)})
        bound = model.estimate(block, model.knobs(alpha=0.0, temperature={"y": 0.5}))[1].bound
        assert (torch.tensor([0.51, 0.49]) * bound).sum().item() == near(exact_value)


O9 = (0.2, -0.5, 1.0)


def test_o9_relaxed_and_hard_draws_of_one_noise() -> None:
    """The largest entry has the probabilities of the category at any temperature; the mean of the relaxed value has not."""
    count = 400_000
    noise = Categorical.noise((count, 3), torch.Generator().manual_seed(5), torch.float64)
    family = Categorical(torch.tensor(O9))
    probabilities = torch.tensor([0.26866364, 0.13341442, 0.59792194])
    torch.testing.assert_close(family.mean, probabilities, rtol=0, atol=5e-9)
    for temperature in (0.1, 0.66, 2.0):
        value = family.soften(family.relax(noise, torch.tensor(temperature)))
        hot = torch.eye(3)[value.argmax(-1)]
        assert torch.equal(hot, family.sample(noise))
        deviation = (probabilities * (1 - probabilities) / count).sqrt()
        assert ((hot.mean(0) - probabilities).abs() < 4 * deviation).all()
        if temperature == 0.66:
            assert value.mean(0).tolist() == pytest.approx([0.288, 0.161, 0.551], abs=1.5e-3)
    assert (family.mean * family.mean.log()).sum().item() == pytest.approx(-0.9293476152, abs=1e-10)
    assert family.kl(Categorical(torch.zeros(3))).item() == pytest.approx(0.1692646735, abs=1e-10)


@pytest.mark.parametrize("temperature", [0.3, 0.66, 1.0, 2.0])
def test_o9_a_relaxed_pair(temperature: float) -> None:
    """Its density integrates to 1, and the probability that the first is the larger is that of the category."""
    family, even = Categorical(torch.tensor([0.7, -0.2])), 2001
    logit = torch.linspace(-40.0, 40.0, even) / temperature
    log_value = torch.stack([-torch.nn.functional.softplus(-logit), -torch.nn.functional.softplus(logit)], -1)
    density = family.log_relaxed(log_value, torch.tensor(temperature)).exp()  # of the log-value: its measure is d logit
    step = (logit[1] - logit[0]).item()
    assert density.sum().item() * step == pytest.approx(1.0, abs=1e-9)
    above = torch.where(logit > 0, density, 0.0).sum() + density[even // 2] / 2
    assert above.item() * step == pytest.approx(0.7109495026, abs=2e-5)  # the trapezoidal rule ends where the slope is not 0


def test_o9_the_score_of_a_relaxed_draw() -> None:
    """Log pi[argmax], as in the authors' library, has no gradient in the mean; the density has the same at any temperature.

    That is the gradient of another divergence than the categories': a relaxed draw tells more of the logits than its largest
    entry does.
    """
    count, entropy_gradient = 200_000, torch.tensor([0.10342139, 0.14474763, -0.24816902])
    leaf = torch.tensor(O9, requires_grad=True)
    noise = Categorical.noise((count, 3), torch.Generator().manual_seed(6), torch.float64)
    family, even = Categorical(leaf), Categorical(torch.zeros(3))
    (exact_gradient,) = torch.autograd.grad(-family.kl(even), leaf, retain_graph=True)
    torch.testing.assert_close(exact_gradient, entropy_gradient, rtol=0, atol=5e-9)
    (dead,) = torch.autograd.grad(-family.log_prob(family.sample(noise)).mean(), leaf, retain_graph=True)
    assert dead.abs().max().item() < 4 * (0.25 / count) ** 0.5
    pulls = []
    for temperature in map(torch.tensor, (0.2, 0.66, 1.5)):
        log_value = family.relax(noise, temperature)
        ratio = even.log_relaxed(log_value, temperature) - family.log_relaxed(log_value, temperature)
        pulls += torch.autograd.grad(ratio.mean(), leaf, retain_graph=True)
        torch.testing.assert_close(pulls[-1], pulls[0], rtol=0, atol=1e-9)
    assert (pulls[0] @ entropy_gradient).item() > 0.1
    assert pulls[0].norm() > 2 * entropy_gradient.norm()


def test_what_is_answered_with_concrete_draws_is_exact() -> None:
    """Evidence and posterior of a model trained by relaxation, within 4 standard errors; a temperature has no way in."""
    model, samples = small(discrete.BEHIND, "concrete", "concrete")[0], 100_000
    truth_of = exact(discrete.P, discrete.BEHIND, ROW)
    generator = torch.Generator().manual_seed(7)
    evidence = model.log_evidence({"x": torch.zeros(1)}, samples, generator)
    assert abs(evidence.value.item() - truth_of.log_evidence) < 4 * evidence.standard_error.item() < 0.02
    found = model.predict({"x": torch.zeros(1)}, samples, generator)
    for name, probabilities in truth_of.p.items():
        np.testing.assert_allclose(found[name][0], probabilities, rtol=0, atol=4 * 0.5 / (0.2 * samples) ** 0.5)


M, S, SLOPE, SHIFT = 0.5, 0.8, 1.2, -0.3  # O5: q(z | x) = N(m, s^2), q(y = 1 | z) = Phi(a z + b)
PROBIT = {  # by y: log q(y | x), its mean by ancestral draws, mean and variance of z given y, the bound, (B), log p(x, y)
    1: (-0.5350016416, -0.7339910990, 0.8686529809, 0.4598934566, -2.3604264706, -2.0766155456, -1.8953663912),
    0: (-0.8810884875, -1.2729948355, -0.0211003410, 0.4309344089, -2.8967805742, -2.3317175864, -2.1470442435),
}


class ProbitEncoder(nn.Module):
    """q(z) q(y | z), with m and s as parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.loc, self.scale = nn.Parameter(torch.tensor(M)), nn.Parameter(torch.tensor(S))

    def forward(self, evidence: Mapping[str, Evidence], noise: Mapping[str, Tensor], knobs: Knobs) -> dict[str, Draw]:
        draw = Draws(evidence, noise, knobs)
        z = SLOPE * draw.sample("z", Normal(self.loc, self.scale, event=0)) + SHIFT
        draw.sample("y", Bernoulli(torch.special.log_ndtr(z) - torch.special.log_ndtr(-z), event=0))
        return draw.made


class ProbitDecoder(nn.Module):
    def forward(self, evidence: Mapping[str, Evidence], noise: Mapping[str, Tensor], knobs: Knobs) -> dict[str, Draw]:
        draw = Draws(evidence, noise, knobs)
        y, z = draw.sample("y", Bernoulli(0.0, event=0)), draw.sample("z", Normal(0.0, 1.0, event=0))
        draw.sample("x", Normal(z + 0.5 * y, 0.7, event=0))
        return draw.made


def probit() -> Model:
    kinds = {"y": ("supervised", Bernoulli), "z": ("latent", Normal), "x": ("observed", Normal)}
    variables = {name: Variable(role, family, ()) for name, (role, family) in kinds.items()}
    return type("Probit", (Model,), {"variables": variables, "label_term": "log_mean"})(ProbitEncoder(), ProbitDecoder())


@pytest.mark.parametrize("y", PROBIT)
def test_o5_a_probit_label(y: int) -> None:
    """Closed forms of everything about a label behind a normal variable, and of the gradient of log q(y | x)."""
    log_label, mean_log, mean, variance, bound, importance, log_joint = PROBIT[y]
    model, ([noise], log_weight) = probit(), gauss_hermite(120)
    block = Block(model.evidence({"x": torch.ones(1), "y": torch.full((1,), float(y))}), {"z": noise[:, None, None]})
    q, terms = model.infer(block, model.knobs())
    nodes, knobs = with_nodes(terms, log_weight, model.knobs(alpha=0.0))
    estimate = self_normalised(nodes, knobs, "log_mean")
    assert estimate.labels["y"].item() == near(log_label)
    assert self_normalised(nodes, knobs, "mean_log").labels["y"].item() == near(mean_log)
    moments = [(estimate.weight * q["z"].value ** power).sum().item() for power in (1, 2)]
    assert (moments[0], moments[1] - moments[0] ** 2) == (near(mean), near(variance))
    assert estimate.bound.item() == near(bound)
    ratio = terms["x"].log_p + terms["y"].log_p + terms["z"].divergence.neg()
    assert (log_weight.exp() * ratio.flatten()).sum().item() == near(importance)
    assert log_evidence(nodes).value.item() == near(log_joint)
    spread = (1 + SLOPE**2 * S**2) ** 0.5
    centre, sign = (SLOPE * M + SHIFT) / spread, 2 * y - 1
    hazard = sign * stats.norm.pdf(centre) / stats.norm.cdf(sign * centre)  # d log q(y | x) / d centre
    gradient = torch.autograd.grad(estimate.labels["y"], [model.encoder.loc, model.encoder.scale])
    assert gradient[0].item() == near(hazard * SLOPE / spread)
    assert gradient[1].item() == near(-hazard * centre * SLOPE**2 * S / spread**2)


def test_o14_a_name_decides_ties_and_nothing_else() -> None:
    """Two latents of which one can be enumerated: which one follows from the names, and the mean bound does not."""
    text = """
model: ties
variables:
  %(one)s: {distribution: categorical, categories: 2}
  %(two)s: {distribution: categorical, categories: 2}
  x: {distribution: categorical, categories: 2, role: observed}
p: {x: {parents: [%(one)s, %(two)s], network: {hidden: [4]}}}
q: {%(one)s: {parents: [x], network: {hidden: []}}, %(two)s: {parents: [x], network: {hidden: []}}}
objective: {max_cells: 2}
"""
    generator = np.random.default_rng(0)
    even, of_x = factor("", [0.5, 0.5]), [random_factor(generator, "x", 2, 2) for _ in range(2)]
    likelihood = random_factor(generator, "a b", 2, 2, 2).table
    means = []
    for one, two in (("a", "b"), ("b", "a")):
        p = {one: even, two: even, "x": factor(f"{one} {two}", likelihood)}
        q = dict(zip((one, two), of_x, strict=True))
        model = fill(spec_model(text % {"one": one, "two": two}), p, q)
        assert [name for name, kind in model.variables.items() if kind.enumerated] == ["a"]
        noise = {"b": forced(torch.arange(2).expand(1, 2), 2)}
        bound = model.estimate(Block(model.evidence({"x": torch.zeros(2)}), noise), model.knobs())[1].bound
        means.append((torch.tensor(q["b"].table[0]) * bound).sum().item())
        assert means[-1] == near(exact(p, q, {"x": 0}).bound({}, {"a": 1.0, "b": 1.0}))
    assert means[0] == near(means[1])
