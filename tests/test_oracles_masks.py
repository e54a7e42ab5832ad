"""O6: any subset of the labels may be missing in any row, and every row has the numbers that it would have alone."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from exact import Exact, Factors, all_draws, exact, factor, fill, forced, log_draw, random_factor, spec_model, table_model
from torch import Tensor

from graphvae.runtime import Block, Model
from graphvae.runtime.objectives import log_evidence

pytestmark = pytest.mark.usefixtures("float64")

GENERATOR = np.random.default_rng(0)
P: Factors = {
    "a": random_factor(GENERATOR, "", 2),
    "z": random_factor(GENERATOR, "a", 2, 2),
    "b": random_factor(GENERATOR, "z", 2, 2),
    "x": random_factor(GENERATOR, "a z b", 2, 2, 2, 3),
}
Q: Factors = {
    "a": factor("", [0.35, 0.65]),
    "z": factor("a", [[0.6, 0.4], [0.25, 0.75]]),
    "b": factor("a z", [[[0.9, 0.1], [0.4, 0.6]], [[0.3, 0.7], [0.55, 0.45]]]),
}
Q_OF_X: Factors = {  # the same graph, each conditional depending on the row too
    "a": random_factor(GENERATOR, "x", 3, 2),
    "z": random_factor(GENERATOR, "x a", 3, 2, 2),
    "b": random_factor(GENERATOR, "x a z", 3, 2, 2, 2),
}
SPEC = """
model: partial
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
  a: {parents: [x], network: {hidden: []}}
  z: {parents: [x, a], network: {hidden: [6]}}
  b: {parents: [x, a, z], network: {hidden: [12]}}
objective: {label_term: %s}
"""
LABEL_TERMS = ("log_mean", "mean_log")
LABELS = (-1, 0, 1)
ROWS = list(product(range(3), LABELS, LABELS))
TABLE = dict(zip("xab", torch.tensor(ROWS).T, strict=True))
ALPHA, BETA = {"a": 0.7, "b": 2.0}, {"a": 0.5, "b": 0.5, "z": 1.5}
LOG_LABELS = {(0, 0): -1.4064970684, (0, 1): -2.2537949288, (1, 0): -1.1492479046, (1, 1): -1.0992374841}
LOG_LABELS |= {(-1, 0): -0.5764758738, (-1, 1): -0.8252510212}
MEAN_LOGS = {(0, 0): -1.4795547266, (0, 1): -2.6357034298, (1, 0): -1.1801538677, (1, 1): -1.1188324242}
MEAN_LOGS |= {(-1, 0): -0.6374975293, (-1, 1): -1.0022906372}


def near(value: object) -> object:
    return pytest.approx(value, rel=0, abs=1e-10)


def known_in(row: tuple[int, int, int]) -> dict[str, int]:
    return {name: value for name, value in zip("xab", row, strict=True) if value >= 0}


def truths(q: Factors) -> list[Exact]:
    return [exact(P, q, known_in(row)) for row in ROWS]


def enumerated_models(label_term: str) -> list[Model]:
    by_hand = table_model(P, Q_OF_X, labels="a b", enumerated="a z b", label_term=label_term)
    return [by_hand, fill(spec_model(SPEC % label_term), P, Q_OF_X)]


def patterns(table: dict[str, Tensor]) -> dict[tuple[bool, bool], Tensor]:
    """Which rows have which labels: indices by (a is known, b is known)."""
    known = torch.stack([table["a"] >= 0, table["b"] >= 0], 1)
    return {key: (known == torch.tensor(key)).all(1).nonzero().flatten() for key in product((True, False), repeat=2)}


def separate(model: Model, table: dict[str, Tensor], noise: dict[str, Tensor]) -> tuple[list[Block], Tensor]:
    """A block for each pattern of known labels, and the order that puts their rows back."""
    groups = [index for index in patterns(table).values() if len(index)]
    blocks = [
        Block(model.evidence({n: value[i] for n, value in table.items()}), {n: value[:, i] for n, value in noise.items()})
        for i in groups
    ]
    return blocks, torch.cat(groups).argsort()


def test_the_reference_agrees_with_the_oracle() -> None:
    for (a, b), value in LOG_LABELS.items():
        truth = exact(P, Q, known_in((0, a, b)))
        assert sum(truth.labels.values()) == near(value)
        means = truth.mean_logs
        assert sum(means.values()) == near(MEAN_LOGS[a, b])


@pytest.mark.parametrize("label_term", LABEL_TERMS)
def test_labels_by_enumeration_in_a_mixed_block(label_term: str) -> None:
    """log-mean is exact; mean-log is the mean over ancestral draws; a alone has no draw above it and is exact by both."""
    expected = LOG_LABELS if label_term == "log_mean" else MEAN_LOGS
    model = table_model(P, Q, labels="a b", enumerated="a z b", label_term=label_term)
    labels = model([Block(model.evidence(TABLE), {})], model.knobs()).parts
    assert [name for name in "ab" if (labels[f"label.{name}"].isnan() != (TABLE[name] < 0)).any()] == []
    totals = labels["label.a"].nan_to_num() + labels["label.b"].nan_to_num()
    for (_, a, b), found in zip(ROWS, totals.tolist(), strict=True):
        only_a = {-1: 0.0, 0: np.log(0.35), 1: np.log(0.65)}
        assert found == near(expected[a, b] if b >= 0 else only_a[a])


@pytest.mark.parametrize("label_term", LABEL_TERMS)
@pytest.mark.parametrize("samples", [1, 2])
def test_labels_by_sampling_in_a_mixed_block(label_term: str, samples: int) -> None:
    """Every way to draw a and z where they are unknown, in one block: mean-log has the same mean for all samples."""
    model = table_model(P, Q, labels="a b", label_term=label_term)
    for b in (0, 1):
        pieces = [all_draws(model, Q, ["a", "z"], {"x": 0, "b": b}, samples)]
        pieces += [all_draws(model, Q, ["z"], {"x": 0, "a": a, "b": b}, samples) for a in (0, 1)]
        rows = [len(probability) for _, probability in pieces]
        a = torch.cat([torch.full((count,), value) for count, value in zip(rows, LABELS, strict=True)])
        noise = {
            name: torch.cat(
                [
                    block.noise.get(name, torch.full((samples, count, 2), 0.5))
                    for (block, _), count in zip(pieces, rows, strict=True)
                ],
                1,
            )
            for name in "az"
        }
        table = {"x": torch.zeros(len(a)), "a": a, "b": torch.full_like(a, b)}
        parts = model([Block(model.evidence(table), noise)], model.knobs()).parts
        found = (
            torch.cat([probability for _, probability in pieces]) * (parts["label.a"].nan_to_num() + parts["label.b"])
        ).split(rows)
        for value, each in zip(LABELS, found, strict=True):
            if label_term == "mean_log" or samples == 1:
                assert each.sum().item() == near(MEAN_LOGS[value, b])
            else:
                assert MEAN_LOGS[value, b] < each.sum().item() < LOG_LABELS[value, b]


def test_a_label_behind_a_sample_is_summed_over_an_enumerated_one() -> None:
    """a enumerated, z sampled, b known: log-mean tends to log q(b)."""
    samples = 100_000
    model = table_model(P, Q, labels="a b", enumerated="a b")
    for b in (0, 1):
        table = {"x": torch.tensor([0]), "b": torch.tensor([b])}
        block = model.block(table, samples, torch.Generator().manual_seed(b))
        terms, estimate = model.estimate(block, model.knobs())
        weight = (terms["a"].log_cell + terms["b"].log_label).logsumexp(0).exp()
        standard_error = (weight / weight.mean()).std().item() / samples**0.5
        assert abs(estimate.labels["b"].item() - LOG_LABELS[-1, b]) < 4 * standard_error < 0.01


@pytest.mark.parametrize("label_term", LABEL_TERMS)
@pytest.mark.parametrize(("alpha", "beta"), [({"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1.0, "z": 1.0}), (ALPHA, BETA)])
def test_every_row_of_a_mixed_block_is_exact(label_term: str, alpha: dict[str, float], beta: dict[str, float]) -> None:
    """The bound and each of its parts, for every pattern of labels, with alpha per label and beta."""
    for model in enumerated_models(label_term):
        found = model([Block(model.evidence(TABLE), {})], model.knobs(alpha, beta))
        for index, truth in enumerate(truths(Q_OF_X)):
            assert found.bound[index].item() == near(truth.bound(alpha, beta, label_term))
            labels = truth.labels if label_term == "log_mean" else truth.mean_logs
            parts = {f"label.{name}": labels.get(name, np.nan) for name in "ab"}
            parts |= {f"kl.{name}": value for name, value in truth.kls.items()}
            parts |= {f"reconstruction.{name}": value for name, value in truth.reconstructions.items()}
            assert {name: found.parts[name][index].item() for name in parts} == pytest.approx(
                parts, rel=0, abs=1e-10, nan_ok=True
            )


@pytest.mark.parametrize("label_term", LABEL_TERMS)
def test_two_labels_behind_one_latent_share_its_weights(label_term: str) -> None:
    """Log q of the second is given the first: the first has weighed the cells by then."""
    generator = np.random.default_rng(1)
    q = {
        "z": random_factor(generator, "x", 3, 2),
        "a": random_factor(generator, "x z", 3, 2, 2),
        "b": random_factor(generator, "x z a", 3, 2, 2, 2),
    }
    model = table_model(P, q, labels="a b", enumerated="z a b", label_term=label_term)
    found = model([Block(model.evidence(TABLE), {})], model.knobs(ALPHA, BETA))
    for index, truth in enumerate(truths(q)):
        assert found.bound[index].item() == near(truth.bound(ALPHA, BETA, label_term))
        for name, value in (truth.labels if label_term == "log_mean" else truth.mean_logs).items():
            assert found.parts[f"label.{name}"][index].item() == near(value)


def test_enumerated_cells_of_one_sample_count_as_one() -> None:
    """The effective sample size is 1 where nothing is drawn, and that of the samples where their weights are equal."""
    for enumerated, samples in (("a z b", 1), ("a b", 4), ("a z", 4)):
        model = table_model(P, Q_OF_X, labels="a b", enumerated=enumerated)
        block = model.block({"x": torch.arange(3)}, samples, torch.Generator().manual_seed(0))
        assert model([block], model.knobs()).parts["effective_samples"].tolist() == near([float(samples)] * 3)


@pytest.mark.parametrize("label_term", LABEL_TERMS)
def test_evidence_and_prediction_in_a_mixed_block(label_term: str) -> None:
    for model in enumerated_models(label_term):
        evidence = model.log_evidence(TABLE)
        assert evidence.value.tolist() == near([truth.log_evidence for truth in truths(Q_OF_X)])
        assert evidence.standard_error.tolist() == [0.0] * len(ROWS)
        by_q, by_importance = model.predict(TABLE, by="q"), model.predict(TABLE, by="importance")
        for index, truth in enumerate(truths(Q_OF_X)):
            for name in "azb":
                assert by_q[name][index].tolist() == near(truth.q[name].tolist())
                assert by_importance[name][index].tolist() == near(truth.p[name].tolist())


@pytest.mark.parametrize("label_term", LABEL_TERMS)
def test_the_importance_bound_at_one_sample_in_a_mixed_block(label_term: str) -> None:
    """At one sample, beta 1 and alpha 0, each row's mean over all draws is that of the importance bound: sampled and masked."""
    model = table_model(P, Q_OF_X, labels="a b", label_term=label_term)
    draws = list(product((0, 1), repeat=3))
    values = {name: torch.tensor(draws).T[i].repeat(len(ROWS))[None] for i, name in enumerate("azb")}
    table = {name: value.repeat_interleave(len(draws)) for name, value in TABLE.items()}
    noise = {name: forced(value, 2) for name, value in values.items()}
    bound = model.estimate(Block(model.evidence(table), noise), model.knobs(alpha=0.0))[1].bound
    for index, (row, truth) in enumerate(zip(ROWS, truths(Q_OF_X), strict=True)):
        own = slice(index * len(draws), (index + 1) * len(draws))
        drawn = [name for name in "azb" if name not in known_in(row)]
        clamped = {name: torch.full((1, len(draws)), value) for name, value in known_in(row).items()}
        probability = log_draw(Q_OF_X, {n: v[:, own] for n, v in values.items()} | clamped, drawn).exp()
        repeats = 2 ** (3 - len(drawn))  # a draw of a known variable is ignored
        assert ((probability * bound[own]).sum() / repeats).item() == near(truth.draws)


@pytest.mark.parametrize("label_term", LABEL_TERMS)
@pytest.mark.parametrize("enumerated", ["", "a", "z", "b", "a z", "a z b"])
def test_one_mixed_block_or_a_block_for_each_pattern(label_term: str, enumerated: str) -> None:
    model = table_model(P, Q_OF_X, labels="a b", enumerated=enumerated, label_term=label_term)
    noise = model.noise(3, len(ROWS), torch.Generator().manual_seed(0))
    knobs = model.knobs(ALPHA, BETA)
    together = Block(model.evidence(TABLE), noise)
    blocks, order = separate(model, TABLE, noise)
    mixed, apart = model([together], knobs), model(blocks, knobs)
    torch.testing.assert_close(mixed.bound, apart.bound[order], rtol=0, atol=1e-12)
    for name in mixed.parts.keys() - {"effective_samples"}:  # one block has samples in rows where another draws nothing
        torch.testing.assert_close(mixed.parts[name], apart.parts[name][order], rtol=0, atol=1e-12, equal_nan=True)
    evidence = log_evidence(model.infer(together, knobs)[1])
    alone = [log_evidence(model.infer(block, knobs)[1]) for block in blocks]
    for index in (0, 1):
        apart_again = torch.cat([each[index] for each in alone])[order]
        torch.testing.assert_close(evidence[index], apart_again, rtol=0, atol=1e-12)
