"""Cells that are missing, covariates that are given, and auxiliary variables: against torch's distributions and exact sums."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from exact import Factors, exact, factor, fill, random_factor, set_table, spec_model
from scipy import stats
from test_gradients import linear
from torch import Tensor, distributions

from graphvae.compiler.lints import lint
from graphvae.compiler.pipeline import compile_text
from graphvae.runtime import Block, Evidence, Model

pytestmark = pytest.mark.usefixtures("float64")

HOLES = """
model: holes
variables:
  z: {distribution: normal}
  x: {distribution: normal, shape: [1, 3], role: observed, missing: mask}
  w: {distribution: categorical, categories: 3, shape: [2], role: observed, missing: mask}
  v: {distribution: multivariate_normal, size: 2, role: observed, missing: mask}
  n: {distribution: poisson, role: observed, missing: mask}
p:
  x: {parents: [z], network: {hidden: []}}
  w: {parents: [z], network: {hidden: []}}
  v: {parents: [z], network: {hidden: []}}
  n: {parents: [z], network: {hidden: []}}
q: {z: {parents: [x, w, v, n], network: {hidden: []}}}
objective: {%s}
"""
NAN = torch.nan
ROWS = 7


def near(value: object) -> object:
    return pytest.approx(value, rel=0, abs=1e-10)


def holes(objective: str = "samples: 3") -> Model:
    torch.manual_seed(0)
    return spec_model(HOLES % objective)


def table() -> dict[str, Tensor]:
    """Nothing missing; a pixel; all pixels; a category; half a vector; the count; everything."""
    generator = torch.Generator().manual_seed(1)
    x, v = torch.randn(ROWS, 1, 3, generator=generator), torch.randn(ROWS, 2, generator=generator)
    w, n = torch.randint(3, (ROWS, 2), generator=generator), torch.arange(ROWS).double()
    x[1, 0, 1], x[2], x[6] = NAN, NAN, NAN
    w[3, 0], w[6] = -1, -1
    v[4, 0], v[6] = NAN, NAN
    n[5], n[6] = NAN, NAN
    return {"x": x, "w": w, "v": v, "n": n}


def block_of(model: Model, values: dict[str, Tensor]) -> Block:
    return Block(model.evidence(values), model.noise(3, ROWS, torch.Generator().manual_seed(2)))


def inputs(values: dict[str, Tensor], row: int) -> dict[str, Tensor]:
    """What q sees of a row: zeros for what is missing, and ones for what is not."""
    x, w, v, n = (values[name][row] for name in "xwvn")
    whole = torch.zeros(2) if v.isnan().any() else v
    hot = torch.stack([torch.zeros(3) if k < 0 else torch.eye(3)[k] for k in w.tolist()])
    seen = {"x": x.nan_to_num(), "w": hot, "v": whole, "n": n.nan_to_num()}
    there = {"x_known": ~x.isnan(), "w_known": w >= 0, "v_known": ~v.isnan().any(), "n_known": ~n.isnan()}
    return seen | {name: mask.double() for name, mask in there.items()}


def log_likelihood(model: Model, values: dict[str, Tensor], row: int, z: Tensor) -> Tensor:
    """Log p of the cells of a row that are there, given z [sample]."""
    p, softplus = model.decoder, torch.nn.functional.softplus
    x, w, v, n = (values[name][row] for name in "xwvn")
    heads = {name: linear(getattr(p, name), z=z[:, None]) for name in "xwvn"}
    total = torch.zeros(len(z))
    for i in (~x[0].isnan()).nonzero().flatten().tolist():
        total = total + distributions.Normal(heads["x"][:, i], softplus(heads["x"][:, 3 + i]) + 1e-6).log_prob(x[0, i])
    for i in (w >= 0).nonzero().flatten().tolist():
        total = total + distributions.Categorical(logits=heads["w"][:, 3 * i : 3 * i + 3]).log_prob(w[i])
    if not v.isnan().any():
        loc, scale, below = heads["v"][:, :2], softplus(heads["v"][:, 2:4]) + 1e-6, heads["v"][:, 4:].reshape(-1, 2, 2)
        factor_of = below.tril(-1) + torch.diag_embed(scale)
        total = total + distributions.MultivariateNormal(loc, scale_tril=factor_of).log_prob(v)
    if not n.isnan():
        total = total + distributions.Poisson(softplus(heads["n"][:, 0]) + 1e-6).log_prob(n)
    return total


def row_bound(model: Model, values: dict[str, Tensor], row: int, noise: Tensor, importance: bool) -> Tensor:
    seen = {name: value.flatten() for name, value in inputs(values, row).items()}
    loc, raw = linear(model.encoder.z, **seen)
    q = distributions.Normal(loc, torch.nn.functional.softplus(raw) + 1e-6)
    z = q.loc + q.scale * noise
    ratio = log_likelihood(model, values, row, z) + distributions.Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)
    return ratio.logsumexp(0) - np.log(len(z)) if importance else ratio.mean()


def slopes(model: Model, bound: Tensor) -> list[Tensor]:
    weights = list(model.parameters())
    return list(torch.autograd.grad(bound.sum(), weights, retain_graph=True, allow_unused=True, materialize_grads=True))


@pytest.mark.parametrize("objective", ["samples: 3", "bound: importance", "bound: importance_dreg"])
def test_what_is_missing_leaves_the_likelihood(objective: str) -> None:
    """Every row's bound, and its gradient: pixels, categories, whole vectors and counts, and rows of which nothing is left."""
    model, values = holes(objective), table()
    block = block_of(model, values)
    bound = model.estimate(block, model.knobs())[1].bound
    plain = objective == "samples: 3"
    rows = [row_bound(model, values, row, block.noise["z"][:, row], not plain) for row in range(ROWS)]
    torch.testing.assert_close(bound, torch.stack(rows), rtol=0, atol=1e-12)
    if objective != "bound: importance_dreg":
        for found, right in zip(slopes(model, bound), slopes(model, torch.stack(rows)), strict=True):
            torch.testing.assert_close(found, right, rtol=0, atol=1e-11)
    assert all(gradient.isfinite().all() for gradient in slopes(model, bound))


def test_q_sees_zeros_and_what_is_there() -> None:
    model, values, seen = holes(), table(), {}
    model.encoder.z.register_forward_pre_hook(lambda network, args, kwargs: seen.update(kwargs), with_kwargs=True)
    model.infer(block_of(model, values), model.knobs())
    for row in range(ROWS):
        for name, value in inputs(values, row).items():
            torch.testing.assert_close(seen[name][row], value.reshape(seen[name][row].shape))


def test_what_stands_in_place_of_a_missing_cell_is_never_read() -> None:
    """Whatever it is, in the support: bound and gradients are the same bits."""
    model = holes()
    noise = model.noise(3, ROWS, torch.Generator().manual_seed(2))
    evidence, found = model.evidence(table()), []
    for filler in (None, 0.0, 1.0, 37.0):
        filled = dict(evidence)
        for name in "xvn" if filler is not None else "":
            value, _, cells = evidence[name]
            there = cells if cells.dim() == value.dim() else cells[..., None]
            filled[name] = Evidence(torch.where(there, value, filler), cells=cells)
        bound = model.estimate(Block(filled, noise), model.knobs())[1].bound
        found.append([bound, *slopes(model, bound)])
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


def test_a_table_without_holes_is_that_of_a_model_without_masks() -> None:
    """With the weights of the masks set to nothing; and a column that is absent is a column of holes."""
    model, values = holes(), {name: value[:1] for name, value in table().items()}
    whole = spec_model((HOLES % "samples: 3").replace(", missing: mask", ""))
    state = model.state_dict()
    state |= {name: torch.zeros_like(value) for name, value in state.items() if name.endswith("_known")}
    model.load_state_dict(state)
    whole.load_state_dict({name: value for name, value in state.items() if not name.endswith("_known")})
    one, other = (each.objective(values, 5, torch.Generator().manual_seed(3)) for each in (model, whole))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-13)
    absent = {name: value for name, value in values.items() if name != "x"}
    one, other = (
        model.objective(each, 5, torch.Generator().manual_seed(3))
        for each in (absent, {**values, "x": torch.full((1, 1, 3), NAN)})
    )
    assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["x", "w", "v", "n"])
def test_without_a_mask_a_hole_is_an_error(name: str) -> None:
    model = spec_model((HOLES % "samples: 3").replace(", missing: mask", ""))
    values = {other: value[:1].clone() for other, value in table().items()}
    model.evidence(values)
    values[name].flatten()[-1:] = -1 if name == "w" else NAN
    with pytest.raises(ValueError, match=f"'{name}' is observed and is missing in row 0"):
        model.evidence(values)


LINEAR = """
model: linear
variables:
  z: {distribution: normal}
  x: {distribution: normal, size: 3, role: observed, missing: mask}
p: {x: {parents: [z], network: {hidden: []}, parameters: {scale: 0.5}}}
q: {z: {parents: [x], network: {hidden: []}, parameters: {scale: 0.9}}}
"""
SLOPE, SHIFT, SCALE = np.array([1.0, -0.7, 1.4]), np.array([0.2, 0.0, -0.5]), 0.5
SEEN = [[1.2, np.nan, np.nan], [0.4, -1.0, np.nan], [np.nan, np.nan, np.nan], [0.3, 0.1, -0.9]]


def linear_model() -> Model:
    model = spec_model(LINEAR)
    with torch.no_grad():
        model.decoder.x.first.weight_z.copy_(torch.tensor(SLOPE)[:, None])
        model.decoder.x.first.bias.copy_(torch.tensor(SHIFT))
        model.encoder.z.first.weight_x.copy_(torch.tensor([[0.3, -0.2, 0.4]]))
        model.encoder.z.first.weight_x_known.zero_()
        model.encoder.z.first.bias.zero_()
    return model


def conditional(row: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean and covariance of a row given what is there, and log p of that, from the joint normal distribution."""
    covariance, there = np.outer(SLOPE, SLOPE) + SCALE**2 * np.eye(3), ~np.isnan(row)
    gain = covariance[:, there] @ np.linalg.inv(covariance[np.ix_(there, there)])
    mean = SHIFT + gain @ (row[there] - SHIFT[there])
    left = covariance - gain @ covariance[there]
    deviation = row[there] - SHIFT[there]
    inverse = np.linalg.inv(covariance[np.ix_(there, there)])
    log_p = -0.5 * deviation @ inverse @ deviation - 0.5 * np.linalg.slogdet(2 * np.pi * covariance[np.ix_(there, there)])[1]
    return mean, left, float(log_p)


@pytest.mark.parametrize("row", range(4))
def test_imputation_and_evidence_of_jointly_normal_cells(row: int) -> None:
    """Mean, and draws whose mean and covariance are those of the missing cells given the others."""
    model, rows, draws = linear_model(), 50, 40
    seen = np.array(SEEN[row])
    mean, covariance, log_p = conditional(seen)
    data = {"x": torch.tensor(seen).expand(rows, 3)}
    evidence = model.log_evidence(data, 2000, torch.Generator().manual_seed(row))
    assert ((evidence.value - log_p).abs() < 4 * evidence.standard_error).all()
    assert evidence.standard_error.max().item() < 0.05
    found = model.impute(data, 5000, draws, torch.Generator().manual_seed(row))["x"]
    there = torch.tensor(~np.isnan(seen))
    assert torch.equal(found.mean[:, there], data["x"][:, there])
    assert torch.equal(found.draws[..., there], data["x"][:, there].expand(draws, rows, -1))
    assert found.draws.shape == (draws, rows, 3)
    standard_error = found.mean.std(0) / rows**0.5
    assert ((found.mean.mean(0) - torch.tensor(mean)).abs() <= 4 * standard_error + 1e-12).all()
    assert standard_error.max().item() < 0.005
    drawn = found.draws.reshape(-1, 3) - torch.tensor(mean)
    count, deviation = len(drawn), np.sqrt(np.diag(covariance))
    assert (drawn.mean(0).abs().numpy() <= 4 * deviation / count**0.5 + 1e-9).all()
    spread = np.sqrt((np.outer(deviation, deviation) ** 2 + covariance**2) / count)
    assert (np.abs((drawn.T @ drawn / count).numpy() - covariance) <= 4 * spread + 1e-9).all()


PAIR = """
model: pair
variables:
  z: {distribution: bernoulli}
  x: {distribution: normal, size: 3, role: observed, missing: mask}
p: {x: {parents: [z], network: {hidden: []}, parameters: {scale: 0.5}}}
q: {z: {parents: [x], network: {hidden: []}}}
"""
JUMP = np.array([1.5, -2.0, 0.8])  # of x from z = 0, where it is SHIFT, to z = 1
POINTS = np.linspace(-3, 3, 13)


@pytest.mark.parametrize("seen", [[0.9, NAN, NAN], [NAN, NAN, -0.2], [NAN, NAN, NAN]], ids=str)
def test_every_imputed_draw_is_another_one(seen: list[float]) -> None:
    """A sum over two values and one sample: a thousand draws of the missing cells are a thousand, and follow their mixture.

    Given what is there, z has its posterior probabilities by Bayes' rule, and given z the cells are independent; so each cell,
    and two cells of a draw together, have a known distribution function.
    """
    model, draws, row = spec_model(PAIR), 1000, np.array(seen)
    assert model.variables["z"].enumerated
    with torch.no_grad():
        model.decoder.x.first.weight_z.copy_(torch.tensor(JUMP)[:, None])
        model.decoder.x.first.bias.copy_(torch.tensor(SHIFT))
    found = model.impute({"x": torch.tensor([seen, seen])}, 1, draws, torch.Generator().manual_seed(0))["x"]
    means, there = SHIFT + np.outer([0, 1], JUMP), ~np.isnan(row)
    posterior = stats.norm.pdf(row[there], means[:, there], SCALE).prod(1)
    posterior = posterior / posterior.sum()
    assert 0.05 < posterior[0] < 0.95
    cells = np.flatnonzero(~there)
    below = stats.norm.cdf(POINTS, means[:, cells, None], SCALE)  # [z, cell, point]
    for drawn in found.draws.movedim(1, 0).numpy()[..., cells]:
        under = drawn.T[..., None] <= POINTS  # [cell, draw, point]
        pairs = [(under[0] & under[1], below[:, 0] * below[:, 1]), *((under[i], below[:, i]) for i in range(len(cells)))]
        for hits, exact_shares in pairs:
            share = posterior @ exact_shares
            assert (np.abs(hits.mean(0) - share) <= 4 * np.sqrt(share * (1 - share) / draws) + 1e-9).all()
    assert len(np.unique(found.draws[..., cells])) == 2 * draws * len(cells)
    np.testing.assert_allclose(found.mean[:, cells], [posterior @ means[:, cells]] * 2, rtol=0, atol=1e-10)


def test_rows_from_p_keep_the_cells_that_are_held() -> None:
    held = torch.tensor(SEEN[:2])
    found = linear_model().sample(2, {"x": held}, torch.Generator().manual_seed(0))["x"]
    assert torch.equal(found[~held.isnan()], held[~held.isnan()])
    assert found.isfinite().all()


QUIZ = """
model: quiz
variables:
  y: {distribution: categorical, categories: 2, role: supervised}
  z: {distribution: categorical, categories: 3}
  x: {distribution: categorical, categories: 3, shape: [2], role: observed, missing: mask}
p:
  y: []
  z: {parents: [y], network: {hidden: []}}
  x: {parents: [y, z], network: {hidden: [6]}}
q:
  y: {parents: [x], network: {hidden: []}%s}
  z: {parents: [x, y], network: {hidden: [5]}%s}
"""


@pytest.mark.parametrize("drawn", [False, True])
def test_imputation_of_categories(drawn: bool) -> None:
    """Answers and a label that are missing, by a sum over everything; q is arbitrary. Summed out it is exact."""
    generator = np.random.default_rng(0)
    p_y, p_z = np.array([0.6, 0.4]), generator.dirichlet(np.ones(3), 2)
    p_x = generator.dirichlet(np.ones(3), (2, 3, 2))  # [y, z, place, answer]
    torch.manual_seed(0)
    kinds = (", gradient: score_function",) * 2 if drawn else ("", "")
    model = fill(spec_model(QUIZ % kinds), {"y": factor("", p_y), "z": factor("y", p_z)}, {})
    set_table(model.decoder.x, ("y", "z"), torch.tensor(p_x).log().flatten(2))
    rows = list(product((-1, 1), (-1, 0, 2), (-1, 2)))
    repeats, samples = (200, 500) if drawn else (400, 1)
    data = torch.tensor(rows).repeat_interleave(repeats, 0)
    found = model.impute({"y": data[:, 0], "x": data[:, 1:]}, samples, 1, torch.Generator().manual_seed(1))
    for index, (y, *answers) in enumerate(rows):
        own = slice(index * repeats, (index + 1) * repeats)
        joint = p_y[:, None] * p_z * (np.arange(2)[:, None] == y if y >= 0 else 1.0)
        for place, answer in enumerate(answers):
            joint = joint * (p_x[:, :, place, answer] if answer >= 0 else 1.0)
        joint = joint / joint.sum()
        expected = {("y", ()): joint.sum(1)}
        for place, answer in enumerate(answers):
            expected["x", (place,)] = (joint[..., None] * p_x[:, :, place]).sum((0, 1)) if answer < 0 else np.eye(3)[answer]
        for (name, place), probabilities in expected.items():
            means = found[name].mean[own][(slice(None), *place)]
            error = 4 * (means.std(0) / repeats**0.5).numpy()
            assert (np.abs(means.mean(0).numpy() - probabilities) <= error + 1e-10).all()
            assert error.max() < (0.03 if drawn else 1e-10)
            draws = found[name].draws[0, own][(slice(None), *place)]
            frequencies = np.bincount(draws, minlength=len(probabilities)) / repeats
            allowed = 4 * np.sqrt(probabilities * (1 - probabilities) / repeats)
            assert (np.abs(frequencies - probabilities) <= allowed + 1e-9).all()


GIVEN = """
model: given
variables:
  c: {distribution: categorical, categories: 2, role: given}
  y: {distribution: categorical, categories: 2, role: supervised}
  z: {distribution: categorical, categories: 3}
  x: {distribution: categorical, categories: 2, role: observed}
p:
  y: {parents: [c], network: {hidden: []}}
  z: {parents: [c, y], network: {hidden: [4]}}
  x: {parents: [y, z, c], network: {hidden: [12]}}
q:
  z: {parents: [x, c], network: {hidden: [4]}}
  y: {parents: [z, c], network: {hidden: [6]}}
objective: {label_term: %s}
"""


@pytest.mark.parametrize("label_term", ["log_mean", "mean_log"])
def test_a_covariate_of_p_and_q(label_term: str) -> None:
    """Everything is given c and nothing scores it: bounds, evidence, predictions and rows, with the label behind a latent."""
    generator = np.random.default_rng(1)
    p: Factors = {
        "y": random_factor(generator, "c", 2, 2),
        "z": random_factor(generator, "c y", 2, 2, 3),
        "x": random_factor(generator, "y z c", 2, 3, 2, 2),
    }
    q: Factors = {"z": random_factor(generator, "x c", 2, 2, 3), "y": random_factor(generator, "z c", 3, 2, 2)}
    model = fill(spec_model(GIVEN % label_term), p, q)
    rows = list(product((0, 1), (0, 1), (-1, 0, 1)))
    data = dict(zip("xcy", torch.tensor(rows).T, strict=True))
    bound, evidence = model.objective(data, knobs=model.knobs(0.7)), model.log_evidence(data)
    predicted = {by: model.predict(data, by=by) for by in ("q", "importance")}
    for index, row in enumerate(rows):
        truth = exact(p, q, {name: value for name, value in zip("xcy", row, strict=True) if value >= 0})
        assert bound[index].item() == near(truth.bound({"y": 0.7}, {"y": 1.0, "z": 1.0}, label_term))
        assert evidence.value[index].item() == near(truth.log_evidence)
        for name in "yz":
            assert predicted["q"][name][index].tolist() == near(truth.q[name].tolist())
            assert predicted["importance"][name][index].tolist() == near(truth.p[name].tolist())
    total = sum(np.exp(evidence.value[rows.index((x, 1, -1))].item()) for x in (0, 1))
    assert total == near(1.0)  # log p(x | c) is a distribution over x, and not over c
    drawn = model.sample(20_000, {"c": torch.ones(20_000, dtype=torch.long)}, torch.Generator().manual_seed(0))
    assert abs(drawn["y"].double().mean().item() - p["y"].table[1, 1]) < 4 * 0.5 / 20_000**0.5


def test_a_covariate_must_be_there() -> None:
    model = spec_model(GIVEN % "log_mean")
    with pytest.raises(ValueError, match="'c' is given and is missing in row 1"):
        model.evidence({"x": torch.zeros(2), "c": torch.tensor([0, -1])})


AUXILIARY = """
model: auxiliary
variables:
  digit: {distribution: categorical, categories: 3, role: supervised}
  style: {distribution: categorical, categories: 2}
  extra: {distribution: categorical, categories: 2}
  image: {distribution: categorical, categories: 4, role: observed}
p:
  image: {parents: [digit, style], network: {hidden: [6]}}
  extra: {parents: [digit, style], network: {hidden: [6]}}
q:
  extra: {parents: [image], network: {hidden: []}}
  digit: {parents: [image, extra], network: {hidden: [8]}}
  style: {parents: [image, digit, extra], network: {hidden: [24]}}
"""


def test_an_auxiliary_variable_makes_a_mixture_of_q() -> None:
    """It has no observed descendant, and p of the rest is what it was; no warning either. Both bounds are exact sums."""
    assert lint(compile_text(AUXILIARY, "auxiliary.yaml").graph) == []
    generator = np.random.default_rng(2)
    even = {"digit": factor("", np.full(3, 1 / 3)), "style": factor("", [0.5, 0.5])}
    p: Factors = even | {
        "image": random_factor(generator, "digit style", 3, 2, 4),
        "extra": random_factor(generator, "digit style", 3, 2, 2),
    }
    q: Factors = {
        "extra": random_factor(generator, "image", 4, 2),
        "digit": random_factor(generator, "image extra", 4, 2, 3),
        "style": random_factor(generator, "image digit extra", 4, 3, 2, 2),
    }
    model = fill(spec_model(AUXILIARY), p, q)
    rows = list(product(range(4), (-1, 0, 2)))
    data = dict(zip(("image", "digit"), torch.tensor(rows).T, strict=True))
    bound, evidence, by_q = model.objective(data), model.log_evidence(data), model.predict(data, by="q")
    without = {name: each for name, each in p.items() if name != "extra"}
    plain = {"digit": factor("", [1 / 3] * 3), "style": factor("", [0.5, 0.5])}
    for index, (image, digit) in enumerate(rows):
        known = {"image": image} | ({"digit": digit} if digit >= 0 else {})
        truth = exact(p, q, known)
        assert bound[index].item() == near(truth.bound({"digit": 1.0}, dict.fromkeys(q, 1.0)))
        assert evidence.value[index].item() == near(exact(without, plain, known).log_evidence)
        assert by_q["digit"][index].tolist() == near(truth.q["digit"].tolist())
