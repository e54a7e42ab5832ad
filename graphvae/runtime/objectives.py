"""Objectives: functions of named terms.

The estimator is that of Siddharth et al. (NIPS 2017), section 3, in one formula for labelled, unlabelled and partly labelled
rows, with enumerated variables summed out exactly. With e running over enumerated values, s over S samples, and per row

    lw(e,s) = sum of log q over enumerated unknown variables, at e, and over known ones        log-weight of a cell
    f(e,s)  = sum of log p(observed | ...) - sum over the others of beta (log q - log p)
    L       = sum_{e,s} softmax(lw)(e,s) f(e,s) + sum_i (beta + alpha_i) log q(label i | row, labels before i)

Nothing is detached. The other bound is the logarithm of the mean importance weight (Burda et al. 2016), with the enumerated
values outside of the logarithm, so that q learns from them:

    B       = sum_e q(e) (log (1/S) sum_s exp(g(e,s)) - log q(e)) + sum_i alpha_i log q(label i | row, labels before i)

where g is f without log q of enumerated and of known variables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from graphvae.runtime.draws import Knobs
from graphvae.runtime.plates import somewhere
from graphvae.runtime.terms import Term


class Estimate(NamedTuple):
    """The objective of each row, the normalised weight of each cell, and log q of each label.

    `bound` [row], `weight` [enumerations..., sample, row], `labels` [row] each.
    """

    bound: Tensor
    weight: Tensor
    labels: dict[str, Tensor]


class LogEvidence(NamedTuple):
    """An estimate of log p(evidence), its standard error from the spread of the weights, and their effective number, [row]."""

    value: Tensor
    standard_error: Tensor
    effective_samples: Tensor


def self_normalised(terms: Mapping[str, Term], knobs: Knobs, label_term: str) -> Estimate:
    """The self-normalised importance-sampling objective.

    Args:
        terms: A term per variable, in the topological order of q, the observed ones last.
        knobs: alpha and beta.
        label_term: `log_mean`, the logarithm of the mean weight, consistent as the samples grow; or `mean_log`, a lower bound
            with less variance that does not tighten with samples.
    """
    elbo = total(term.log_p if term.observed else -knobs.beta[name] * term.divergence for name, term in terms.items())
    weight = cell_weights(terms, elbo)
    log_labels = label_terms(terms, label_term)
    bound = expect(weight, elbo)
    for name, value in log_labels.items():
        bound = bound + (knobs.beta[name] + knobs.alpha[name]) * value
    return Estimate(bound, weight, log_labels)


def importance(terms: Mapping[str, Term], knobs: Knobs, label_term: str) -> Estimate:
    """The importance bound B, at beta 1 a lower bound on log p(known) that rises to it as the samples grow.

    No enumerated variable may stand below a draw: log q of its values must be the same for every sample.
    """
    log_ratio = log_ratios(terms, knobs.beta)
    return sum_values(terms, knobs, label_term, log_ratio, log_mean_exp(log_ratio))


def doubly_reparameterised(terms: Mapping[str, Term], knobs: Knobs, label_term: str) -> tuple[Estimate, Tensor]:
    """The importance bound with its weights detached, for the gradient of Tucker et al. (2019), and what that multiplies by.

    The terms must score every draw by a q whose network weights are detached, at values through which the gradient is
    multiplied by the returned factor [enumerations..., sample, row]. With w the normalised weight of a sample, the score of q
    is worth -beta (w - w^2) of the derivative through the draw, beside the w that it has there: together w (1 - beta + beta w),
    of which the first w is in the bound. All variables must share one beta.
    """
    log_ratio = log_ratios(terms, knobs.beta)
    weight = sample_weights(log_ratio).detach()
    mean = (weight * log_ratio).sum(-2) if log_ratio.dim() > 1 else log_ratio
    estimate = sum_values(terms, knobs, label_term, log_ratio, log_mean_exp(log_ratio).detach() + mean - mean.detach())
    beta = next(iter(knobs.beta.values()))
    return estimate, 1 - beta + beta * weight


def sum_values(terms: Mapping[str, Term], knobs: Knobs, label_term: str, log_ratio: Tensor, log_means: Tensor) -> Estimate:
    """Equation B from the logarithm of the mean weight for every enumerated value, [enumerations..., row]."""
    log_q = total(
        [log_means.new_zeros(()), *(knobs.beta[n] * term.log_cell for n, term in terms.items() if term.log_cell is not None)]
    )
    cells = over_values(log_cells(terms))
    weight = normalised(torch.broadcast_tensors(cells, log_means)[0])
    bound = expect(weight, log_means - over_values(log_q))
    log_labels = label_terms(terms, label_term)
    for name, value in log_labels.items():
        bound = bound + knobs.alpha[name] * value
    by_sample = weight.unsqueeze(-2) if log_ratio.dim() > 1 else weight
    return Estimate(bound, by_sample * sample_weights(log_ratio), log_labels)


def with_score_function(
    objective: Callable[[Mapping[str, Term], Knobs, str], Estimate],
    terms: Mapping[str, Term],
    knobs: Knobs,
    label_term: str,
) -> Estimate:
    """An objective whose gradient includes that of the draws which pass none on to their values.

    With L the whole estimate of a row, L(-s) the same without sample s and all its cells, and r the product of q over those
    draws, the gradient gains that of sum_s stop(L - L(-s)) log r(s) (Mnih and Rezende 2016); the value stays L. Weighting each
    sample by its own share of the objective would be biased wherever the weights are normalised.

    Raises:
        ValueError: If there is one sample, with which no other can be compared.
    """
    estimate = objective(terms, knobs, label_term)
    scores = score_terms(terms)
    if not scores or not torch.is_grad_enabled():
        return estimate
    log_r = total(scores)
    samples = log_r.shape[0]
    if samples < 2:
        raise ValueError("a score-function gradient compares samples with each other: it needs two or more")
    with torch.no_grad():
        others = [objective(without_sample(terms, sample, samples), knobs, label_term).bound for sample in range(samples)]
        advantage = estimate.bound - torch.stack(others)
    return estimate._replace(bound=estimate.bound + (advantage * (log_r - log_r.detach())).sum(0))


def score_terms(terms: Mapping[str, Term]) -> list[Tensor]:
    """Log r of every draw that passes no gradient to its value, [sample, row]: over the cells that labels do not rule out.

    The draw of a cell that is ruled out would add nothing but noise of mean zero.
    """
    scored = [term for term in terms.values() if term.score and term.log_draw is not None]
    drawn = [log_draw for term in scored for log_draw in term.slots or (term.log_draw,) if log_draw is not None]
    cells = log_cells(terms)
    return [sum_enumerations(torch.where(ruled_out(cells, log_draw), 0.0, log_draw)) for log_draw in drawn]


def ruled_out(cells: Tensor, like: Tensor) -> Tensor:
    """Which of its own cells a draw [enumerations..., sample, row] has in vain, since labels rule out all that depend on it."""
    return ~somewhere(cells != -torch.inf, like.shape)


def without_sample(terms: Mapping[str, Term], sample: int, samples: int) -> dict[str, Term]:
    """Terms with one sample and all its cells left out; a part that is the same for all samples stays as it is."""

    def rest(part: Tensor | None) -> Tensor | None:
        if part is None or part.dim() < 2 or part.shape[-2] != samples:
            return part
        return torch.cat([part[..., :sample, :], part[..., sample + 1 :, :]], -2)

    left = {}
    for name, (log_p, log_draw, log_cell, log_label, known, kl, *_) in terms.items():
        remaining = rest(log_p)
        assert remaining is not None
        left[name] = Term(remaining, rest(log_draw), rest(log_cell), rest(log_label), known, rest(kl))
    return left


def label_terms(terms: Mapping[str, Term], label_term: str) -> dict[str, Tensor]:
    """Log q of each label given the row and the labels before it, [row] each."""
    labels = {name: term.log_label for name, term in terms.items() if term.log_label is not None}
    estimate = mean_log if label_term == "mean_log" else log_mean
    return estimate(log_cells(terms), labels)


def log_mean(cells: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Log q of each label by the mean weight: its increment along the chain rule, logsumexp(after) - logsumexp(before)."""
    increments, before = {}, cells
    for name, label in labels.items():
        before, after = torch.broadcast_tensors(before, before + label)
        increments[name] = sum_cells(after) - sum_cells(before)
        before = after
    return increments


def mean_log(cells: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Log q of each label by the mean of its logarithm over samples, weighted by the probability of the enumerated values."""
    means = {}
    for name, label in labels.items():
        log_weight, label = torch.broadcast_tensors(cells, label)
        means[name] = expect(normalised(log_weight), label)
    return means


def log_evidence(terms: Mapping[str, Term]) -> LogEvidence:
    """Log p of everything known, by importance sampling: the log of the mean of p(known, drawn) / q(drawn) over samples.

    Where nothing is drawn it is exact, with a standard error of 0; one sample has none, and NaN stands for it.
    """
    log_ratio = log_importance(terms)
    samples = log_ratio.shape[-2] if log_ratio.dim() > 1 else 1
    by_sample = log_ratio.flatten(0, -3).logsumexp(0) if log_ratio.dim() > 2 else log_ratio.reshape(samples, -1)
    value = by_sample.logsumexp(0) - math.log(samples)
    drawn = any(term.log_draw is not None for term in terms.values())
    variance = ((by_sample - value).exp() - 1).square().sum(0) / (samples * (samples - 1))  # of the mean of ratios, which is 1
    standard_error = variance.sqrt() if drawn else torch.zeros_like(value)
    return LogEvidence(value, standard_error, effective_samples(by_sample.softmax(0)))


def log_importance(terms: Mapping[str, Term]) -> Tensor:
    """Log p(known, drawn) - log q(drawn), with enumerated variables left to be summed: [enumerations..., sample, row]."""
    cells, log_ratio = torch.broadcast_tensors(log_cells(terms), log_ratios(terms, dict.fromkeys(terms, 1.0)))
    return torch.where(cells == -torch.inf, -torch.inf, log_ratio)


def log_ratios(terms: Mapping[str, Term], beta: Mapping[str, Tensor | float]) -> Tensor:
    """The logarithm of an importance weight, [enumerations..., sample, row]: log p of all, less log q of what is drawn."""
    parts = [
        term.log_p if term.observed else beta[name] * (term.log_p if term.log_draw is None else term.log_p - term.log_draw)
        for name, term in terms.items()
    ]
    return total(parts)


def report(terms: Mapping[str, Term], estimate: Estimate) -> dict[str, Tensor]:
    """The parts of the objective by name, [row] each, without gradient.

    `reconstruction.NAME` is the expected log-likelihood of an observed variable, `kl.NAME` the expected log q - log p of
    another, `label.NAME` log q of a label (NaN in a row without it), and `effective_samples` is 1 / sum of squared weights over
    the samples.
    """
    parts, weight = {}, estimate.weight.detach()
    for name, term in terms.items():
        if term.observed:
            parts[f"reconstruction.{name}"] = expect(weight, term.log_p.detach())
        else:
            parts[f"kl.{name}"] = expect(weight, term.divergence.detach())
    for name, value in estimate.labels.items():
        known = terms[name].known
        parts[f"label.{name}"] = value.detach() if known is None else torch.where(known, value.detach(), torch.nan)
    parts["effective_samples"] = effective_samples(weight)
    return parts


def effective_samples(weight: Tensor) -> Tensor:
    """The effective sample size of normalised weights [enumerations..., sample, row], summed over enumerations first."""
    by_sample = over_cells(sum_enumerations(weight))
    return 1 / by_sample.square().sum(0)


def cell_weights(terms: Mapping[str, Term], like: Tensor) -> Tensor:
    """The normalised weights of the objective, softmax(lw), on every axis that they or `like` have."""
    parts = [part for term in terms.values() for part in (term.log_cell, term.log_label) if part is not None]
    log_weight, _ = torch.broadcast_tensors(total([like.new_zeros(()), *parts]), like)
    return normalised(log_weight)


def log_cells(terms: Mapping[str, Term]) -> Tensor:
    """The log-weight of each cell before any label: zero where nothing is enumerated."""
    first = next(iter(terms.values()))
    return total([first.log_p.new_zeros(()), *(term.log_cell for term in terms.values() if term.log_cell is not None)])


def log_mean_exp(log_weight: Tensor) -> Tensor:
    """The logarithm of the mean over samples, [enumerations..., row]."""
    return log_weight.logsumexp(-2) - math.log(log_weight.shape[-2]) if log_weight.dim() > 1 else log_weight


def sample_weights(log_weight: Tensor) -> Tensor:
    """Weights that sum to one over the samples of each enumerated value, [enumerations..., sample, row]."""
    return log_weight.softmax(-2) if log_weight.dim() > 1 else torch.ones_like(log_weight)


def over_values(log_cell: Tensor) -> Tensor:
    """What is the same for all samples, [enumerations..., 1, row], as [enumerations..., row].

    Raises:
        ValueError: If it differs from sample to sample.
    """
    if log_cell.dim() > 1 and log_cell.shape[-2] > 1:
        raise ValueError("an importance bound cannot sum over the values of a variable below a draw")
    return log_cell.squeeze(-2) if log_cell.dim() > 1 else log_cell


def sum_enumerations(part: Tensor) -> Tensor:
    """[enumerations..., sample, row] as [sample, row]."""
    return part.flatten(0, -3).sum(0) if part.dim() > 2 else part


def total(parts: Iterable[Tensor]) -> Tensor:
    """The sum of tensors that broadcast."""
    return reduce(torch.add, parts)


def sum_cells(log_weight: Tensor) -> Tensor:
    """Logsumexp over all axes but the row."""
    return over_cells(log_weight).logsumexp(0) if log_weight.dim() > 1 else log_weight


def normalised(log_weight: Tensor) -> Tensor:
    """Weights that sum to one over all axes but the row; NaN where a row has no cell left."""
    return over_cells(log_weight).softmax(0).reshape(log_weight.shape)


def expect(weight: Tensor, value: Tensor) -> Tensor:
    """The sum of weight times value over all axes but the row; a cell of weight zero counts nothing, whatever its value.

    A weight that is NaN stays NaN.
    """
    weight, value = torch.broadcast_tensors(weight, value)
    kept = weight != 0
    return over_cells(torch.where(kept, weight * torch.where(kept, value, 0.0), 0.0)).sum(0)


def over_cells(tensor: Tensor) -> Tensor:
    """[enumerations..., sample, row] as [cell, row]. (`reshape(-1, rows)` would fail on an empty block.)."""
    return tensor.flatten(0, -2) if tensor.dim() > 1 else tensor.unsqueeze(0)
