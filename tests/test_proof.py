"""Random specs compile to estimators that agree with exact sums; `python tests/proof.py` goes on with others, at length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from proof import REPLICATES, Case, prove
from proof_plates import features, prove_plates
from proof_specs import TOO_LONG, random_plate_spec, random_spec
from torch import Tensor

from graphvae.compiler import families, schedule
from graphvae.runtime import Draws, Model, draws, model, objectives
from graphvae.runtime.distributions import Distribution

pytestmark = pytest.mark.usefixtures("float64")

SPECS, PLATE_SPECS = 30, 30

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
    return families.POSITIVE_FLOOR


FAULTS: dict[str, tuple[str, object, str, Callable[..., Any]]] = {
    "no_baseline": (DISCRETE, objectives, "without_sample", no_baseline),
    "shared_noise": (DISCRETE, Draws, "score_function", shared_noise),
    "closed_everywhere": (LABEL_BEHIND_NUMBER, Model, "closed", closed_everywhere),
    "mean_of_logarithms": (LABEL_BEHIND_NUMBER, objectives, "log_mean", mean_of_logarithms),
    "weighed_once": (DREG, model, "reweighed", weighed_once),
    "no_floor": (LABELLED_NUMBER, schedule, "SUPERVISED_FLOOR", no_floor),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, holder, attribute, fault = FAULTS[name]
    assert all(check.passed for check in Case(text, 0).sampled(REPLICATES))
    monkeypatch.setattr(holder, attribute, fault(getattr(holder, attribute)))
    assert not all(check.passed for check in Case(text, 0).sampled(REPLICATES))


# In plates.

BUILT = {
    "count categorical",
    "count binomial",
    "count with values",
    "labels of slots",
    "nested plates",
    "index of a plate",
    "gru",
}
BUILT |= {f"pool {pool}" for pool in ("sum", "mean", "max", "attention")} | {
    f"initial {begin}" for begin in ("zero", "learned")
}
BUILT |= {f"in a plate by {how}" for how in ("enumerate", "score_function", "reparameterised")}
BUILT |= {"previous in p", "previous in q", "missing elements", "derived topological", "derived reverse"}

PLATED = """model: random
plates:
  s: {size: 3, active: n}
variables:
  n: {distribution: binomial, total_count: 2, role: supervised}
  a: {distribution: bernoulli, plate: s, role: supervised}
  x: {distribution: normal, size: 2, role: observed}
p:
  x: {parents: [a, n], network: {hidden: [3], activation: tanh, pool: POOL}}
q:
  n: {parents: [x], network: {hidden: [3], activation: tanh}, gradient: enumerate}
  a: {parents: [x, n, s], network: {hidden: [3], activation: tanh}, gradient: HOW}
objective: {bound: self_normalised, samples: SAMPLES, kl: sampled, label_term: log_mean, alpha: 0.8, beta: 1.2, max_cells: 24}
"""


def plated(pool: str = "sum", how: str = "enumerate", samples: int = 1) -> str:
    """A count and labels of slots."""
    return PLATED.replace("POOL", pool).replace("HOW", how).replace("SAMPLES", str(samples))


PLATE_CASES = {
    "all_enumerated": plated(),
    "score_function_below_a_count": plated("max", "score_function", 2)
    .replace("size: 3", "size: 1")
    .replace("total_count: 2", "total_count: 1"),
}


@pytest.mark.parametrize("seed", range(PLATE_SPECS))
def test_a_random_spec_in_plates_compiles_to_a_correct_estimator(seed: int) -> None:
    text = random_plate_spec(seed)
    checks = prove_plates(text, seed)
    assert checks
    assert [check for check in checks if not check.passed] == [], text


def test_random_specs_in_plates_have_every_construct() -> None:
    assert set().union(*(features(random_plate_spec(seed)) for seed in range(PLATE_SPECS))) >= BUILT


@pytest.mark.parametrize("name", PLATE_CASES)
def test_a_spec_in_plates(name: str) -> None:
    checks = prove_plates(PLATE_CASES[name], 0)
    assert {check.kind for check in checks} >= {"value", "padded"}
    assert [check for check in checks if not check.passed] == []


def no_count(_: object) -> Callable[..., None]:
    """Every slot is there."""
    return lambda weights, place: None


PLATE_FAULTS: dict[str, tuple[str, object, str, Callable[..., Any], set[str]]] = {
    "no_count": ("all_enumerated", draws, "joint_weights", no_count, {"value", "value in blocks", "padded", "gradient"}),
    "no_baseline": ("score_function_below_a_count", objectives, "without_sample", no_baseline, {"expected gradient"}),
}


@pytest.mark.parametrize("name", PLATE_FAULTS)
def test_a_planted_fault_in_plates_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case, holder, attribute, fault, kinds = PLATE_FAULTS[name]
    monkeypatch.setattr(holder, attribute, fault(getattr(holder, attribute)))
    assert {check.kind for check in prove_plates(PLATE_CASES[case], 0) if not check.passed} == kinds
