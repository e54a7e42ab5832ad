"""O11 and O15, and planted faults: each oracle goes red when the fault that it is there for is in the runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import test_bounds as bounds
import test_choose as rule
import test_gradients as gradients
import test_missing as missing
import test_oracles_discrete as discrete
import test_oracles_gaussian as gaussian
import test_oracles_honest as honest
import test_oracles_masks as masks
import torch
from exact import Factors, random_factor, table_model
from torch import Tensor

from graphvae.compiler import gradients as compiler
from graphvae.runtime import Block, Evidence, Knobs, Term, draws, model, objectives
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


def scores_weighed_by_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "with_score_function", gradients.per_sample)


def sample_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "without_sample", lambda terms, sample, samples: terms)


def scores_of_one_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "sum_enumerations", lambda part: part.flatten(0, -3)[0] if part.dim() > 2 else part)


def one_draw_for_all_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    original = draws.Draws.score_function

    def score_function(self: draws.Draws, name: str, distribution: object, axes: int = 0) -> Tensor:
        for axis in range(2, 2 + axes):
            self.noise[name].copy_(self.noise[name].narrow(axis, 0, 1))
        return original(self, name, distribution, axes)

    monkeypatch.setattr(draws.Draws, "score_function", score_function)


def score_passed_on_to_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    original = draws.Draws.score_function

    def score_function(self: draws.Draws, name: str, distribution: object, axes: int = 0) -> Tensor:
        original(self, name, distribution, axes)
        if self.made[name].known is not True:
            self.made[name] = replace(self.made[name], value=distribution.sample(self.noise[name]))
        return self.made[name].value

    monkeypatch.setattr(draws.Draws, "score_function", score_function)


def relaxed_label_scored_by_density(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Draw._measured

    def measured(self: Draw, distribution: object) -> Tensor:
        if self.relaxed is None or not isinstance(self.known, Tensor):
            return original(self, distribution)
        return original(replace(self, known=False), distribution)

    monkeypatch.setattr(Draw, "_measured", measured)


def relaxed_draw_scored_by_its_largest_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(self: Draw, distribution: object) -> Tensor:
        largest = torch.zeros_like(self.value).scatter(-1, self.value.argmax(-1, keepdim=True), 1.0)
        return distribution.log_prob(self.value if self.relaxed is None or distribution.joint == 0 else largest)

    monkeypatch.setattr(Draw, "_measured", measured)


def temperature_in_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    original = model.Model.knobs
    warm = {"y": 0.5, "z": 0.5}
    monkeypatch.setattr(model.Model, "knobs", lambda self, *weights: original(self, *weights, temperature=warm))


def soft_value_straight_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws.Draws, "straight_through", draws.Draws.concrete)


def relaxed_draw_scored_by_densities(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Draw._divergence

    def divergence(self: Draw, prior: object, sampled: Tensor, closed: Tensor | bool) -> Tensor:
        return sampled if self.relaxed else original(self, prior, sampled, closed)

    monkeypatch.setattr(Draw, "_divergence", divergence)


def relaxation_chosen_without_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "_not_closed", lambda q, p, name, objective: "")


def ruled_out_cells_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "ruled_out", lambda cells, like: torch.zeros_like(like, dtype=torch.bool))


def scores_left_out_for_one_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draw that many cells share is left out where a label rules out any of them, and not all."""
    original = objectives.ruled_out

    def ruled_out(cells: Tensor, like: Tensor) -> Tensor:
        return ~original(torch.where(cells == -torch.inf, 0.0, -torch.inf), like)

    monkeypatch.setattr(objectives, "ruled_out", ruled_out)


def labels_behind_a_closed_form_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.Model, "closed", lambda self, name, q: name in self.closed_kl)


def closed_form_below_a_parent_of_p(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "random_parents", lambda side, name: [])


def location_and_scale_detached(monkeypatch: pytest.MonkeyPatch) -> None:
    original = model.Model.run

    def run(self: model.Model, network: object, evidence: Mapping[str, Evidence], *rest: object) -> dict[str, Draw]:
        if len(rest) > 2:  # the pass that only scores
            evidence = {name: each._replace(value=each.value.detach()) for name, each in evidence.items()}
        return original(self, network, evidence, *rest)

    monkeypatch.setattr(model.Model, "run", run)


def weight_of_the_sample_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "reweighed", lambda values, q, weight: values)


def beta_forgotten_in_the_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    original = model.doubly_reparameterised

    def doubly_reparameterised(terms: Mapping[str, Term], knobs: Knobs, label_term: str) -> tuple[objectives.Estimate, Tensor]:
        weight = objectives.sample_weights(objectives.log_ratios(terms, knobs.beta)).detach()
        return original(terms, knobs, label_term)[0], weight

    monkeypatch.setattr(model, "doubly_reparameterised", doubly_reparameterised)


def second_pass_counted_as_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    def detached(network: torch.nn.Module) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in network.named_parameters()} | dict(network.named_buffers())

    monkeypatch.setattr(model, "detached", detached)


def q_of_cells_forgotten_in_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    original = objectives.sum_values

    def sum_values(terms: Mapping[str, Term], knobs: Knobs, *rest: object) -> objectives.Estimate:
        beta = {name: 0 * value if terms[name].log_cell is not None else value for name, value in knobs.beta.items()}
        return original(terms, Knobs(knobs.alpha, beta), *rest)

    monkeypatch.setattr(objectives, "sum_values", sum_values)


def missing_cells_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Draw, "log_prob", property(lambda self: self.distribution.log_prob(self.value)))


def missing_cells_left_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    original = model.masked_evidence
    monkeypatch.setattr(model, "masked_evidence", lambda value, kind: original(value, kind)._replace(value=value))


def mask_shown_the_wrong_way(monkeypatch: pytest.MonkeyPatch) -> None:
    original = draws.Draws.masked

    def masked(self: draws.Draws, name: str) -> tuple[Tensor, Tensor]:
        value, there = original(self, name)
        return value, 1 - there

    monkeypatch.setattr(draws.Draws, "masked", masked)


def imputed_by_equal_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "normalised", lambda weight: objectives.normalised(torch.zeros_like(weight)))


def imputed_with_one_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    original = model.imputation

    def imputation(kind: model.Variable, known: Evidence | None, *rest: object) -> model.Imputation:
        means, weight, drawn, *others = rest
        each = list(drawn)
        return original(kind, known, means, weight, each[:1] * len(each), *others)

    monkeypatch.setattr(model, "imputation", imputation)


def known_cells_imputed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Evidence, "completed", lambda self, value: value)


def unbiased(q: str, y: str = "enumerate") -> None:
    gradients.test_a_score_function_gradient_has_no_bias(q, gradients.SCORED, y, {}, 3, 1.0, "log_mean")


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
    (
        scores_weighed_by_sample,
        lambda: gradients.test_a_score_function_gradient_has_no_bias(
            "behind", gradients.SCORED, "enumerate", {"y": 0}, 2, 1.0, "log_mean"
        ),
    ),
    (sample_not_left_out, lambda: unbiased("behind")),
    (scores_of_one_cell, lambda: unbiased("first")),
    (one_draw_for_all_cells, lambda: unbiased("first")),
    (
        score_passed_on_to_the_value,
        lambda: gradients.test_a_score_function_gradient_of_a_normal_draw(gradients.SCORED, "reparameterised", 0.8),
    ),
    (relaxed_label_scored_by_density, lambda: gradients.test_concrete_draws_in_a_mixed_block(1, "log_mean")),
    (relaxed_draw_scored_by_its_largest_entry, lambda: gradients.test_the_bias_of_a_gradient_by_densities("categorical")),
    (relaxed_draw_scored_by_densities, lambda: gradients.test_the_bias_of_a_concrete_gradient("categorical")),
    (relaxed_draw_scored_by_densities, lambda: gradients.test_the_value_of_the_enumerated_bound_at_hard_draws("concrete")),
    (labels_behind_a_closed_form_ignored, lambda: gradients.test_concrete_draws_in_a_mixed_block(1, "log_mean")),
    (
        closed_form_below_a_parent_of_p,
        lambda: gradients.test_densities_against_a_parent_below_and_under_importance("self_normalised"),
    ),
    (relaxation_chosen_without_a_look, rule.test_an_importance_bound_enumerates_nothing_below_a_draw),
    (ruled_out_cells_scored, lambda: gradients.test_what_a_label_rules_out_adds_no_variance(0)),
    (
        scores_left_out_for_one_cell,
        lambda: gradients.test_a_score_function_gradient_has_no_bias_in_a_mixed_block(gradients.KINDS[0], "log_mean"),
    ),
    (ruled_out_cells_scored, lambda: gradients.test_what_one_of_two_labels_rules_out_adds_no_variance({"a": 1})),
    (temperature_in_answers, gradients.test_what_is_answered_with_concrete_draws_is_exact),
    (
        soft_value_straight_through,
        lambda: gradients.test_a_hard_draw_has_the_exact_value_and_the_gradient_of_the_relaxed_one("bernoulli"),
    ),
    (labels_behind_a_closed_form_ignored, bounds.test_o3_the_divergence_in_closed_form_and_where_a_label_weighs_it),
    (closed_form_below_a_parent_of_p, bounds.test_no_closed_form_below_a_parent_of_p),
    (location_and_scale_detached, lambda: bounds.test_the_doubly_reparameterised_gradient_has_the_same_mean({}, 2, 1.0)),
    (
        weight_of_the_sample_forgotten,
        lambda: bounds.test_the_doubly_reparameterised_gradient_has_the_same_mean({"k": 1}, 2, 1.0),
    ),
    (beta_forgotten_in_the_factor, lambda: bounds.test_the_doubly_reparameterised_gradient_has_the_same_mean({}, 2, 1.5)),
    (second_pass_counted_as_a_batch, bounds.test_running_statistics_are_updated_once),
    (
        q_of_cells_forgotten_in_the_bound,
        bounds.test_o2_the_bound_without_the_label_and_the_sum_over_it_outside_of_the_logarithm,
    ),
    (detached_weights, lambda: bounds.test_the_importance_bound_and_its_plain_gradient({}, 5, "log_mean")),
    (missing_cells_scored, lambda: missing.test_what_is_missing_leaves_the_likelihood("samples: 3")),
    (missing_cells_left_nan, lambda: missing.test_what_is_missing_leaves_the_likelihood("samples: 3")),
    (mask_shown_the_wrong_way, missing.test_q_sees_zeros_and_what_is_there),
    (imputed_by_equal_weights, lambda: missing.test_imputation_of_categories(False)),
    (imputed_with_one_noise, lambda: missing.test_every_imputed_draw_is_another_one([0.9, missing.NAN, missing.NAN])),
    (known_cells_imputed, lambda: missing.test_imputation_and_evidence_of_jointly_normal_cells(0)),
]


@pytest.mark.parametrize(("fault", "oracle"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_a_planted_fault_is_seen(
    fault: Callable[[pytest.MonkeyPatch], None], oracle: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle()
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        oracle()
