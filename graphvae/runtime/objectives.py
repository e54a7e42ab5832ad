"""Objectives: functions of named terms.

The estimator is that of Siddharth et al. (NIPS 2017), section 3, in one formula for labelled, unlabelled and partly labelled
rows, with enumerated variables summed out exactly. With e running over enumerated values, s over S samples, and per row

    lw(e,s) = sum of log q over enumerated unknown variables, at e, and over known ones        log-weight of a cell
    f(e,s)  = sum of log p(observed | ...) - sum over the others of beta (log q - log p)
    L       = sum_{e,s} softmax(lw)(e,s) f(e,s) + sum_i (beta + alpha_i) log q(label i | row, labels before i)

Nothing is detached.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from graphvae.runtime.draws import Knobs, Term


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
    elbo = total(term.log_p if term.observed else knobs.beta[name] * (term.log_p - term.log_q) for name, term in terms.items())
    weight = cell_weights(terms, elbo)
    labels = {name: term.log_label for name, term in terms.items() if term.log_label is not None}
    estimate = mean_log if label_term == "mean_log" else log_mean
    log_labels = estimate(log_cells(terms), labels)
    bound = expect(weight, elbo)
    for name, value in log_labels.items():
        bound = bound + (knobs.beta[name] + knobs.alpha[name]) * value
    return Estimate(bound, weight, log_labels)


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
    parts = [term.log_p if term.log_draw is None else term.log_p - term.log_draw for term in terms.values()]
    cells, log_ratio = torch.broadcast_tensors(log_cells(terms), total(parts))
    return torch.where(cells == -torch.inf, -torch.inf, log_ratio)


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
            parts[f"kl.{name}"] = expect(weight, (term.log_q - term.log_p).detach())
    for name, value in estimate.labels.items():
        known = terms[name].known
        parts[f"label.{name}"] = value.detach() if known is None else torch.where(known, value.detach(), torch.nan)
    parts["effective_samples"] = effective_samples(weight)
    return parts


def effective_samples(weight: Tensor) -> Tensor:
    """The effective sample size of normalised weights [enumerations..., sample, row], summed over enumerations first."""
    by_sample = weight.flatten(0, -3).sum(0) if weight.dim() > 2 else over_cells(weight)
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
