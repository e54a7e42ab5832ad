"""Honest labels: a missing one reaches neither a value nor a gradient, a leak is NaN, and rows know nothing of each other."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from exact import Factors, exact, factor, spec_model, table_model
from torch import Tensor

from graphvae.runtime import Block, Categorical, Evidence, Model

pytestmark = pytest.mark.usefixtures("float64")

SPEC = """
model: labels_of_every_family
variables:
  kind: {distribution: categorical, categories: 3, role: supervised}
  angle: {distribution: normal, size: 2, role: supervised}
  flag: {distribution: bernoulli, role: supervised}
  share: {distribution: continuous_bernoulli, shape: [1, 2], role: supervised}
  style: {distribution: normal, size: 2}
  image: {distribution: normal, shape: [1, 2, 2], role: observed}
p:
  angle: {parents: [kind], network: {hidden: []}}
  image: {parents: [kind, angle, flag, share, style], network: {hidden: [7]}}
q:
  style: {parents: [image], network: {hidden: [5]}}
  kind: {parents: [image, style], network: {hidden: [5]}}
  angle: {parents: [image, kind], network: {hidden: [5]}}
  flag: {parents: [style, angle], network: {hidden: []}}
  share: {parents: [flag, kind, style], network: {hidden: [5]}}
objective: {label_term: %s}
"""
LABEL_TERMS = ("log_mean", "mean_log")
LABELS = ("kind", "angle", "flag", "share")
KNOWN = torch.tensor(list(product((True, False), repeat=len(LABELS))))  # [row, label]: every subset
ROWS = len(KNOWN)


def model_of(label_term: str = "log_mean") -> Model:
    torch.manual_seed(0)
    return spec_model(SPEC % label_term)


def table() -> dict[str, Tensor]:
    """A row for every subset of the labels; a missing one is NaN, or -1 where it is a category."""
    generator = torch.Generator().manual_seed(1)
    full = {
        "kind": torch.randint(3, (ROWS,), generator=generator),
        "angle": torch.randn(ROWS, 2, generator=generator),
        "flag": torch.randint(2, (ROWS,), generator=generator).double(),
        "share": torch.rand(ROWS, 1, 2, generator=generator),
    }
    image = {"image": torch.randn(ROWS, 1, 2, 2, generator=generator)}
    return image | {name: hide(value, KNOWN[:, i]) for i, (name, value) in enumerate(full.items())}


def hide(value: Tensor, known: Tensor) -> Tensor:
    missing = torch.nan if value.is_floating_point() else -1
    return torch.where(known.reshape(-1, *(1,) * (value.dim() - 1)), value, missing)


def some(values: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    return {name: value[rows] for name, value in values.items()}


def noise_of(model: Model, rows: int = ROWS) -> dict[str, Tensor]:
    return model.noise(3, rows, torch.Generator().manual_seed(2))


def gradients(model: Model, bound: Tensor) -> dict[str, Tensor]:
    """The gradient of the summed bound by parameter; zero where it does not reach."""
    named = dict(model.named_parameters())
    found = torch.autograd.grad(bound.sum(), list(named.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(named, found, strict=True))


@pytest.mark.parametrize("label_term", LABEL_TERMS)
def test_missing_labels_leave_value_and_gradients_finite(label_term: str) -> None:
    model = model_of(label_term)
    bound = model([Block(model.evidence(table()), noise_of(model))], model.knobs()).bound
    assert bound.isfinite().all()
    found = gradients(model, bound)
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert all(gradient.abs().sum() > 0 for gradient in found.values())


@pytest.mark.parametrize("label_term", LABEL_TERMS)
def test_a_mixed_block_equals_a_block_for_each_row(label_term: str) -> None:
    """In value and in gradient, for every subset of labels of every family."""
    model, values = model_of(label_term), table()
    noise = noise_of(model)
    mixed = model([Block(model.evidence(values), noise)], model.knobs())
    rows = torch.arange(ROWS).split(1)
    apart = model(
        [Block(model.evidence(some(values, row)), {n: v[:, row] for n, v in noise.items()}) for row in rows], model.knobs()
    )
    torch.testing.assert_close(mixed.bound, apart.bound, rtol=0, atol=1e-10)
    together, alone = gradients(model, mixed.bound), gradients(model, apart.bound)
    for name in together:
        torch.testing.assert_close(together[name], alone[name], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("label_term", LABEL_TERMS)
def test_what_stands_in_place_of_a_missing_label_is_never_read(label_term: str) -> None:
    model = model_of(label_term)
    evidence = model.evidence(table())
    found = []
    for filler in (torch.nan, torch.inf, 1e6, 0.0):
        filled = dict(evidence)
        for name in LABELS:
            value, known, _ = evidence[name]
            filled[name] = Evidence(torch.where(value.isnan(), filler, value), known)
        bound = model([Block(filled, noise_of(model))], model.knobs()).bound
        found.append((bound, gradients(model, bound)))
    for bound, gradient in found[1:]:
        assert torch.equal(bound, found[0][0])
        assert all(torch.equal(gradient[name], found[0][1][name]) for name in gradient)


@pytest.mark.parametrize("label_term", LABEL_TERMS)
@pytest.mark.parametrize("leaked", LABELS)
@pytest.mark.parametrize("mask", ["tensor", "none"])
def test_a_leak_is_nan_and_never_a_better_number(leaked: str, label_term: str, mask: str) -> None:
    """The values of one label are used as if all were known."""
    model = model_of(label_term)
    evidence, known = model.evidence(table()), KNOWN[:, LABELS.index(leaked)]
    noise = noise_of(model)
    honest = model([Block(evidence, noise)], model.knobs(alpha=0.0))
    leak = Evidence(evidence[leaked].value, torch.ones(ROWS, dtype=torch.bool) if mask == "tensor" else None)
    found = model([Block({**evidence, leaked: leak}, noise)], model.knobs(alpha=0.0))
    assert found.bound[~known].isnan().all()
    torch.testing.assert_close(found.bound[known], honest.bound[known], rtol=0, atol=1e-10)
    assert found.parts[f"label.{leaked}"][~known].isnan().all()


def test_a_missing_category_is_nan_inside_the_model() -> None:
    encoded = Categorical.encode(torch.tensor([2, -1]), (3,), torch.float64)
    torch.testing.assert_close(encoded, torch.tensor([[0.0, 0, 1], [np.nan] * 3]), equal_nan=True)


@pytest.mark.parametrize("label_term", LABEL_TERMS)
@pytest.mark.parametrize("place", ["style", "kind", "flag", "share"])
def test_nan_in_a_network_is_nan_in_every_answer(place: str, label_term: str) -> None:
    """A weight that is NaN must not be taken for a weight of zero."""
    model = model_of(label_term)
    with torch.no_grad():
        getattr(model.encoder, place).first.bias.fill_(torch.nan)
    image = {"image": table()["image"]}
    assert model.objective(image, 3).isnan().all()
    assert model.predict(image, 3, by="q")[place].isnan().all()
    if place in ("style", "share"):  # what is enumerated is summed under p alone
        assert model.log_evidence(image, 3).value.isnan().all()
        assert all(value.isnan().all() for value in model.predict(image, 3).values())


@pytest.mark.parametrize("label_term", LABEL_TERMS)
def test_rows_do_not_depend_on_each_other(label_term: str) -> None:
    model, values = model_of(label_term), table()
    noise = noise_of(model)

    def bound(order: Tensor) -> Tensor:
        shuffled = {name: value[:, order] for name, value in noise.items()}
        return model([Block(model.evidence(some(values, order)), shuffled)], model.knobs()).bound

    every = torch.arange(ROWS)
    whole, order = bound(every), torch.randperm(ROWS, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(bound(order), whole[order], rtol=0, atol=1e-12)
    torch.testing.assert_close(bound(every[:5]), whole[:5], rtol=0, atol=1e-12)
    before = model([Block(model.evidence(values), noise)], model.knobs()).bound
    values["image"] = values["image"].clone()
    values["image"][3] += 1.0
    after = model([Block(model.evidence(values), noise)], model.knobs()).bound
    assert (before != after).nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize("label_term", LABEL_TERMS)
def test_no_labels_and_all_labels(label_term: str) -> None:
    model, values = model_of(label_term), table()
    noise = noise_of(model)
    first, last = KNOWN.all(1).nonzero().flatten(), (~KNOWN).all(1).nonzero().flatten()
    mixed = model([Block(model.evidence(values), noise)], model.knobs(alpha=3.0))
    for rows in (first, last):
        own = {name: value[:, rows] for name, value in noise.items()}
        alone = model([Block(model.evidence(some(values, rows)), own)], model.knobs(alpha=3.0))
        torch.testing.assert_close(alone.bound, mixed.bound[rows], rtol=0, atol=1e-12)
    absent = model([Block(model.evidence({"image": values["image"]}), noise)], model.knobs(alpha=3.0))
    hidden = {name: hide(value, torch.zeros(ROWS, dtype=torch.bool)) for name, value in values.items() if name != "image"}
    unlabelled = model([Block(model.evidence({"image": values["image"], **hidden}), noise)], model.knobs(alpha=3.0))
    assert torch.equal(absent.bound, unlabelled.bound)
    assert set(absent.parts) == set(mixed.parts) - {f"label.{name}" for name in LABELS}
    torch.testing.assert_close(absent.bound[last], mixed.bound[last], rtol=0, atol=1e-12)


@pytest.mark.parametrize("label_term", LABEL_TERMS)
def test_empty_blocks(label_term: str) -> None:
    model, values = model_of(label_term), table()
    nothing = torch.arange(0)
    empty = Block(model.evidence(some(values, nothing)), noise_of(model, 0))
    full = Block(model.evidence(values), noise_of(model))
    alone = model([full], model.knobs())
    for blocks in ([empty, full], [full, empty], [empty, full, empty]):
        assert torch.equal(model(blocks, model.knobs()).bound, alone.bound)
    for some_values in (some(values, nothing), {"image": values["image"][:0]}):
        assert model.objective(some_values, 3).shape == (0,)
        assert [part.shape for part in model.log_evidence(some_values, 3)] == [(0,)] * 3
        for by in ("q", "importance"):
            shapes = {name: tuple(value.shape) for name, value in model.predict(some_values, 3, by=by).items()}
            assert shapes == {"style": (0, 2), "kind": (0, 3), "angle": (0, 2), "flag": (0,), "share": (0, 1, 2)}


ZERO: dict[str, Factors] = {  # a cell that q rules out, and in one case p as well; a label that has it nowhere
    "q": {"z": factor("", [0.5, 0.5, 0.0]), "y": factor("z", [[0.7, 0.3], [0.2, 0.8], [0.5, 0.5]])},
    "p": {"y": factor("", [0.6, 0.4]), "z": factor("", [0.4, 0.6, 0.0])},
}
LIKELIHOOD = factor("y z", np.random.default_rng(4).dirichlet(np.ones(2), (2, 3)))


@pytest.mark.parametrize("label_term", LABEL_TERMS)
@pytest.mark.parametrize("enumerated", ["z y", "z", "y", ""])
@pytest.mark.parametrize("also_in_p", [True, False])
def test_zero_probabilities_leave_value_and_gradients_finite(enumerated: str, label_term: str, also_in_p: bool) -> None:
    """A logit of -inf gives the limit of a probability that tends to zero."""
    z = ZERO["p"]["z"] if also_in_p else factor("", [0.4, 0.5, 0.1])
    p, q = {"y": ZERO["p"]["y"], "z": z, "x": LIKELIHOOD}, ZERO["q"]
    model = table_model(p, q, labels="y", enumerated=enumerated, label_term=label_term)
    values = {"x": torch.tensor([0, 0, 0, 1]), "y": torch.tensor([0, 1, -1, -1])}
    bound = model.objective(values, 4, torch.Generator().manual_seed(5))
    assert bound.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients(model, bound).values())
    if enumerated != "z y":
        return
    tiny = {name: factor(" ".join(f.parents), np.maximum(f.table, 1e-40)) for name, f in q.items()}
    tiny_p = {name: factor(" ".join(f.parents), np.maximum(f.table, 1e-40)) for name, f in p.items()}
    for index in range(4):
        known = {name: int(value[index]) for name, value in values.items() if value[index] >= 0}
        limit = exact(tiny_p, tiny, known).bound({"y": 1.0}, {"y": 1.0, "z": 1.0}, label_term)
        assert bound[index].item() == pytest.approx(limit, rel=0, abs=1e-10)


def test_a_label_of_probability_zero_in_some_draws_only() -> None:
    """q(y = 1 | z = 0) is zero: the draws z = 0 weigh nothing."""
    q = {"z": factor("", [0.5, 0.3, 0.2]), "y": factor("z", [[1.0, 0.0], [0.2, 0.8], [0.5, 0.5]])}
    p = {"y": ZERO["p"]["y"], "z": factor("", [0.4, 0.5, 0.1]), "x": LIKELIHOOD}
    tiny = {name: factor(" ".join(f.parents), np.maximum(f.table, 1e-40)) for name, f in q.items()}
    limit = exact(p, tiny, {"x": 0, "y": 1}).bound({"y": 1.0}, {"y": 1.0, "z": 1.0})
    values = {"x": torch.tensor([0]), "y": torch.tensor([1])}
    for enumerated, tolerance in (("z", 1e-10), ("", 0.02)):  # sampled: a standard error below 0.004
        model = table_model(p, q, labels="y", enumerated=enumerated)
        bound = model.objective(values, 100_000, torch.Generator().manual_seed(6))
        assert bound.item() == pytest.approx(limit, rel=0, abs=tolerance)
        assert all(gradient.isfinite().all() for gradient in gradients(model, bound).values())
