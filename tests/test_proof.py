"""Random specs compile to estimators that agree with exact sums; `python tests/proof.py` goes on with others, at length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from proof import REPLICATES, Case, prove
from proof_specs import TOO_LONG, random_spec
from torch import Tensor

from graphvae.compiler import plan
from graphvae.runtime import Draws, Model, model, objectives
from graphvae.runtime.distributions import Distribution

pytestmark = pytest.mark.usefixtures("float64")

SPECS = 30

CASES = {
    # Whether a divergence is closed ended in a KeyError at a parent in p that q never looks at: it has no place in q's graph.
    "a_parent_in_p_that_q_ignores": """
model: case
variables:
  a: {distribution: bernoulli}
  x: {distribution: normal, role: observed}
  g: {distribution: normal, role: given}
p:
  a: {parents: [g], network: {hidden: []}}
  x: {parents: [a], network: {hidden: []}}
q:
  a: {parents: [x], network: {hidden: []}, gradient: score_function}
objective: {samples: 2, kl: closed, alpha: 1.0}
""",
    # A parent in p that q never looks at has no ancestors in q to be asked for.
    "a_parent_that_q_never_sees": """
model: case
variables:
  a: {distribution: bernoulli}
  g: {distribution: normal, role: given}
  x: {distribution: normal, role: observed}
p:
  a: {parents: [g], network: {hidden: []}}
  x: {parents: [a], network: {hidden: []}, parameters: {scale: 0.7}}
q:
  a: {parents: [x], network: {hidden: []}, gradient: score_function}
objective: {samples: 2, alpha: 1.0, kl: closed}
""",
    # The doubly reparameterised gradient weighed a sample by w^2 at every beta; it is (1 - beta) w + beta w^2.
    "importance_dreg_at_beta": """
model: case
variables:
  z: {distribution: normal}
  x: {distribution: normal, role: observed}
p:
  x: {parents: [z], network: {hidden: [3], activation: tanh}, parameters: {scale: 0.7}}
q:
  z: {parents: [x], network: {hidden: []}, parameters: {scale: 0.7}}
objective: {bound: importance_dreg, samples: 2, alpha: 1.0, beta: 0.5}
""",
}


@pytest.mark.parametrize("seed", range(SPECS))
def test_a_random_spec_compiles_to_a_correct_estimator(seed: int) -> None:
    text = random_spec(seed)
    checks = prove(text, seed)
    assert checks
    assert [check for check in checks if not check.passed] == [], text


@pytest.mark.parametrize("name", CASES)
def test_a_spec_that_revealed_a_fault(name: str) -> None:
    assert [check for check in prove(CASES[name].lstrip(), seed=0) if not check.passed] == []


def test_most_specs_compile() -> None:
    """Else the proof would be of what is left when the compiler has refused the rest."""
    refusals = Counter[str]()
    for seed in range(SPECS):
        random_spec(seed, refusals)
    compiled = SPECS + refusals.pop(TOO_LONG, 0)
    assert refusals.total() < compiled


# Planted faults: the proof goes red when one is in the runtime or in the compiler.

DISCRETE = """model: planted
variables:
  a: {distribution: bernoulli}
  b: {distribution: categorical, categories: 3}
  c: {distribution: bernoulli, role: supervised}
  x: {distribution: normal, role: observed}
p:
  b: {parents: [a], network: {hidden: []}}
  x: {parents: [b, c], network: {hidden: []}, parameters: {scale: 0.7}}
q:
  a: {parents: [x], network: {hidden: []}, gradient: enumerate}
  b: {parents: [x, a], network: {hidden: []}, gradient: score_function}
  c: {parents: [a, b], network: {hidden: []}, gradient: enumerate}
objective: {samples: 2, alpha: 0.5}
"""
LABEL_BEHIND_NUMBER = """model: planted
variables:
  z: {distribution: normal}
  c: {distribution: bernoulli, role: supervised}
  x: {distribution: normal, role: observed}
p:
  x: {parents: [z, c], network: {hidden: [3], activation: tanh}, parameters: {scale: 0.7}}
q:
  z: {parents: [x], network: {hidden: []}, parameters: {scale: 0.7}}
  c: {parents: [z], network: {hidden: []}, gradient: enumerate}
objective: {samples: 2, kl: closed, alpha: 0.5}
"""
LABELLED_NUMBER = """model: planted
variables:
  z: {distribution: normal, role: supervised}
  x: {distribution: normal, role: observed}
p:
  x: {parents: [z], network: {hidden: [3], activation: tanh}, parameters: {scale: 0.7}}
q:
  z: {parents: [x], network: {hidden: []}}
objective: {samples: 2, alpha: 0.5}
"""
DREG = CASES["importance_dreg_at_beta"].lstrip().replace("beta: 0.5", "beta: 1.0")


def no_baseline(_: object) -> Callable[..., Any]:
    """All samples, where one should be left out: no draw has an advantage."""
    return lambda terms, sample, samples: terms


def shared_noise(sound: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Below enumerated variables, one noise for all their cells."""

    def score_function(draws: Draws, name: str, distribution: Distribution, axes: int = 0) -> Tensor:
        noise = draws.noise[name][(slice(None), slice(None), *(0,) * axes)]
        return sound(Draws(draws.evidence, {name: noise}, draws.knobs, draws.made), name, distribution)

    return score_function


def closed_everywhere(_: object) -> Callable[..., bool]:
    """A divergence in closed form in rows that know a label behind it, too."""
    return lambda made, name, draws: name in made.closed_kl


def mean_of_logarithms(_: object) -> Callable[..., Any]:
    """The other label term."""
    return objectives.mean_log


def weighed_once(_: object) -> Callable[..., Any]:
    """Values whose gradient is not multiplied by the weight once more."""
    return lambda values, draws, weight: values


def no_floor(_: object) -> float:
    """A labelled density as narrow as any other."""
    return plan.POSITIVE_FLOOR


FAULTS: dict[str, tuple[str, object, str, Callable[..., Any]]] = {
    "no_baseline": (DISCRETE, objectives, "without_sample", no_baseline),
    "shared_noise": (DISCRETE, Draws, "score_function", shared_noise),
    "closed_everywhere": (LABEL_BEHIND_NUMBER, Model, "closed", closed_everywhere),
    "mean_of_logarithms": (LABEL_BEHIND_NUMBER, objectives, "log_mean", mean_of_logarithms),
    "weighed_once": (DREG, model, "reweighed", weighed_once),
    "no_floor": (LABELLED_NUMBER, plan, "SUPERVISED_FLOOR", no_floor),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, holder, attribute, fault = FAULTS[name]
    assert all(check.passed for check in Case(text, 0).sampled(REPLICATES))
    monkeypatch.setattr(holder, attribute, fault(getattr(holder, attribute)))
    assert not all(check.passed for check in Case(text, 0).sampled(REPLICATES))
