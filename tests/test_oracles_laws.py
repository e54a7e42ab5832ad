"""O11 and O15, and planted faults: each oracle goes red when the fault that it is there for is in the runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import test_oracles_discrete as discrete
import test_oracles_gaussian as gaussian
import test_oracles_honest as honest
import test_oracles_masks as masks
import torch
from exact import Factors, random_factor, table_model
from torch import Tensor

from graphvae.runtime import Block, Knobs, Term, draws, model, objectives
from graphvae.runtime.draws import Draw
from graphvae.runtime.objectives import log_evidence, self_normalised

pytestmark = pytest.mark.usefixtures("float64")


def test_o11_gamma_is_the_share_of_labelled_rows_in_a_batch() -> None:
    """sum L + gamma sum L_sup = (N + gamma M) [(1 - rho) mean L + rho mean L_sup], the mean over such a batch."""
    unlabelled, labelled, gamma = 9, 3, 4
    rho = gamma * labelled / (unlabelled + gamma * labelled)
    assert rho == pytest.approx(0.5714285714, rel=0, abs=5e-11)
    made = gaussian.gaussian()
    generator = torch.Generator().manual_seed(0)
    rows = {
        "x": torch.randn(unlabelled + labelled, generator=generator),
        "y": torch.randn(unlabelled + labelled, generator=generator),
    }
    rows["y"][labelled:] = torch.nan
    block = made.block(rows, 5, generator)
    bound = made([block], made.knobs(alpha=2.0)).bound
    supervised, free = bound.split([labelled, unlabelled])
    total = free.sum() + gamma * supervised.sum()
    mixture = (1 - rho) * free.mean() + rho * supervised.mean()
    torch.testing.assert_close(total, (unlabelled + gamma * labelled) * mixture, rtol=1e-14, atol=0)
    repeats = torch.cat([torch.arange(labelled).repeat(gamma), torch.arange(labelled, labelled + unlabelled)])
    noise = {name: value[:, repeats] for name, value in block.noise.items()}
    batch = Block(made.evidence({name: value[repeats] for name, value in rows.items()}), noise)
    assert (~rows["y"][repeats].isnan()).double().mean().item() == pytest.approx(rho)
    torch.testing.assert_close(made([batch], made.knobs(alpha=2.0)).bound.mean(), mixture, rtol=1e-14, atol=0)


@pytest.mark.parametrize("enumerated", ["", "a", "z", "b", "a z b"])
@pytest.mark.parametrize("samples", [1, 2, 8])
def test_o15_mean_log_below_log_mean_below_importance(enumerated: str, samples: int) -> None:
    """Row by row, with the same draws and alpha 0; any label may be missing. They coincide at one sample of everything."""
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
    made = table_model(p, q, labels="a b", enumerated=enumerated)
    rows = {
        name: torch.tensor(generator.integers(low, high, 2000))
        for name, low, high in (("x", 0, 50), ("a", -1, 2), ("b", -1, 2))
    }
    terms = made.infer(made.block(rows, samples, torch.Generator().manual_seed(samples)), made.knobs())[1]
    lowest, middle = (self_normalised(terms, made.knobs(alpha=0.0), term).bound for term in ("mean_log", "log_mean"))
    highest = log_evidence(terms).value
    assert (lowest - middle).max().item() < 1e-13
    assert (middle - highest).max().item() < 1e-13
    if samples == 1 and not enumerated:
        torch.testing.assert_close(lowest, highest, rtol=0, atol=1e-13)
    else:
        assert (highest - middle).max().item() > 0.1


def detached_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    expect = objectives.expect
    monkeypatch.setattr(objectives, "expect", lambda weight, value: expect(weight.detach(), value))


def swapped_label_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    log_mean, mean_log = objectives.log_mean, objectives.mean_log
    monkeypatch.setattr(objectives, "log_mean", mean_log)
    monkeypatch.setattr(objectives, "mean_log", log_mean)


def label_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    log_mean = objectives.log_mean
    monkeypatch.setattr(objectives, "log_mean", lambda cells, labels: {n: 2 * v for n, v in log_mean(cells, labels).items()})


def latent_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Draw.term

    def term(self: Draw, prior: object, closed: object = False) -> Term:
        made = original(self, prior, closed)
        return made._replace(log_p=made.log_p - made.log_draw) if made.log_draw is not None else made

    monkeypatch.setattr(Draw, "term", term)


def mask_not_applied_to_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Draw.term

    def term(self: Draw, prior: object, closed: object = False) -> Term:
        made = original(self, prior, closed)
        return made if made.known is None or made.log_cell is None else made._replace(log_cell=made.log_cell.clamp_min(-1.0))

    monkeypatch.setattr(Draw, "term", term)


def mask_not_applied_to_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """A label's density is added to the weights in rows without the label, as if its draw were known."""
    original = Draw.term

    def term(self: Draw, prior: object, closed: object = False) -> Term:
        made = original(self, prior, closed)
        if made.known is None or made.log_draw is None:
            return made
        return made._replace(log_label=self.distribution.log_prob(self.value), log_draw=torch.zeros_like(made.log_draw))

    monkeypatch.setattr(Draw, "term", term)


def labels_masked_after_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    """The known value is used everywhere, and the log-probability selected afterwards: NaN reaches the networks behind."""
    original = draws.Draws.sample

    def sample(self: draws.Draws, name: str, distribution: object) -> Tensor:
        evidence = self.evidence.get(name)
        value = original(self, name, distribution)
        if evidence is None or evidence.known is None:
            return value
        self.made[name] = Draw(evidence.value, distribution, evidence.known)
        return evidence.value

    monkeypatch.setattr(draws.Draws, "sample", sample)


def weights_of_p_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "log_importance", lambda terms: objectives.log_importance(terms) * 0.0)


def evidence_divided_by_q_of_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    original = objectives.log_importance
    monkeypatch.setattr(objectives, "log_importance", lambda terms: original(terms) - objectives.log_cells(terms))


def alpha_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    def shared(terms: Mapping[str, Term], knobs: Knobs, label_term: str) -> objectives.Estimate:
        first = next(iter(knobs.alpha.values()))
        return self_normalised(terms, Knobs(dict.fromkeys(knobs.alpha, first), knobs.beta), label_term)

    monkeypatch.setattr(model, "self_normalised", shared)


def beta_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgotten(terms: Mapping[str, Term], knobs: Knobs, label_term: str) -> objectives.Estimate:
        return self_normalised(terms, Knobs(knobs.alpha, {n: torch.ones_like(v) for n, v in knobs.beta.items()}), label_term)

    monkeypatch.setattr(model, "self_normalised", forgotten)


def nan_weights_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    expect = objectives.expect
    monkeypatch.setattr(objectives, "expect", lambda weight, value: expect(weight.nan_to_num(), value))


FAULTS: list[tuple[Callable[[pytest.MonkeyPatch], None], Callable[[], None]]] = [
    (detached_weights, gaussian.test_o4_the_gradient_is_exact),
    (swapped_label_terms, lambda: gaussian.test_o3_by_quadrature(0.0)),
    (swapped_label_terms, lambda: discrete.test_o1_enumerated_is_the_limit_of_many_samples(0, "log_mean", 0)),
    (label_counted_twice, lambda: discrete.test_o1_expectations_over_every_tuple_of_samples(0, 2)),
    (latent_counted_twice, lambda: discrete.test_o1_expectations_over_every_tuple_of_samples(0, 2)),
    (latent_counted_twice, gaussian.test_o3_without_the_label),
    (mask_not_applied_to_cells, lambda: masks.test_labels_by_enumeration_in_a_mixed_block("log_mean")),
    (mask_not_applied_to_draws, lambda: masks.test_the_importance_bound_at_one_sample_in_a_mixed_block("log_mean")),
    (labels_masked_after_the_score, lambda: honest.test_missing_labels_leave_value_and_gradients_finite("log_mean")),
    (weights_of_p_forgotten, lambda: discrete.test_evidence_and_prediction_by_enumeration({"y": 0})),
    (evidence_divided_by_q_of_cells, lambda: discrete.test_evidence_and_prediction_by_enumeration({})),
    (alpha_shared, lambda: masks.test_every_row_of_a_mixed_block_is_exact("log_mean", masks.ALPHA, masks.BETA)),
    (beta_forgotten, lambda: masks.test_every_row_of_a_mixed_block_is_exact("log_mean", masks.ALPHA, masks.BETA)),
    (nan_weights_dropped, lambda: honest.test_a_leak_is_nan_and_never_a_better_number("kind", "mean_log", "tensor")),
]


@pytest.mark.parametrize(("fault", "oracle"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_a_planted_fault_is_seen(
    fault: Callable[[pytest.MonkeyPatch], None], oracle: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle()
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        oracle()
