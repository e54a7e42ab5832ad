"""Plates, and how many of their slots are active: against closed forms, sums over every world, and event dimensions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Literal

import numpy as np
import pytest
import torch
from by_hand import Side, by_hand, scalar, slopes
from torch import Tensor, distributions

from graphvae.compiler.pipeline import compile_text
from graphvae.runtime import (
    Bernoulli,
    Binomial,
    Block,
    Categorical,
    Count,
    Draws,
    Evidence,
    Model,
    Normal,
    Variable,
    load,
    objectives,
)
from graphvae.runtime.plates import Weights, active_weights

pytestmark = pytest.mark.usefixtures("float64")

# O10: K parts z_k ~ N(0, 1), of which only the sum is seen, with noise.

X, SEEN = 1.3, 0.5
PRIOR = torch.tensor([0.4, 0.6], dtype=torch.float64)
LOG_EVIDENCE, LOG_LIKELIHOODS = -1.7025744939, (-1.70651031, -1.69995920)
POSTERIOR = (0.39842877, 0.60157123)
ELBO, ELBOS = -2.4168405131, (-1.9983649429, -2.7944940888)


def elbo(x: float, count: int) -> float:
    """L(x, K) under the mean-field q(z_k | x, K) = N(x / (K + 1/4), 1/2)."""
    m = x / (count + 0.25)
    seen = -0.5 * ((x - count * m) ** 2 + count * 0.5) / SEEN**2 - 0.5 * math.log(2 * math.pi * SEEN**2)
    return seen - count * 0.5 * (0.5 + m**2 - 1 - math.log(0.5))


def sums(size: int, values: tuple[int, ...] | None = (1, 2), how: str = "enumerate", exact: bool = False) -> Model:
    """The model of O10 with so many slots; q is mean-field, or the exact posterior, part after part.

    With `values` the count is a category, and without it a number of two switches.
    """
    family, event = (Categorical, (2,)) if values else (Binomial, ())
    options = {"axis": 0} if how == "enumerate" else {}

    def counted(probs: Tensor) -> Categorical | Binomial:
        return Categorical(probs.log()) if values else Binomial(probs.logit(), total_count=2, event=0)

    def q(self: Side, draw: Draws) -> None:
        x = draw.given("x")
        count = getattr(draw, how)("count", counted(self.probs), **options)
        draw.active("slot", count, values=values, size=size)
        total = count @ torch.tensor(values, dtype=count.dtype) if values else count
        if exact:
            for number, slot in enumerate(draw.slots("slot", size=size)):
                share = 1 / ((total - number).clamp_min(1) + 0.25)
                x = x - slot.sample("z", Normal(self.gain * x * share, (1 - share).sqrt(), event=0))
        else:
            loc = self.gain * (x / (total + 0.25)).unsqueeze(-1)
            draw.sample("z", Normal(loc, math.sqrt(0.5), event=0), plates={"slot": size})

    def p(self: Side, draw: Draws) -> None:
        count = draw.sample("count", counted(self.probs))
        active = draw.active("slot", count, values=values, size=size)
        z = draw.sample("z", Normal(0.0, 1.0, event=0), plates={"slot": size})
        draw.sample("x", Normal((active * z).sum(-1), SEEN, event=0))

    probs = torch.tensor(POSTERIOR if exact else (0.5, 0.5)) if values else scalar(0.3)
    variables = {
        "count": Variable("supervised", family, event, enumerated=how == "enumerate", number=2),
        "z": Variable("latent", Normal, (), plates={"slot": size}),
        "x": Variable("observed", Normal, ()),
    }
    sides = Side(q, probs=probs, gain=scalar(1.0)), Side(p, probs=torch.tensor((0.4, 0.6)) if values else scalar(0.3))
    return by_hand(*sides, variables, plates={"slot": Count("count", values)})


def corners(size: int, rest: float) -> Tensor:
    """Noise [sample, row, slot] under which the mean of a quadratic in two draws is exact; other slots have one number."""
    signs = torch.tensor(list(product((-1.0, 1.0), repeat=2)))
    return torch.cat([signs, torch.full((4, size - 2), rest)], 1).unsqueeze(1)


def seen(**known: float) -> dict[str, Tensor]:
    return {name: torch.tensor([value]) for name, value in {"x": X, **known}.items()}


@pytest.mark.parametrize(("size", "rest"), [(2, 0.0), (3, 0.0), (3, 1e30), (3, torch.nan), (5, 1e30), (5, torch.nan)])
@pytest.mark.parametrize("label", [None, 0, 1])
def test_o10_mean_field(label: int | None, size: int, rest: float) -> None:
    """In value and in gradient, whatever fills the slots that are never active."""
    found = []
    for slots, filling in ((2, 0.0), (size, rest)):
        model = sums(slots)
        evidence = model.evidence(seen() if label is None else seen(count=label))
        _, estimate = model.estimate(Block(evidence, {"z": corners(slots, filling)}), model.knobs(alpha=0.7))
        found.append((estimate.bound, slopes(model, estimate.bound)))
    (small, small_slopes), (bound, bound_slopes) = found
    expected = ELBO if label is None else ELBOS[label] + math.log((0.4, 0.6)[label]) + 0.7 * math.log(0.5)
    assert bound.item() == pytest.approx(expected, rel=0, abs=1e-9)
    torch.testing.assert_close(bound, small, rtol=0, atol=1e-12)
    assert set(bound_slopes) == {"encoder.probs", "encoder.gain", "decoder.probs"}
    for name, slope in bound_slopes.items():
        torch.testing.assert_close(slope, small_slopes[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("label", [None, 0, 1])
def test_o10_exact_posterior(label: int | None, size: int) -> None:
    """The bound is log p whatever the draws, and so is every importance weight."""
    model, generator = sums(size, exact=True), torch.Generator().manual_seed(0)
    data = seen() if label is None else seen(count=label)
    expected = LOG_EVIDENCE if label is None else LOG_LIKELIHOODS[label] + math.log((0.4, 0.6)[label])
    for _ in range(3):
        bound = model.objective(data, 1, generator, model.knobs(alpha=0.0)).item()
        assert bound == pytest.approx(expected, rel=0, abs=1e-8)
    evidence = model.log_evidence(data, 7, generator)
    assert evidence.value.item() == pytest.approx(expected, rel=0, abs=1e-8)
    assert evidence.standard_error.item() < 1e-7  # POSTERIOR has eight digits
    predicted = model.predict(data, 7, generator)["count"][0]
    torch.testing.assert_close(predicted, torch.tensor(POSTERIOR) if label is None else torch.eye(2)[label], rtol=0, atol=1e-8)


def test_a_count_may_be_a_number() -> None:
    """A binomial count under which no slot, one or two are active: against the closed form of each."""
    model = sums(3, values=None)
    _, estimate = model.estimate(Block(model.evidence(seen()), {"z": corners(3, 0.0)}), model.knobs())
    probs = distributions.Binomial(2, torch.tensor(0.3)).log_prob(torch.arange(3.0)).exp()
    assert estimate.bound.item() == pytest.approx(sum(probs[k].item() * elbo(X, k) for k in range(3)), rel=0, abs=1e-9)
    assert elbo(X, 1) == pytest.approx(ELBOS[0], rel=0, abs=1e-9)


def test_a_sampled_count_has_an_unbiased_gradient() -> None:
    """By the score function: the mean over rows of the bound, and of its gradient in the logits of q, within four errors."""
    rows, samples, generator = 20_000, 3, torch.Generator().manual_seed(1)
    model = sums(3, how="score_function")
    model.encoder.probs = torch.nn.Parameter(torch.full((rows, 2), 0.5))
    block = model.block({"x": torch.full((rows,), X)}, samples, generator)
    bound = model.estimate(block, model.knobs())[1].bound
    slope = torch.autograd.grad(bound.sum(), model.encoder.probs)[0]
    slope = (slope[:, 0] - slope[:, 1]) / 4  # in the first logit
    scores = [ELBOS[k] + math.log((0.4, 0.6)[k]) - math.log(0.5) for k in range(2)]
    for found, expected in ((bound.detach(), ELBO), (slope, (scores[0] - scores[1]) / 4)):
        assert (found.mean() - expected).abs() < 4 * found.std() / math.sqrt(rows)


def test_a_relaxed_count_weighs_slots() -> None:
    """The log-probabilities and the sum of a slot count as much as the values above it: by plain formulas."""
    temperature, generator = scalar(0.6), torch.Generator().manual_seed(2)
    model = sums(3, how="concrete")
    block = model.block(seen(), 2, generator)
    knobs = model.knobs(temperature={"count": 0.6})
    terms, estimate = model.estimate(block, knobs)
    gumbel = -(-block.noise["count"].log()).log()
    relaxed = distributions.RelaxedOneHotCategorical(temperature, probs=torch.tensor((0.5, 0.5)))
    value = ((math.log(0.5) + gumbel) / temperature).softmax(-1)
    prior = distributions.RelaxedOneHotCategorical(temperature, probs=torch.tensor((0.4, 0.6)))
    weight = torch.stack([value.sum(-1), value[..., 1], torch.zeros(2, 1)], -1)
    total = value[..., 0] + 2 * value[..., 1]
    q = distributions.Normal((X / (total + 0.25)).unsqueeze(-1), math.sqrt(0.5))
    z = q.loc + q.scale * block.noise["z"]
    log_z = (weight * (distributions.Normal(0.0, 1.0).log_prob(z) - q.log_prob(z))).sum(-1)
    log_x = distributions.Normal((weight * z).sum(-1), SEEN).log_prob(torch.tensor(X))
    log_count = prior.log_prob(value) - relaxed.log_prob(value)
    torch.testing.assert_close(estimate.bound, (log_x + log_z + log_count).mean(0))
    assert slopes(model, terms["x"].log_p)["encoder.probs"].abs().min() > 0.01


def test_weights_of_a_relaxed_count() -> None:
    count = torch.tensor([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0]])
    expected = torch.tensor([[0.8, 0.5, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(active_weights(count, (0, 1, 3), 4), expected)
    torch.testing.assert_close(active_weights(torch.tensor([0.0, 2.0]), None, 3), torch.tensor([[0.0] * 3, [1.0, 1.0, 0.0]]))


def test_weights_find_their_places() -> None:
    """Whatever the order of the plates that they come in."""
    weights = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))  # [sample, row, b, a]
    found = Weights(("b", "a"), weights).over(("a", "c", "b"))
    assert found.shape == (2, 3, 5, 1, 4)
    assert all(found[:, :, a, 0, b].equal(weights[:, :, b, a]) for a in range(5) for b in range(4))
    assert Weights(("b", "a"), weights).at("b", 2).over(("a",)).equal(weights[:, :, 2])


# Slots that are independent of each other are elements of an event, and two plates a matrix of them.


def repeated(plates: bool, bound: str, closed: bool) -> Model:
    """y -> z -> x, all repeated six times: over plates of two and three, or in an event."""
    sizes, event = {"a": 2, "b": 3}, 0 if plates else 2
    where = {"plates": sizes} if plates else {}

    def q(self: Side, draw: Draws) -> None:
        x = draw.given("x")
        z = draw.sample("z", Normal(self.a * x, self.s.exp(), event=event), **where)
        draw.sample("y", Normal(self.b * z + self.c * x, 0.8, event=event), **where)

    def p(self: Side, draw: Draws) -> None:
        y = draw.sample("y", Normal(0.0, 1.0, event=event), **where)
        z = draw.sample("z", Normal(self.d * y, 0.7, event=event), **where)
        draw.sample("x", Bernoulli(self.e * z + self.f, event=event), **where)

    shape = {"plates": sizes} if plates else {}
    kinds = {"y": ("supervised", Normal), "z": ("latent", Normal), "x": ("observed", Bernoulli)}
    variables = {name: Variable(role, kind, () if plates else (2, 3), **shape) for name, (role, kind) in kinds.items()}
    generator = torch.Generator().manual_seed(3)
    first, second = ({key: torch.randn((), generator=generator) for key in keys} for keys in ("absc", "def"))
    facts = {"bound": bound, "closed_kl": {"y": ()} if closed else {}}
    return by_hand(Side(q, **first), Side(p, **second), variables, **facts)


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize(
    ("bound", "closed"),
    [("self_normalised", False), ("self_normalised", True), ("importance", False), ("importance_dreg", False)],
)
def test_independent_slots_are_elements(bound: str, closed: bool, labels: bool) -> None:
    generator = torch.Generator().manual_seed(4)
    data = {"x": torch.rand((4, 2, 3), generator=generator).round()}
    if labels:
        data["y"] = torch.randn((4, 2, 3), generator=generator)
        data["y"][1] = torch.nan
    models = repeated(True, bound, closed), repeated(False, bound, closed)
    for in_plates, in_event in zip(*(outcomes(model, data) for model in models), strict=True):
        torch.testing.assert_close(in_plates, in_event, rtol=1e-12, atol=1e-12)


def outcomes(model: Model, data: Mapping[str, Tensor]) -> Iterator[object]:
    """Whatever a model says of data, from the same draws."""

    def again() -> torch.Generator:
        return torch.Generator().manual_seed(5)

    bound = model.objective(data, 3, again(), model.knobs(alpha=2.0, beta=0.7))
    yield bound
    yield slopes(model, bound)
    yield tuple(model.log_evidence(data, 3, again()))
    yield model.predict(data, 3, again())
    yield model.predict(data, 3, again(), "q")
    if "y" in data:
        yield tuple(model.impute(data, 3, 2, again())["y"])
    yield model.sample(5, generator=again())
    yield model.sample(4, {name: value for name, value in data.items() if name == "y"}, again(), mean=True)


# A discrete model whose every world can be counted out: how many parts, of which kind each, and what is seen.

GENERATOR = np.random.default_rng(6)
COUNT_P = GENERATOR.dirichlet(np.ones(3))
KIND_P = GENERATOR.dirichlet(np.ones(2), 3)  # [slot, kind]
SEEN_P = GENERATOR.dirichlet(np.ones(3), 4)  # [how many parts are of the second kind, what is seen]
COUNT_Q = GENERATOR.dirichlet(np.ones(3), 3)  # [what is seen, count]
KIND_Q = GENERATOR.dirichlet(np.ones(2), (3, 3, 3))  # [what is seen, count, slot, kind]


def parts(how: str = "enumerate", size: int = 3) -> Model:
    """The model of these tables; the count is enumerated on axis 0, and the kinds on axis 1, or drawn for each count."""
    options = {"axis": 1} if how == "enumerate" else {"axes": 1}

    def q(self: Side, draw: Draws) -> None:
        x = draw.given("x")
        count = draw.enumerate("count", Categorical(x @ self.count), axis=0)
        draw.active("slot", count, values=(0, 1, 2), size=size)
        logits = torch.einsum("...x,...c,xcsk->...sk", x, count, self.kind)
        getattr(draw, how)("kind", Categorical(logits), plates={"slot": size}, **options)

    def p(self: Side, draw: Draws) -> None:
        count = draw.sample("count", Categorical(self.count))
        active = draw.active("slot", count, values=(0, 1, 2), size=size)
        kind = draw.sample("kind", Categorical(self.kind), plates={"slot": size})
        second = (active * kind[..., 1]).sum(-1).round().long()
        draw.sample("x", Categorical(self.seen[second]))

    def logs(table: np.ndarray) -> Tensor:
        return torch.tensor(np.log(table))

    variables = {
        "count": Variable("supervised", Categorical, (3,), enumerated=True),
        "kind": Variable(
            "supervised",
            Categorical,
            (2,),
            enumerated=how == "enumerate",
            cells=() if how == "enumerate" else (3,),
            plates={"slot": size},
        ),
        "x": Variable("observed", Categorical, (3,)),
    }
    encoder = Side(q, count=logs(COUNT_Q), kind=logs(KIND_Q)[:, :, :size])
    decoder = Side(p, count=logs(COUNT_P), kind=logs(KIND_P)[:size], seen=logs(SEEN_P))
    return by_hand(encoder, decoder, variables, plates={"slot": Count("count", (0, 1, 2))})


def worlds(x: int, count: int | None, kinds: Mapping[int, int]) -> list[tuple[int, tuple[int, ...], float, float]]:
    """Every count with the kinds of its own slots that agree with what is known; log p and log q of each."""
    found = []
    for number in [count] if count is not None else range(3):
        for of_slots in product(range(2), repeat=number):
            if all(of_slots[slot] == kind for slot, kind in kinds.items()):
                log_p = np.log(COUNT_P[number]) + sum(np.log(KIND_P[k, kind]) for k, kind in enumerate(of_slots))
                log_q = np.log(COUNT_Q[x, number]) + sum(np.log(KIND_Q[x, number, k, kind]) for k, kind in enumerate(of_slots))
                found.append((number, of_slots, log_p + np.log(SEEN_P[sum(of_slots), x]), log_q))
    return found


ROWS: list[tuple[int, int | None, dict[int, int]]] = [
    (0, None, {}),
    (1, 2, {}),
    (2, 2, {0: 1}),
    (1, 1, {0: 0}),
    (0, 2, {0: 1, 1: 0}),
    (2, 0, {}),
    (2, 2, {1: 1}),
]


def table(rows: list[tuple[int, int | None, dict[int, int]]], size: int = 3) -> dict[str, Tensor]:
    """The rows as data holds them."""
    kinds = torch.full((len(rows), size), -1)
    for row, (_, _, known) in enumerate(rows):
        for slot, kind in known.items():
            kinds[row, slot] = kind
    counts = torch.tensor([-1 if count is None else count for _, count, _ in rows])
    return {"x": torch.tensor([x for x, _, _ in rows]), "count": counts, "kind": kinds}


def truth(x: int, count: int | None, kinds: Mapping[int, int]) -> tuple[float, float, np.ndarray, np.ndarray]:
    """The bound at alpha 2 for the count and 3 for the kinds, log p, and the means of the kind in each slot under q and p."""
    cells = worlds(x, count, kinds)
    log_p, log_q = np.array([cell[2] for cell in cells]), np.array([cell[3] for cell in cells])
    log_count = 0.0 if count is None else np.log(COUNT_Q[x, count])
    log_kinds = sum(np.log(KIND_Q[x, count, slot, kind]) for slot, kind in kinds.items())
    weight = np.exp(log_q - log_count - log_kinds)
    assert weight.sum() == pytest.approx(1)
    bound = (weight * (log_p - log_q)).sum() + 3 * log_count + 4 * log_kinds
    return bound, np.logaddexp.reduce(log_p), slot_means(cells, weight), slot_means(cells, np.exp(log_p))


def slot_means(cells: list[tuple[int, tuple[int, ...], float, float]], weight: np.ndarray) -> np.ndarray:
    """The mean of the kind in each slot over the worlds in which there is one; NaN where there is none."""
    means = []
    for slot in range(3):
        there = [(w, of_slots[slot]) for w, (_, of_slots, _, _) in zip(weight, cells, strict=True) if slot < len(of_slots)]
        total = sum(w for w, _ in there)
        means.append(sum(w * kind for w, kind in there) / total if total else np.nan)
    return np.array(means)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("apart", [False, True])
def test_labels_in_slots(apart: bool, size: int) -> None:
    """All rows in one block with masks, and each in a block of its own, where what is known everywhere has no axis."""
    model = parts(size=size)
    knobs = model.knobs(alpha={"count": 2.0, "kind": 3.0})
    for rows in [[row] for row in ROWS] if apart else [ROWS]:
        data, expected = table(rows, size), [truth(*row) for row in rows]
        np.testing.assert_allclose(model.objective(data, 1, None, knobs).detach(), [each[0] for each in expected], atol=1e-12)
        np.testing.assert_allclose(model.log_evidence(data, 1).value, [each[1] for each in expected], atol=1e-12)
        for by, place in (("q", 2), ("importance", 3)):
            means, found = np.array([each[place] for each in expected])[:, :size], model.predict(data, 1, None, by)["kind"]
            np.testing.assert_allclose(found[..., 1].numpy(), means, atol=1e-12)


def test_labels_in_slots_have_gradients() -> None:
    """Finite ones, and those of central differences."""
    model = parts()
    model.objective(table(ROWS), 1, None, model.knobs(alpha=0.5)).sum().backward()
    for parameter in model.parameters():
        index = tuple(0 for _ in parameter.shape)
        with torch.no_grad():
            shifted = []
            for shift in (1e-5, -2e-5):
                parameter[index] += shift
                shifted.append(model.objective(table(ROWS), 1, None, model.knobs(alpha=0.5)).sum())
            parameter[index] += 1e-5
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad[index].item() == pytest.approx((shifted[0] - shifted[1]).item() / 2e-5, rel=1e-6, abs=1e-8)


def test_only_rows_with_a_label_in_some_slot_report_it() -> None:
    model = parts()
    reported = model([model.block(table(ROWS), 1, None)], model.knobs()).parts["label.kind"]
    assert reported.isnan().tolist() == [not kinds for _, _, kinds in ROWS]


def test_imputed_slots() -> None:
    """Means by p's posterior, draws with its frequencies, and nothing in slots that are not there."""
    model, rows = parts(), [(1, None, {})] * 4000
    found = model.impute(table(rows), 1, 1, torch.Generator().manual_seed(7))
    _, _, _, means = truth(*rows[0])
    np.testing.assert_allclose(found["kind"].mean[0, :2, 1], means[:2], atol=1e-12)
    counts, kinds = found["count"].draws[0], found["kind"].draws[0]
    assert torch.equal(kinds >= 0, torch.arange(3) < counts.unsqueeze(1))
    for slot in range(2):
        drawn = kinds[:, slot][kinds[:, slot] >= 0].double()
        assert abs(drawn.mean() - means[slot]) < 4 * math.sqrt(means[slot] * (1 - means[slot]) / len(drawn))


@pytest.mark.parametrize("kinds", [{0: 0}, {2: 1}])
def test_a_label_in_a_slot_is_evidence_of_the_slot(kinds: dict[int, int]) -> None:
    """Of which the count must say that it is there."""
    slot = next(iter(kinds))
    with pytest.raises(ValueError, match=rf"'kind' is known in row 1, slot {slot}, where 'count' is unknown or too small"):
        parts().evidence(table([(0, None, {}), (0, 2 if slot else None, kinds)]))


def test_sampled_kinds_below_an_enumerated_count() -> None:
    """With draws of their own for each count, the bound and its gradient have the means of the exact sum."""
    rows, generator = 20_000, torch.Generator().manual_seed(8)
    model = parts("score_function")
    model.encoder.kind = torch.nn.Parameter(model.encoder.kind.detach()[1].expand(rows, 3, 3, 2).clone())

    def q(self: Side, draw: Draws) -> None:
        count = draw.enumerate("count", Categorical(draw.given("x") @ self.count), axis=0)
        draw.active("slot", count, values=(0, 1, 2), size=3)
        logits = torch.einsum("...rc,rcsk->...rsk", count.expand(3, 1, rows, 3), self.kind)
        draw.score_function("kind", Categorical(logits), axes=1, plates={"slot": 3})

    model.encoder.steps = q
    bound = model.objective(table([(1, None, {})] * rows), 2, generator)
    slope = torch.autograd.grad(bound.sum(), model.encoder.kind)[0]
    exact = parts()
    value = exact.objective(table([(1, None, {})]), 1)
    expected = torch.autograd.grad(value.sum(), exact.encoder.kind)[0][1]
    assert (bound.mean() - truth(1, None, {})[0]).abs() < 4 * bound.std() / math.sqrt(rows)
    assert ((slope.mean(0) - expected).abs() <= 4 * slope.std(0) / math.sqrt(rows) + 1e-12).all()
    assert (slope[:, 1, 0] != 0).any()
    assert (slope[:, 0] == 0).all()  # where no slot is active, nothing is learned of one


# What stands in a slot that is not there.


def counted_rows(masked: bool) -> Model:
    """As many numbers as a count says are seen, and q reads them all."""

    def q(self: Side, draw: Draws) -> None:
        x = draw.masked("x")[0] if masked else draw.given("x")
        count = draw.enumerate("count", Categorical(self.logits * x.sum(-1, keepdim=True)), axis=0)
        draw.active("slot", count, values=(1, 2, 3), size=3)
        draw.sample("z", Normal(self.gain * x, self.scale.exp(), event=0), plates={"slot": 3})

    def p(self: Side, draw: Draws) -> None:
        count = draw.sample("count", Categorical(torch.zeros(3)))
        draw.active("slot", count, values=(1, 2, 3), size=3)
        z = draw.sample("z", Normal(0.0, 1.0, event=0), plates={"slot": 3})
        draw.sample("x", Normal(self.weight * z, 0.7, event=0), plates={"slot": 3})

    variables = {
        "count": Variable("supervised", Categorical, (3,), enumerated=True),
        "z": Variable("latent", Normal, (), plates={"slot": 3}),
        "x": Variable("observed", Normal, (), masked=masked, plates={"slot": 3}),
    }
    encoder = Side(q, logits=torch.tensor([0.1, -0.2, 0.4]), gain=scalar(0.5), scale=scalar(-0.3))
    return by_hand(encoder, Side(p, weight=scalar(1.2)), variables, plates={"slot": Count("count", (1, 2, 3))})


@pytest.mark.parametrize("filling", [torch.nan, 1e30, -torch.inf])
@pytest.mark.parametrize("masked", [False, True])
def test_what_an_inactive_slot_holds_goes_nowhere(masked: bool, filling: float) -> None:
    outcome = []
    for other in (0.0, filling):
        model, generator = counted_rows(masked), torch.Generator().manual_seed(9)
        x = torch.randn((4, 3), generator=generator)
        data = {
            "count": torch.tensor([0, 1, 2, 0]),
            "x": torch.where(torch.arange(3) <= torch.tensor([0, 1, 2, 0])[:, None], x, other),
        }
        bound = model.objective(data, 2, generator)
        outcome.append((bound, slopes(model, bound), tuple(model.log_evidence(data, 2, generator))))
    torch.testing.assert_close(*outcome, rtol=0, atol=1e-12)
    assert all(slope.isfinite().all() and slope.any() for slope in outcome[1][1].values())


def test_an_active_slot_must_hold_what_is_observed() -> None:
    x = torch.tensor([[1.0, torch.nan, torch.nan]])
    with pytest.raises(ValueError, match="'x' is observed and is missing in row 0"):
        counted_rows(False).evidence({"x": x, "count": torch.tensor([1])})
    with pytest.raises(ValueError, match="'x' is observed and is missing in row 0"):
        counted_rows(False).evidence({"x": x})
    with pytest.raises(ValueError, match=r"'x' has values of shape \[2\]; the spec says \[3\]"):
        counted_rows(False).evidence({"x": torch.ones(1, 2)})


@pytest.mark.parametrize("filling", [torch.nan, torch.inf])
def test_a_draw_that_is_no_number_in_an_inactive_slot_goes_nowhere(filling: float) -> None:
    """In the value that networks see, and in the gradient of what is learned beside it."""
    scale = torch.tensor(0.5, requires_grad=True)
    draw = Draws({}, {"z": torch.full((1, 2, 3), 0.3)}, counted_rows(False).knobs())
    draw.active("slot", torch.eye(3)[[0, 1]], values=(1, 2, 3), size=3)
    loc = torch.tensor([[0.0, filling, filling], [0.0, 0.0, filling]])
    z = draw.sample("z", Normal(loc, 1.0, event=0), plates={"slot": 3})
    assert z.isfinite().all()
    term = draw.made["z"].term(Normal(0.0, scale, event=0))
    for log_prob, deviation in ((term.log_p.detach(), 0.5), (term.log_draw, 1.0)):
        expected = distributions.Normal(0.0, deviation).log_prob(torch.tensor(0.3)) * torch.tensor([1.0, 2.0])
        torch.testing.assert_close(log_prob, expected.unsqueeze(0))
    slope = torch.autograd.grad(term.log_p.sum(), scale)[0]
    assert slope.item() == pytest.approx(3 * (0.3**2 / 0.5**3 - 1 / 0.5))


def filled(side: str, filling: float) -> Model:
    """Slots of which the third is never active; the network of one side gives this for it."""

    def loc(self: Side, name: str) -> Tensor:
        values = self.loc * torch.arange(1.0, 4.0)
        return torch.where(torch.tensor([False, False, name == side]), filling, values)

    def q(self: Side, draw: Draws) -> None:
        count = draw.enumerate("count", Categorical(torch.zeros(2)), axis=0)
        draw.active("slot", count, values=(1, 2), size=3)
        draw.sample("z", Normal(loc(self, "q"), self.scale.exp(), event=0), plates={"slot": 3})

    def p(self: Side, draw: Draws) -> None:
        active = draw.active("slot", draw.sample("count", Categorical(torch.zeros(2))), values=(1, 2), size=3)
        z = draw.sample("z", Normal(loc(self, "p"), self.scale.exp(), event=0), plates={"slot": 3})
        draw.sample("x", Normal((active * z).sum(-1), SEEN, event=0))

    variables = {
        "count": Variable("latent", Categorical, (2,), enumerated=True),
        "z": Variable("latent", Normal, (), plates={"slot": 3}),
        "x": Variable("observed", Normal, ()),
    }
    sides = Side(q, loc=scalar(0.3), scale=scalar(-0.2)), Side(p, loc=scalar(0.4), scale=scalar(0.1))
    return by_hand(*sides, variables, plates={"slot": Count("count", (1, 2))})


@pytest.mark.parametrize("filling", [1e30, torch.inf, torch.nan])
@pytest.mark.parametrize("side", ["q", "p"])
def test_what_a_network_gives_for_an_inactive_slot_goes_nowhere(side: str, filling: float) -> None:
    """Neither into the bound nor into a gradient that other slots share."""
    outcome = []
    for other in (0.7, filling):
        model = filled(side, other)
        bound = model.objective(seen(), 2, torch.Generator().manual_seed(15))
        outcome.append((bound, slopes(model, bound)))
    torch.testing.assert_close(*outcome, rtol=0, atol=1e-12)


# Values that are collapsed to their means, unless they are known.


def collapsed() -> Model:
    """z_k -> w_k -> x, where w_k is its mean in p and in q, and scored only where it is known."""

    def q(self: Side, draw: Draws) -> None:
        x = draw.given("x").unsqueeze(-1)
        w = draw.mean("w", Normal(self.a * x, 0.7, event=0), plates={"slot": 2})
        draw.sample("z", Normal(self.b * w, 0.6, event=0), plates={"slot": 2})

    def p(self: Side, draw: Draws) -> None:
        z = draw.sample("z", Normal(0.0, 1.0, event=0), plates={"slot": 2})
        w = draw.mean("w", Normal(self.c * z, 0.3, event=0), plates={"slot": 2})
        draw.sample("x", Normal(w.sum(-1), 0.5, event=0))

    variables = {
        "z": Variable("latent", Normal, (), plates={"slot": 2}),
        "w": Variable("supervised", Normal, (), collapse=True, plates={"slot": 2}),
        "x": Variable("observed", Normal, ()),
    }
    return by_hand(Side(q, a=scalar(0.5), b=scalar(0.4)), Side(p, c=scalar(2.0)), variables)


def test_a_collapsed_variable() -> None:
    model, generator = collapsed(), torch.Generator().manual_seed(10)
    x, w = torch.randn(3, generator=generator), torch.randn(3, 2, generator=generator)
    known = torch.tensor([[False, False], [True, False], [True, True]])
    data = {"x": x, "w": torch.where(known, w, torch.nan)}
    block = model.block(data, 4, generator)
    assert set(block.noise) == {"z"}
    terms, estimate = model.estimate(block, model.knobs(alpha=3.0))
    w_q = torch.where(known, w, 0.5 * x.unsqueeze(-1))
    q_z = distributions.Normal(0.4 * w_q, 0.6)
    z = q_z.loc + q_z.scale * block.noise["z"]
    w_p = torch.where(known, w, 2 * z)
    label = torch.where(known, distributions.Normal(0.5 * x.unsqueeze(-1), 0.7).log_prob(w), 0.0).sum(-1)
    log_w = torch.where(known, distributions.Normal(2 * z, 0.3).log_prob(w), 0.0).sum(-1)
    log_z = (distributions.Normal(0.0, 1.0).log_prob(z) - q_z.log_prob(z)).sum(-1)
    log_x = distributions.Normal(w_p.sum(-1), 0.5).log_prob(x)
    expected = (log_x + log_z + log_w).mean(0) + 3 * label
    torch.testing.assert_close(estimate.bound, expected)
    ratio = log_x + log_z + log_w
    torch.testing.assert_close(model.posterior(data, 4, torch.Generator().manual_seed(0)).values["w"], w_q)
    torch.testing.assert_close(objectives.log_evidence(terms).value, ratio.logsumexp(0) - math.log(4))
    unknown = model.log_evidence({"x": x}, 4, generator)
    assert unknown.standard_error.isfinite().all()


def test_a_collapsed_variable_in_generation() -> None:
    """Its mean, or what it is held at."""
    model = collapsed()
    made = model.sample(5, generator=torch.Generator().manual_seed(11))
    torch.testing.assert_close(made["w"], 2 * made["z"])
    held = model.sample(5, {"w": torch.ones(5, 2)}, torch.Generator().manual_seed(11))
    torch.testing.assert_close(held["w"], torch.ones(5, 2))


# Drawing from p.


def test_generated_rows_have_as_many_slots_as_their_count() -> None:
    model = counted_rows(False)
    made = model.sample(1000, generator=torch.Generator().manual_seed(12))
    there = torch.arange(3) <= made["count"].unsqueeze(1)
    for name in ("z", "x"):
        assert torch.equal(~made[name].isnan(), there)
    assert (made["count"] == 1).double().mean().item() == pytest.approx(1 / 3, abs=4 * math.sqrt(2 / 9 / 1000))
    again = model.evidence({name: made[name] for name in ("x", "count")})
    assert again["x"].value.isfinite().all()
    held = model.sample(2, {"count": torch.tensor([0, 2])}, torch.Generator().manual_seed(13), mean=True)
    assert (~held["x"].isnan()).tolist() == [[True, False, False], [True, True, True]]


@pytest.mark.parametrize("by", ["importance", "q"])
def test_a_slot_that_is_not_there_has_no_posterior_mean(by: Literal["importance", "q"]) -> None:
    """Those that may be there have one over the counts that they have, whatever stands in the other cells."""
    model = counted_rows(False)
    with torch.no_grad():
        model.encoder.scale.fill_(-40)
    x = torch.tensor([[1.0, torch.nan, torch.nan], [0.4, 3.0, torch.nan], [0.3, 0.2, -0.1]])
    data = {"x": x, "count": torch.tensor([0, 1, 2])}
    found = model.predict(data, 3, torch.Generator().manual_seed(1), by)["z"]
    torch.testing.assert_close(found, 0.5 * x, rtol=0, atol=1e-12, equal_nan=True)
    shown = filled("q", torch.inf).predict(seen(), 50, torch.Generator().manual_seed(2), by)["z"]
    assert shown.isfinite().tolist() == [[True, True, False]]


def test_a_count_in_a_plate_of_its_own() -> None:
    """Each view has a count, and a part of a view is there while it is below that: by loops over all of them."""
    generator = torch.Generator().manual_seed(14)
    counts, noise = torch.tensor([[0, 2], [1, 1]]), torch.randn((3, 2, 4, 2), generator=generator)
    evidence = {"count": Evidence(torch.nn.functional.one_hot(counts, 3).double())}
    draw = Draws(evidence, {"z": noise}, counted_rows(False).knobs())
    count = draw.sample("count", Categorical(torch.zeros(3)), plates={"view": 2})
    draw.active("part", count, values=(0, 1, 3), size=4, plates={"view": 2})
    draw.sample("z", Normal(0.0, 1.0, event=0), plates={"part": 4, "view": 2})
    log_p = draw.made["z"].term(Normal(0.5, 2.0, event=0)).log_p
    for sample, row in product(range(3), range(2)):
        expected = sum(
            distributions.Normal(0.5, 2.0).log_prob(noise[sample, row, part, view])
            for view in range(2)
            for part in range((0, 1, 3)[counts[row, view]])
        )
        assert log_p[sample, row].item() == pytest.approx(float(expected))


# What a compiled model answers.

SUMS = """
model: sums
plates: {slot: {size: 3, active: count}}
variables:
  count: {distribution: categorical, values: [1, 2], role: supervised}
  z: {distribution: normal, plate: slot}
  x: {distribution: normal, role: observed}
p:
  x: {parents: [z], parameters: {loc: "sum(z, slot)", scale: 0.5}}
q:
  count: [x]
  z: {parents: [x, count], network: {hidden: [4]}}
"""


def test_a_compiled_sum_has_the_exact_posterior() -> None:
    """O10 with equal counts and any q: log p and the conjugate means within four errors, in the shapes that data have."""
    torch.manual_seed(15)
    model, generator = load(compile_text(SUMS, "sums.yaml").code, "sums")(), torch.Generator().manual_seed(16)
    samples, x = 40_000, torch.tensor([X, X])
    data = {"x": x, "count": torch.tensor([-1, 1])}
    posterior = model.posterior(data, samples, generator)
    assert posterior.values["z"].shape == (2, samples, 2, 3)
    assert posterior.weight.shape == (2, samples, 2)
    evidence = model.log_evidence(data, samples, generator)
    expected = [math.log(0.5 * sum(map(math.exp, LOG_LIKELIHOODS))), math.log(0.5) + LOG_LIKELIHOODS[1]]
    assert ((evidence.value - torch.tensor(expected)).abs() < 4 * evidence.standard_error).all()
    assert (evidence.standard_error < 0.05).all()
    second = 0.5 * math.exp(LOG_LIKELIHOODS[1] - expected[0])
    found = model.posterior_mean(posterior)
    means = {
        "count": torch.tensor([[1 - second, second], [0.0, 1.0]]),
        "z": torch.tensor([[(1 - second) * X / 1.25 + second * X / 2.25, X / 2.25], [X / 2.25, X / 2.25]]),
    }
    for name, mean in means.items():
        share = posterior.active[name].expand(*posterior.weight.shape, 3)[..., :2] if name == "z" else torch.ones(())
        weight = posterior.weight.unsqueeze(-1) * share
        weight = weight / weight.sum((0, 1))
        error = (weight * (posterior.values[name][..., :2] - mean)).sum(0).square().sum(0).sqrt()
        assert found[name].shape[0] == 2
        assert ((found[name][:, :2] - mean).abs() <= 4 * error + 1e-12).all()
        assert (error < 0.05).all()
    assert found["z"].shape == (2, 3)
    imputed = model.impute(data, 50, 5, generator)
    assert imputed["count"].mean.shape == (2, 2)
    assert imputed["count"].draws.shape == (5, 2)
    made = model.sample(7, generator=generator)
    assert {name: tuple(value.shape) for name, value in made.items()} == {"count": (7,), "z": (7, 3), "x": (7,)}
    assert made["z"][:, 2].isnan().all()
