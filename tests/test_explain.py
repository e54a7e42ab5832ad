"""What `explain` says of every spec agrees with what is compiled."""

import re

import pytest
from models import NAMES, SPECS

from graphvae.compiler.explain import explain
from graphvae.compiler.pipeline import compile_file
from graphvae.compiler.plan import Draw


def section(text: str, heading: str) -> dict[str, str]:
    """The lines of a paragraph, by their first word."""
    lines = next(part for part in text.split("\n\n") if part.startswith(heading)).splitlines()[1:]
    return {line.split()[0]: line for line in lines if line.strip() != "none"}


@pytest.mark.parametrize("path", SPECS, ids=NAMES)
def test_it_tells_what_the_plan_does(path: object) -> None:
    compilation = compile_file(str(path))
    text, plan = explain(compilation.graph), compilation.plan
    assert text.startswith(f"{plan.p.factorisation}\n{plan.q.factorisation}\n")
    draws, divergences = section(text, "draws of q"), section(text, "log q - log p")
    drawn = {step.value.name: step for step in plan.q.steps if isinstance(step, Draw)}
    assert draws.keys() == divergences.keys() == drawn.keys()
    for name, step in drawn.items():
        assert f"{step.family.name} " in draws[name]
        assert re.search(rf" {step.gradient}( \(implicitly\))?: \S", draws[name])
        assert ("closed form" in divergences[name].split("sampled:")[0]) == (name in plan.closed_kl)
        assert ("summed" in divergences[name]) == (step.enumeration is not None)
    assert section(text, "labels").keys() == set(plan.labels)


def test_a_label_behind_a_draw_is_estimated() -> None:
    text = explain(compile_file("tests/specs/label_behind_latent.yaml").graph)
    assert "log q(label | row) is estimated by importance sampling: code stands before it" in text
    assert "passes a row through the networks of q: code 1, label 8, style 32" in text


def test_the_mean_of_logarithms_is_a_bound_below_what_is_enumerated() -> None:
    settings = ["variables.style={distribution: categorical, categories: 3}", "q.style={parents: [image]}"]
    settings += ["q.digit={parents: [image, style]}"]
    exact, bound = (
        explain(compile_file("specs/digits.yaml", [*settings, f"objective.label_term={term}"]).graph)
        for term in ("log_mean", "mean_log")
    )
    assert "log q(digit | row) is exact" in exact
    assert "log q(digit | row) is a bound: the mean over style of its logarithm" in bound


def test_schedules_are_named() -> None:
    text = explain(compile_file("tests/specs/gradients.yaml").graph)
    assert text.endswith("schedules: beta.count cosine, temperature.tags linear")
