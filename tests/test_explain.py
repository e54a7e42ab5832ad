"""What `explain` says of every spec agrees with what is compiled, as text and as data."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from models import NAMES, ROOT, SPECS

from graphvae.compiler.check import read_graph
from graphvae.compiler.explain import Explanation, explain
from graphvae.compiler.graph import ConditionalNode, ModelGraph
from graphvae.compiler.pipeline import compile_file, compile_text

LABELS = """model: faces
variables:
  person: {distribution: categorical, categories: 10, role: supervised}
  light: {distribution: normal, size: 3, role: supervised}
  smile: {distribution: bernoulli, role: supervised}
  image: {distribution: normal, size: 4, role: observed}
p: {image: [person, light, smile]}
q: {person: [image], light: [image], smile: [image]}
data:
  source: npz
  columns: {image: image, person: person, light: light, smile: smile}
  labels:
  - {variables: [person, light], rows_per: {person: 6}, seed: 0}
  - {variables: [person], rows: 1200, balanced: true, seed: 3}
  - {variables: [light], fraction: 0.25}
  validation: {rows: 500, labels: true}
"""


def section(text: str, heading: str) -> dict[str, str]:
    """The lines of a paragraph, by their first word."""
    lines = next(part for part in text.split("\n\n") if part.startswith(heading)).splitlines()[1:]
    return {line.split()[0]: line for line in lines if line.strip() != "none"}


def explained(path: str | Path, *settings: str) -> Explanation:
    return explain(read_graph(path, settings))


@pytest.mark.parametrize("path", SPECS, ids=NAMES)
def test_it_tells_what_the_plan_does(path: Path) -> None:
    compilation = compile_file(path)
    text, plan = str(explain(compilation.graph)), compilation.plan
    draws, divergences = section(text, "draws of q"), section(text, "log q - log p")
    drawn = {step.value.name: step for step in plan.draws}
    assert draws.keys() == divergences.keys() == drawn.keys()
    for name, step in drawn.items():
        assert f"{step.family.name} " in draws[name]
        gradient = "mean" if step.collapse else step.gradient
        assert re.search(rf" {gradient}( \(implicitly\))?: \S", draws[name])
        assert ("closed form" in divergences[name].split("sampled:")[0]) == (name in plan.closed_kl)
        assert ("summed" in divergences[name]) == (step.enumeration is not None)
    assert section(text, "log q of labels").keys() == set(plan.labels)


@pytest.mark.parametrize("path", SPECS, ids=NAMES)
def test_a_side_is_the_product_of_its_factors(path: Path) -> None:
    graph = read_graph(path)
    found = explain(graph)
    for side, told in ((graph.p, found.p), (graph.q, found.q)):
        assert told.joint == side.factorisation
        random = {name: node for name, node in side.conditionals.items() if node.family}
        factors = [row for product in told.factors for row in re.findall(rf"{side.name}\((.+?)(?: \| (.*?))?\)", product)]
        assert [name.split("[")[0] for name, _ in factors] == list(random)
        for (_, given), node in zip(factors, random.values(), strict=True):
            counts = [graph.plates[plate].count for plate in node.gathered if graph.plates[plate].count]
            assert named(given) == [*read_by(graph, node), *(name for name in counts if name not in node.parents)]
        networks = [name for name, node in side.conditionals.items() if node.conditional.network and not node.family]
        lines = [row for line in told.computed for row in re.findall(r"^(\w[\w.]*)\S* = .*(?:network|gru)\((.*)\)$", line)]
        assert {name: named(given) for name, given in lines} == {n: read_by(graph, side.conditionals[n]) for n in networks}


def named(parents: str) -> list[str]:
    """The parents that a factor names, without their indices."""
    return [re.sub(r"\[[^\]]*-1\]", ".previous", name).split("[")[0] for name in re.split(r", (?![^\[]*\])", parents) if name]


def read_by(graph: ModelGraph, node: ConditionalNode) -> list[str]:
    """The parents as they are written; of a plate, its index."""
    symbols = {name: plate.symbol or name for name, plate in graph.plates.items()}
    return [symbols.get(str(parent), str(parent)) for parent in node.conditional.parents]


@pytest.mark.parametrize("path", SPECS, ids=NAMES)
def test_text_and_data_are_of_one_form(path: Path) -> None:
    found = explained(path)
    record = json.loads(json.dumps(found.record("m.yaml")))
    structure = ["p", "q", "derived", "plates", "loops", "gathered", "submodels"]
    objective = ["draws", "divergences", "labels", "objective"]
    assert list(record) == ["model", *structure, *objective, "cost", "budget", "warnings"]
    assert record["cost"]["parameters"] == found.cost.parameters
    assert [row["variable"] for row in record["draws"]] == [row.variable for row in found.draws]
    text = str(found)
    assert f" {found.q.joint} = {' '.join(found.q.factors)} " in " ".join(text.split())
    for row in record["cost"]["networks"]:
        numbers = (f"{row[key]:,}" for key in ("passes", "parameters", "multiply_adds"))
        assert re.search(" +".join([rf"\n  {row['side']}", row["variable"], row["kind"], *numbers]) + "\n", text)


def test_a_label_behind_a_draw_is_estimated() -> None:
    found = explained("tests/specs/label_behind_latent.yaml")
    assert "label   estimated by importance sampling: code stands before it" in str(found)
    [label] = found.labels
    assert (label.log_q, label.because) == ("importance sampling", ("code",))
    assert {row.variable: row.passes for row in found.cost.networks if row.side == "q"} == {"code": 1, "label": 8, "style": 32}


def test_the_mean_of_logarithms_is_a_bound_below_what_is_enumerated() -> None:
    settings = ["variables.style={distribution: categorical, categories: 3}", "q.style={parents: [image]}"]
    settings += ["q.digit={parents: [image, style]}"]
    exact, bound = (
        explained("specs/digits.yaml", *settings, f"objective.label_term={term}") for term in ("log_mean", "mean_log")
    )
    assert "digit   exact: no draw stands before it" in str(exact)
    assert "digit   a bound: the mean over style of its logarithm" in str(bound)
    assert [label.log_q for label in (*exact.labels, *bound.labels)] == ["exact", "bound"]


def test_schedules_are_named() -> None:
    found = explained("tests/specs/gradients.yaml")
    assert found.objective.schedules == {"beta.count": "cosine", "temperature.tags": "linear"}
    assert "  beta.count follows a cosine schedule\n  temperature.tags follows a linear schedule" in str(found)


def test_labels_are_counted_as_far_as_the_spec_says() -> None:
    found = explain(compile_text(LABELS, "faces.yaml").graph)
    assert found.budget
    assert found.budget.validation == 500
    rows = {row.variable: (row.classes, row.at_most, len(row.draws)) for row in found.budget.revealed}
    assert rows == {"person": (10, 60 + 1200, 2), "light": (None, None, 2), "smile": (2, None, 0)}
    assert str(found).endswith(
        """
labels that training may see
  person   10 classes   at most 1,260                 6 rows for each value of person, together with light, seed 0; 1,200 rows, balanced, seed 3
  light    no classes   known once the data is read   6 rows for each value of person, together with person, seed 0; 25% of the rows that have one, seed 0
  smile    2 classes    known once the data is read   no draw
  validation: 500 rows, all of whose labels are read"""  # noqa: E501
    )


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        ("variables: [light], fraction: 1.0", "every row that has one"),
        ("variables: [light], fraction: 0.07, seed: 3", "7% of the rows that have one, seed 3"),
        ("variables: [light, person], fraction: 1.0", "every row that has all of them, together with person"),
        ("variables: [light, person], fraction: 0.5", "50% of the rows that have all of them, together with person, seed 0"),
        ("variables: [light], rows: 1000", "1,000 rows, seed 0"),
    ],
)
def test_a_draw_of_labels_is_told_as_a_person_would(draw: str, said: str) -> None:
    text = LABELS.replace("variables: [light], fraction: 0.25", draw).replace(
        "- {variables: [person, light]", "- {variables: [person]"
    )
    budget = explain(compile_text(text, "faces.yaml").graph).budget
    assert budget
    assert {row.variable: row.draws for row in budget.revealed}["light"] == (said,)


def test_a_spec_without_data_has_no_budget() -> None:
    found = explained("tests/specs/bare.yaml")
    assert found.budget is None
    assert "labels that training may see\n  the spec has no data" in str(found)


def test_warnings_are_those_of_check() -> None:
    found = explained("tests/bad_specs/lint_few_labels.yaml")
    assert [finding.code for finding in found.warnings] == ["GV203"]
    assert str(found).endswith("\n\nwarnings\n" + str(found.warnings[0]))
    assert "warnings" not in str(explained("specs/digits.yaml"))


def test_the_command_answers_at_once_and_loads_no_torch() -> None:
    code = (
        "import sys, time; from graphvae.cli import app; app(['explain', 'specs/mnist.yaml', '--json'], standalone_mode=False);"
        "assert 'torch' not in sys.modules; print(time.process_time(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(done.stdout) == json.loads(json.dumps(explained("specs/mnist.yaml").record("specs/mnist.yaml")))
    assert float(done.stderr) < 1  # a third of a second, of which torch alone would take six times as much
