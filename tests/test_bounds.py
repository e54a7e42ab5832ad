"""The importance bound and its doubly reparameterised gradient, closed forms of the divergence, and weights that change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import log

import numpy as np
import pytest
import test_gradients as gradients
import test_oracles_discrete as discrete
import test_oracles_gaussian as gaussian
import test_oracles_mixture as mixture
import torch
from exact import (
    Factors,
    all_draws,
    gauss_hermite,
    random_factor,
    set_linear,
    spec_model,
    table_model,
    unpositive,
    with_nodes,
)
from torch import Tensor
from torch.distributions import Normal

from graphvae.compiler.errors import SpecError
from graphvae.compiler.gradients import divergence
from graphvae.compiler.pipeline import compile_text
from graphvae.compiler.spec import Schedule
from graphvae.lab.schedules import all_at, at
from graphvae.runtime import Block, Model
from graphvae.runtime.objectives import importance, log_evidence, report, self_normalised

pytestmark = pytest.mark.usefixtures("float64")

LABEL_TERMS = ("log_mean", "mean_log")
SCORED = "score_function"


def near(value: object) -> object:
    return pytest.approx(value, rel=0, abs=1e-10)


# The importance bound.


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize("y", [0, 1])
def test_o1_the_mean_of_the_importance_bound(y: int, samples: int) -> None:
    """With the label: its table, by every tuple of draws; alpha adds the label term of its own."""
    model = discrete.by_hand(discrete.BEHIND)
    block, probability = all_draws(model, discrete.BEHIND, ["z"], discrete.ROW | {"y": y}, samples)
    terms = model.infer(block, model.knobs())[1]
    for label_term, of_label in (("log_mean", discrete.LOG_MEAN[y][samples - 1]), ("mean_log", discrete.MEAN_LOG[y])):
        for alpha in (0.0, 1.0):
            bound = importance(terms, model.knobs(alpha=alpha), label_term).bound
            expected = discrete.IMPORTANCE[y][samples - 1] + alpha * of_label
            assert (probability * bound).sum().item() == pytest.approx(expected, rel=0, abs=2e-10)


def test_o2_the_bound_without_the_label_and_the_sum_over_it_outside_of_the_logarithm() -> None:
    """Draws of their own in each cell; it rises from the bound of one sample towards log p(x) - KL(q(y | x) || p(y | x))."""
    model, worlds = gradients.small(discrete.FIRST, SCORED, "enumerate", bound="importance")
    means = []
    for samples in (1, 2):
        block, probability = worlds.block(model, [discrete.ROW], samples)
        bound = importance(model.infer(block, model.knobs())[1], model.knobs(), "log_mean").bound
        means.append((probability * bound).sum().item())
    assert means == near([discrete.ELBO, -1.7190047999363])
    label = np.array([0.51, 0.49])
    true_label = np.exp(np.array(discrete.LOG_JOINT) - discrete.LOG_EVIDENCE)
    limit = discrete.LOG_EVIDENCE - (label * np.log(label / true_label)).sum()
    assert means[0] < means[1] < limit < discrete.LOG_EVIDENCE


@pytest.mark.parametrize("label_term", LABEL_TERMS)
@pytest.mark.parametrize("known", [{}, {"y": 0}])
@pytest.mark.parametrize(
    ("q", "z", "y"), [("first", SCORED, "enumerate"), ("first", SCORED, SCORED), ("behind", SCORED, SCORED)]
)
def test_a_score_function_gradient_of_the_importance_bound_has_no_bias(
    q: str, z: str, y: str, known: dict[str, int], label_term: str
) -> None:
    tables = discrete.BEHIND if q == "behind" else discrete.FIRST
    model, worlds = gradients.small(tables, z, y, label_term, bound="importance")
    worlds = replace(worlds, alpha=0.7, beta={"y": 0.5, "z": 1.5})
    for samples in (2, 3):
        gradients.assert_unbiased(model, worlds, [discrete.ROW | known], samples)


@pytest.mark.parametrize("label_term", LABEL_TERMS)
@pytest.mark.parametrize("enumerated", ["", "a"])
def test_one_sample_is_the_self_normalised_bound(enumerated: str, label_term: str) -> None:
    """Row by row, whichever labels are known, at any alpha and beta; an enumerated variable stands first."""
    model, block = first_enumerated(enumerated, 1)
    terms = model.infer(block, model.knobs())[1]
    knobs = model.knobs({"a": 0.7, "b": 2.0}, {"a": 0.5, "b": 0.5, "z": 1.5})
    # A label behind an enumerated variable weighs its cells in one bound and not in the other.
    same = ~block.evidence["b"].known | block.evidence["a"].known | (not enumerated)
    one, other = (objective(terms, knobs, label_term).bound for objective in (importance, self_normalised))
    torch.testing.assert_close(one[same], other[same], rtol=0, atol=1e-13)


def first_enumerated(enumerated: str, samples: int) -> tuple[Model, Block]:
    """Labels a and b around z, in q's order a, z, b, and rows in which any of the labels may be missing."""
    generator = np.random.default_rng(samples)
    p: Factors = {
        "a": random_factor(generator, "", 2),
        "z": random_factor(generator, "a", 2, 3),
        "b": random_factor(generator, "z", 3, 2),
        "x": random_factor(generator, "a z b", 2, 3, 2, 50),
    }
    q: Factors = {
        "a": random_factor(generator, "x", 50, 2),
        "z": random_factor(generator, "x a", 50, 2, 3),
        "b": random_factor(generator, "x a z", 50, 2, 3, 2),
    }
    model = table_model(p, q, labels="a b", enumerated=enumerated)
    rows = {n: torch.tensor(generator.integers(low, high, 2000)) for n, low, high in (("x", 0, 50), ("a", -1, 2), ("b", -1, 2))}
    return model, model.block(rows, samples, torch.Generator().manual_seed(samples))


@pytest.mark.parametrize("samples", [2, 8])
def test_o15_the_order_of_the_bounds(samples: int) -> None:
    """Row by row: mean-log below log-mean below importance, and that below log p with values summed inside of the logarithm."""
    model, block = first_enumerated("", samples)
    terms = model.infer(block, model.knobs())[1]
    knobs = model.knobs(alpha=0.0)
    lowest, middle = (self_normalised(terms, knobs, label_term).bound for label_term in LABEL_TERMS[::-1])
    highest = importance(terms, knobs, "log_mean").bound
    assert (lowest - middle).max().item() < 1e-13
    assert (middle - highest).max().item() < 1e-13
    assert (highest - middle).max().item() > 0.1
    torch.testing.assert_close(highest, log_evidence(terms).value, rtol=0, atol=1e-13)
    model, block = first_enumerated("a", samples)
    terms = model.infer(block, model.knobs())[1]
    inside, outside = log_evidence(terms).value, importance(terms, model.knobs(alpha=0.0), "log_mean").bound
    assert (outside - inside).max().item() < 1e-13
    assert (inside - outside).max().item() > 0.1


def test_a_variable_below_a_draw_is_not_summed_under_the_importance_bound() -> None:
    model = discrete.by_hand(discrete.BEHIND, "y")
    terms = model.infer(model.block({"x": torch.zeros(3)}, 2, None), model.knobs())[1]
    with pytest.raises(ValueError, match="below a draw"):
        importance(terms, model.knobs(), "log_mean")
    with pytest.raises(SpecError, match="GV110"):
        gradients.small(discrete.BEHIND, SCORED, "enumerate", bound="importance")
    text = gradients.SMALL % (
        "z: {gradient: score_function}, y: {parents: [z], network: {hidden: []}}",
        "importance",
        "log_mean",
    )
    assert not spec_model(text).variables["y"].enumerated  # what is not written, the rule gets right


LAYERS = """
model: layers
variables:
  k: {distribution: categorical, categories: 2, role: supervised}
  y: {distribution: normal, role: supervised}
  z: {distribution: normal}
  x: {distribution: normal, role: observed}
p:
  z: {parents: [y, k], network: {hidden: []}, parameters: {scale: 0.8}}
  x: {parents: [z], network: {hidden: []}, parameters: {scale: 0.7}}
q:
  k: {parents: [x], network: {hidden: []}}
  z: {parents: [x, k], network: {hidden: []}}
  y: {parents: [z], network: {hidden: []}}
objective: {bound: %s, label_term: %s}
"""
X = 0.9
PATTERNS = [{}, {"k": 1}, {"y": 0.3}, {"k": 0, "y": 0.3}]


def layers(bound: str, label_term: str = "log_mean") -> Model:
    """A label that is enumerated above a draw, and one behind it that is drawn where it is not known."""
    model = spec_model(LAYERS % (bound, label_term))
    set_linear(model.decoder.z, loc={"y": 0.8, "bias": 0.1})
    set_linear(model.decoder.x, loc={"z": 1.0})
    set_linear(model.encoder.k, zero={"x": 0.5}, one={"bias": -0.3})
    set_linear(model.encoder.z, loc={"x": 0.5}, scale={"bias": unpositive(0.6)})
    set_linear(model.encoder.y, loc={"z": 0.5, "bias": -0.1}, scale={"bias": unpositive(0.7, 0.01)})
    with torch.no_grad():
        model.decoder.z.first.weight_k.copy_(torch.tensor([[0.4, -0.5]]))
        model.encoder.z.first.weight_k.copy_(torch.tensor([[0.3, -0.2], [0.1, -0.1]]))
    return model


def layered_block(model: Model, known: Mapping[str, float], noise: Mapping[str, Tensor]) -> Block:
    rows = noise["z"].shape[1]
    table = {name: torch.full((rows,), value) for name, value in ({"x": X} | dict(known)).items()}
    return Block(model.evidence(table), dict(noise))


def layered_bound(model: Model, known: Mapping[str, float], noise: Mapping[str, Tensor], label_term: str) -> Tensor:
    """B of every row with alpha 0.5 and beta 1.5 of z, by torch's own distributions, [row]."""
    p, q, linear = model.decoder, model.encoder, gradients.linear
    x, (samples, rows) = torch.tensor([X]), noise["z"].shape
    values = range(2) if "k" not in known else [known["k"]]
    log_k = linear(q.k, x=x).log_softmax(0)
    log_ratio, log_y = [], []
    for k in values:
        hot = torch.eye(2)[k]
        loc, raw = linear(q.z, x=x, k=hot)
        of_z = Normal(loc, torch.nn.functional.softplus(raw) + 1e-6)
        z = loc + of_z.scale * noise["z"]
        of_y = linear(q.y, z=z.unsqueeze(-1))
        of_y = Normal(of_y[..., 0], torch.nn.functional.softplus(of_y[..., 1]) + 0.01)
        y = of_y.loc + of_y.scale * noise["y"] if "y" not in known else torch.full((samples, rows), known["y"])
        prior_z = Normal(linear(p.z, y=y.unsqueeze(-1), k=hot)[..., 0], 0.8).log_prob(z)
        likelihood = Normal(linear(p.x, z=z.unsqueeze(-1))[..., 0], 0.7).log_prob(x)
        ratio = likelihood + 1.5 * (prior_z - of_z.log_prob(z)) + Normal(0.0, 1.0).log_prob(y) - log(2)
        log_ratio.append(ratio - (of_y.log_prob(y) if "y" not in known else 0.0))
        log_y.append(of_y.log_prob(y))
    means = torch.stack(log_ratio).logsumexp(1) - log(samples)
    log_weight = torch.zeros(1) if "k" in known else log_k
    bound = (log_weight.exp()[:, None] * (means - log_weight[:, None])).sum(0)
    if "k" in known:
        bound = bound + 0.5 * log_k[known["k"]]
    if "y" in known:
        weighed = log_weight[:, None, None] + torch.stack(log_y)
        log_mean = weighed.logsumexp((0, 1)) - log(samples)
        mean_log = (log_weight.exp()[:, None, None] * torch.stack(log_y)).sum((0, 1)) / samples
        bound = bound + 0.5 * (log_mean if label_term == "log_mean" else mean_log)
    return bound


def slopes(model: Model, mean: Tensor) -> Tensor:
    """The derivatives of a number in every weight, in one vector."""
    found = torch.autograd.grad(mean, list(model.parameters()), allow_unused=True, materialize_grads=True)
    return torch.cat([each.flatten() for each in found])


@pytest.mark.parametrize("label_term", LABEL_TERMS)
@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("known", PATTERNS, ids=str)
def test_the_importance_bound_and_its_plain_gradient(known: dict[str, float], samples: int, label_term: str) -> None:
    """At any noise; the doubly reparameterised form has the same value, and the same gradient in p."""
    noise = {name: torch.randn(samples, 6, generator=torch.Generator().manual_seed(i)) for i, name in enumerate("zy")}
    found = {}
    for bound in ("importance", "importance_dreg"):
        model = layers(bound, label_term)
        knobs = model.knobs(alpha=0.5, beta={"k": 1.0, "y": 1.0, "z": 1.5})
        value = model.estimate(layered_block(model, known, noise), knobs)[1].bound
        expected = layered_bound(model, known, noise, label_term)
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)
        found[bound] = model, slopes(model, value.sum()), slopes(model, expected.sum())
    (model, plain, right), (_, doubly, _) = found.values()
    torch.testing.assert_close(plain, right, rtol=0, atol=1e-11)
    of_q = sum(parameter.numel() for parameter in model.encoder.parameters())
    torch.testing.assert_close(doubly[of_q:], right[of_q:], rtol=0, atol=1e-11)
    assert (doubly[:of_q] - right[:of_q]).abs().max() > 0.01


@pytest.mark.parametrize("beta", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("known", PATTERNS, ids=str)
def test_the_doubly_reparameterised_gradient_has_the_same_mean(known: dict[str, float], samples: int, beta: float) -> None:
    """By quadrature over the noise of all samples: below an enumerated label, through two layers, a label behind a draw."""
    unknown = [name for name in "zy" if name not in known]
    nodes, log_weight = gauss_hermite(20 if len(unknown) == 2 else 80, samples * len(unknown))
    noise = {name: torch.zeros(samples, len(log_weight)) for name in "zy"}
    for index, name in enumerate(unknown):
        noise[name] = torch.stack(nodes[index * samples : (index + 1) * samples])
    means = {}
    for bound in ("importance", "importance_dreg"):
        model = layers(bound)
        value = model.estimate(layered_block(model, known, noise), model.knobs(alpha=0.5, beta=beta))[1].bound
        means[bound] = slopes(model, (log_weight.exp() * value).sum())
    torch.testing.assert_close(means["importance_dreg"], means["importance"], rtol=0, atol=1e-8)


@pytest.mark.parametrize("bound", ["importance", "importance_dreg"])
def test_a_mixed_block_or_a_block_for_each_pattern(bound: str) -> None:
    """In value and in gradient, with labels that are drawn where they are not known."""
    model, rows, generator = layers(bound), 5, torch.Generator().manual_seed(0)
    noise = {name: torch.randn(3, 4 * rows, generator=generator) for name in "zy"}
    table = {
        "x": torch.full((4 * rows,), X),
        "k": torch.tensor([known.get("k", -1) for known in PATTERNS]).repeat_interleave(rows),
        "y": torch.tensor([known.get("y", torch.nan) for known in PATTERNS]).repeat_interleave(rows),
    }
    together = model([Block(model.evidence(table), noise)], model.knobs(alpha=0.5)).bound
    own = [{name: value[:, i * rows : (i + 1) * rows] for name, value in noise.items()} for i in range(4)]
    apart = model(
        [layered_block(model, known, n) for known, n in zip(PATTERNS, own, strict=True)], model.knobs(alpha=0.5)
    ).bound
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-12)
    torch.testing.assert_close(slopes(model, together.sum()), slopes(model, apart.sum()), rtol=0, atol=1e-11)


BESIDE = """
model: beside
variables:
  k: {distribution: categorical, categories: 2, role: supervised}
  z: {distribution: normal, shape: [1, 2]}
  x: {distribution: normal, size: 2, role: observed}
p: {x: {parents: [z, k], network: {hidden: []}, parameters: {scale: 2.0}}}
q:
  trunk: {parents: [x], network: {hidden: [3], activation: tanh}}
  k: {parents: [trunk], network: {hidden: []}}
  z: {parents: [trunk], network: {hidden: []}}
objective: {bound: %s}
"""


def test_the_doubly_reparameterised_gradient_of_a_vector_beside_an_enumerated_label() -> None:
    """The draw has no axis for the label, and its weights have one; the label known in some rows of the block."""
    nodes, log_weight = gauss_hermite(12, 4)
    rows = len(log_weight)
    noise = torch.stack(nodes, -1).reshape(rows, 2, 1, 2).movedim(1, 0).repeat(1, 3, 1, 1)
    table = {"x": torch.tensor([0.4, -1.0]).expand(3 * rows, 2), "k": torch.tensor([-1, 0, 1]).repeat_interleave(rows)}
    means = []
    for bound in ("importance", "importance_dreg"):
        torch.manual_seed(0)
        model = spec_model(BESIDE % bound)
        with torch.no_grad():  # q(z) about as wide as p(z | x): the quadrature converges fast
            model.encoder.z.first.bias[2:] = unpositive(0.95)
            model.encoder.z.first.weight_trunk[2:] *= 0.1
        value = model.estimate(Block(model.evidence(table), {"z": noise}), model.knobs(alpha=0.5))[1].bound
        means.append(slopes(model, (log_weight.exp().repeat(3) * value).sum()))
    torch.testing.assert_close(means[1], means[0], rtol=0, atol=1e-8)


@pytest.mark.parametrize("samples", [8, 64])
def test_the_doubly_reparameterised_gradient_varies_less(samples: int) -> None:
    """Row by row, in the locations that q's networks give; and in the mean over many rows it is the plain one."""
    generator, rows = torch.Generator().manual_seed(samples), 4000
    noise = {name: torch.randn(samples, rows, generator=generator) for name in "zy"}
    found = {}
    for bound in ("importance", "importance_dreg"):
        model, heads = layers(bound), []
        for network in (model.encoder.z, model.encoder.y):
            network.register_forward_hook(lambda network, inputs, output, heads=heads: heads.append(output[0]))
        value = model.estimate(layered_block(model, {}, noise), model.knobs())[1].bound
        found[bound] = torch.stack([each.flatten(0, -2).sum(0) for each in torch.autograd.grad(value.sum(), heads[:2])])
    plain, doubly = found.values()
    standard_error = (plain - doubly).std(1) / rows**0.5
    assert ((plain - doubly).mean(1).abs() < 4 * standard_error).all()
    assert (doubly.var(1) < plain.var(1) / 2).all()


def test_running_statistics_are_updated_once() -> None:
    """Q is passed through twice, and the second pass is no new batch."""
    torch.manual_seed(0)
    text = (LAYERS % ("importance_dreg", "log_mean")).replace(
        "y: {parents: [z], network: {hidden: []}}", "y: {parents: [z], network: {hidden: [4], normalisation: batch}}"
    )
    model = spec_model(text).train()
    norm = model.encoder.y.body[0]
    before = {name: value.clone() for name, value in norm.named_buffers()}
    block = model.block({"x": torch.linspace(-1, 1, 50)}, 3, torch.Generator().manual_seed(0))
    q, _ = model.infer(block, model.knobs())
    features = gradients.linear(model.encoder.y, z=q["z"].value.unsqueeze(-1)).flatten(0, -2)
    norm.load_state_dict(before, strict=False)
    model.estimate(block, model.knobs())
    assert norm.num_batches_tracked.item() == 1
    torch.testing.assert_close(norm.running_mean, 0.1 * features.mean(0))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * features.var(0))


# Log q - log p in closed form.

CLOSED = "log_mean, kl: closed"  # in place of a label term


def test_o3_the_divergence_in_closed_form_and_where_a_label_weighs_it() -> None:
    """.2708 in a row without the label behind; with it the divergence is under q(z | x, y), and .2582."""
    closed_form = -log(0.6) + (0.36 + 0.16 - 1) / 2
    a, b, variance = -0.5, 0.7, 0.2304  # q(y | z) = N(a z + b, .16), q(z | x, y) = N(.184, .2304)
    mean = variance * (0.4 / 0.36 + a * (gaussian.Y - b) / 0.16)
    weighted = -log(0.6) - ((mean - 0.4) ** 2 + variance) / 0.72 + (mean**2 + variance) / 2
    assert (closed_form, weighted) == (pytest.approx(0.2708, abs=5e-5), pytest.approx(0.2582, abs=5e-5))
    for kl in ("log_mean", CLOSED):
        for known, expected in (({}, closed_form), ({"y": gaussian.Y}, weighted)):
            terms, estimate = gaussian.quadrature(gaussian.gaussian(kl), alpha=1.0, **known)
            assert report(terms, estimate)["kl.z"].item() == near(expected)
            assert (terms["z"].kl is not None) == (kl == CLOSED and not known)
            assert estimate.bound.item() == near(gaussian.BOUND + gaussian.LOG_LABEL if known else gaussian.ELBO)


def mixture_bounds(kl: str, samples: int | None) -> Tensor:
    """The bound of every pattern of labels, [pattern, repeat]: by quadrature, or by so many samples."""
    model = mixture.mixture(kl)
    patterns = [{}, {"kind": 1.0}, {"size": 0.9}, {"kind": 0.0, "size": -0.3}]
    repeats = 1 if samples is None else 4000
    table = {
        "x": torch.full((4,), mixture.X),
        "kind": torch.tensor([int(known.get("kind", -1)) for known in patterns]),
        "size": torch.tensor([known.get("size", torch.nan) for known in patterns]),
    }
    table = {name: value.repeat_interleave(repeats) for name, value in table.items()}
    knobs = model.knobs({"kind": 0.7, "size": 2.0}, {"kind": 0.5, "size": 0.5, "z": 1.5})
    if samples is not None:
        block = model.block(table, samples, torch.Generator().manual_seed(0))
        return model.estimate(block, knobs)[1].bound.reshape(4, repeats)
    (z, size), log_weight = gauss_hermite(40, 2)
    noise = {name: nodes[:, None, None, None] for name, nodes in (("z", z), ("size", size))}
    terms, knobs = with_nodes(model.infer(Block(model.evidence(table), noise), knobs)[1], log_weight, knobs)
    return self_normalised(terms, knobs, "log_mean").bound.reshape(4, 1)


def test_the_closed_form_leaves_the_expectation_and_takes_variance() -> None:
    """All patterns of labels in one block: z is below an enumerated label and above one of which the row may know the value.

    At one sample both bounds differ by what the draw adds to the divergence; a row that knows the label behind is the same.
    """
    torch.testing.assert_close(mixture_bounds(CLOSED, None), mixture_bounds("log_mean", None), rtol=0, atol=1e-10)
    sampled, closed = mixture_bounds("log_mean", 1), mixture_bounds(CLOSED, 1)
    assert (closed[:2].var(1) < 0.8 * sampled[:2].var(1)).all()
    assert torch.equal(closed[2:], sampled[2:])


BELOW = """
model: below
variables:
  top: {distribution: normal}
  code: {distribution: normal}
  x: {distribution: normal, role: observed}
p:
  code: {parents: [top], network: {hidden: []}, parameters: {scale: 0.8}}
  x: {parents: [code], network: {hidden: []}, parameters: {scale: 0.5}}
q:
  code: {parents: [x], network: {hidden: []}, parameters: {scale: 0.6}}
  top: {parents: [code], network: {hidden: []}, parameters: {scale: 0.7}}
objective: {kl: %s}
"""


def test_no_closed_form_below_a_parent_of_p() -> None:
    """Top stands below code in q and above it in p: given top, code does not follow q(code | x).

    The bound is that of jointly normal variables; the divergence at the drawn top would give another number.
    """
    scale, tail, x, found = 0.6, 0.7, 1.0, {}
    for kl in ("sampled", "closed"):
        model = spec_model(BELOW % kl)
        set_linear(model.decoder.code, loc={"top": 2.0})
        set_linear(model.decoder.x, loc={"code": 1.0})
        set_linear(model.encoder.code, loc={"x": 0.7})
        set_linear(model.encoder.top, loc={"code": 0.6})
        (code, top), log_weight = gauss_hermite(30, 2)
        block = Block(model.evidence({"x": torch.tensor([x])}), {"code": code[:, None, None], "top": top[:, None, None]})
        terms, knobs = with_nodes(model.infer(block, model.knobs())[1], log_weight, model.knobs())
        found[kl] = report(terms, self_normalised(terms, knobs, "log_mean"))["kl.code"].item()
        assert model.closed_kl == ({} if kl == "sampled" else {"top": ()})
    first, slope, spread = 0.7 * x, 1 - 2 * 0.6, 2 * tail  # code - 2 top = slope code - spread noise
    at_the_code = (slope * first) ** 2 + (slope * scale) ** 2 + spread**2  # the mean of (code - 2 top)^2 under q
    at_another = (slope * first) ** 2 + scale**2 + (2 * 0.6 * scale) ** 2 + spread**2  # with a code that knows nothing of top
    right, wrong = (-log(scale) + log(0.8) - 0.5 + square / (2 * 0.64) for square in (at_the_code, at_another))
    assert found == {"sampled": near(right), "closed": near(right)}
    assert wrong - right > 0.5
    graph = compile_text(BELOW % "closed", "below.yaml").graph
    assert divergence(graph, "code").why == "its parent in p, top, stands below it in q"


def test_where_the_compiler_allows_a_closed_form() -> None:
    """Only of a draw, of families that have one, in the self-normalised bound; of a relaxed draw without being asked."""

    def closed(spec: str) -> Mapping[str, tuple[str, ...]]:
        return spec_model(spec).closed_kl

    assert closed(mixture.MIXTURE % CLOSED) == {"z": ("size",), "size": ()}
    assert closed(mixture.MIXTURE % "log_mean") == {}
    assert closed(mixture.MIXTURE % "log_mean, bound: importance, kl: closed") == {}
    assert closed(gradients.SWITCH % ("bernoulli", "enumerate", "kl: closed")) == {}
    assert closed(gradients.SWITCH % ("bernoulli", SCORED, "kl: closed")) == {"z": ()}
    assert closed(gradients.SWITCH % ("bernoulli", SCORED, "kl: sampled")) == {}
    assert closed(gradients.SWITCH % ("bernoulli", "straight_through", "kl: sampled")) == {"z": ()}
    assert closed(gradients.SWITCH % ("bernoulli", "concrete", "kl: sampled")) == {"z": ()}
    assert closed(gradients.SWITCH % ("bernoulli", "concrete", "kl: closed, bound: importance")) == {}
    assert closed(gradients.RELAXED % "log_mean") == {"y": ("w",), "s": ("w",)}
    assert closed(gradients.BENEATH % "self_normalised") == {"top": ()}
    no_form = gaussian.SPEC.replace("z: {distribution: normal}", "z: {distribution: logistic}")
    assert closed(no_form % ("0.6", CLOSED)) == {"y": ()}


@pytest.mark.parametrize("y", ["enumerate", SCORED])
def test_a_score_function_gradient_with_the_closed_form_has_no_bias(y: str) -> None:
    """The divergence passes its own gradient on, and log p(x | ...) that of the draw."""
    model, worlds = gradients.small(discrete.FIRST, SCORED, y, "log_mean, kl: closed")
    assert model.closed_kl == ({"z": ()} if y == "enumerate" else {"y": (), "z": ()})
    worlds = replace(worlds, label_term="log_mean", beta={"y": 1.0, "z": 0.5})
    gradients.assert_unbiased(model, worlds, [discrete.ROW], samples=2)
    gradients.assert_unbiased(model, worlds, [discrete.ROW | {"y": 1}], samples=2)


# Weights that change with the step.


def test_schedules() -> None:
    """By hand: the way from 2 to 4 in 8 steps, and what is after it."""
    steps = (0, 2, 4, 6, 8, 9, 16, 17)

    def numbers(kind: str) -> list[float]:
        schedule = Schedule(schedule=kind, **{"from": 2.0}, **({} if kind == "constant" else {"to": 4.0, "steps": 8}))
        return [at(schedule, step) for step in steps]

    assert numbers("constant") == [2.0] * 8
    assert numbers("linear") == [2.0, 2.5, 3.0, 3.5, 4.0, 4.0, 4.0, 4.0]
    half = 0.5**0.5
    assert numbers("cosine") == near([2.0, 3 - half, 3.0, 3 + half, 4.0, 4.0, 4.0, 4.0])
    assert numbers("cyclic") == [2.0, 3.0, 4.0, 4.0, 2.0, 2.5, 2.0, 2.5]
    down = Schedule(schedule="linear", **{"from": 1.0}, to=0.5, steps=2)
    assert all_at({"a": down, "b": 3.0}, 1) == {"a": 0.75, "b": 3.0}
    assert (all_at(down, 5), all_at(2.0, 5)) == (0.5, 2.0)
