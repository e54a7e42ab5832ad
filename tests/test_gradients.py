"""Gradients of draws: each by enumeration, quadrature or a closed form, in compiled models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import test_oracles_discrete as discrete
import test_oracles_masks as masks
import torch
from exact import Factors, all_draws, exact, fill, gauss_hermite, logsumexp, spec_model, with_nodes
from torch import Tensor, nn
from worlds import Logits, Worlds, logits

from graphvae.runtime import Bernoulli, Block, Draws, Evidence, Knobs, Mlp, Model, Normal, Variable
from graphvae.runtime.draws import Draw
from graphvae.runtime.objectives import log_evidence, self_normalised

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
        weight = getattr(network, f"{name}_logits", None) if not each.parents else output_weight(getattr(network, name), each.parents)
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
@pytest.mark.parametrize(("q", "z", "y"), [("behind", SCORED, "enumerate"), ("behind", SCORED, SCORED), ("first", SCORED, "enumerate")])
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
