"""What the text means: roles, shapes, orders, defaults and warnings, whatever the order of its keys."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
import yaml

from graphvae.compiler.emit import emit
from graphvae.compiler.errors import SpecError
from graphvae.compiler.graph import ModelGraph
from graphvae.compiler.lints import lint
from graphvae.compiler.pipeline import compile_file, compile_text
from graphvae.compiler.resolve import resolve
from graphvae.compiler.schedule import schedule
from graphvae.compiler.source import read_text
from graphvae.compiler.spec import parse

ROOT = Path(__file__).parent.parent
SPECS = sorted([*ROOT.glob("specs/*.yaml"), *ROOT.glob("tests/specs/*.yaml")])
VARIABLES = """
  digit: {distribution: categorical, categories: 3, role: supervised}
  style: {distribution: normal, size: 2}
  image: {distribution: bernoulli, size: 4, role: observed}
"""
Q = "  digit: [image]\n  style: [image, digit]"


def graph_of(variables: str = VARIABLES, p: str = "  image: [digit, style]", q: str | None = Q, more: str = "") -> ModelGraph:
    tail = "" if q is None else f"\nq:\n{q}" if q else "\nq: {}"
    graph = resolve(parse(read_text(f"model: m\nvariables:\n{variables.strip(chr(10))}\np:\n{p}{tail}\n{more}", "m.yaml")))
    graph.check()
    return graph


def warnings_of(graph: ModelGraph) -> list[str]:
    return [warning.code for warning in lint(graph)]


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_shipped_graphs_hold_together(path: Path) -> None:
    compilation = compile_file(path)
    for form in (compilation.source, compilation.graph, compilation.plan):
        form.check()


@pytest.mark.parametrize("path", [path for path in SPECS if path.parent.name == "specs" and path.parent.parent == ROOT])
def test_shipped_graphs_give_no_warning(path: Path) -> None:
    assert lint(compile_file(path).graph) == []


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_keys_means_nothing(path: Path, seed: int) -> None:
    data = yaml.safe_load(path.read_text("utf-8").replace("1e-3", "0.001"))
    file = str(path.parent / "m.yaml")
    compilation = compile_text(json.dumps(data), file)
    plates = {key: data[key] for key in ("plates",) if key in data}  # of plates the first is the outermost
    shuffled = compile_text(json.dumps(permuted(data, random.Random(seed)) | plates), file)
    assert shuffled.code == compilation.code
    assert str(shuffled.plan) == str(compilation.plan)


def permuted(value: Any, generator: random.Random) -> Any:
    """The same mappings with their keys in another order; lists as they are."""
    if not isinstance(value, dict):
        return [permuted(item, generator) for item in value] if isinstance(value, list) else value
    keys = list(value)
    generator.shuffle(keys)
    return {key: permuted(value[key], generator) for key in keys}


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_stage_makes_the_same_of_the_same(path: Path) -> None:
    graph = compile_file(path).graph
    assert emit(schedule(graph)) == emit(schedule(graph))


def test_roles_and_shapes() -> None:
    variables = (
        VARIABLES
        + """
  dose: {distribution: normal, role: given}
  switch: {distribution: bernoulli, shape: [2, 3]}
  counts: {distribution: categorical, categories: 5, size: 7}
  features: {shape: []}
"""
    )
    p = "  features: {parents: [style], network: {hidden: [9]}}\n  image: [digit, features, switch, counts, dose]"
    q = Q + "\n  trunk: {parents: [image], network: {hidden: [6]}}\n  switch: [trunk]\n  counts: [trunk]"
    graph = graph_of(variables, p, q, "objective: {max_cells: 1000000000000000}")
    assert {name: (node.role, node.event) for name, node in graph.variables.items()} == {
        "digit": ("supervised", (3,)),
        "style": ("latent", (2,)),
        "image": ("observed", (4,)),
        "dose": ("given", ()),
        "switch": ("latent", (2, 3)),
        "counts": ("latent", (7, 5)),
        "features": ("deterministic", ()),
        "trunk": ("deterministic", (6,)),
    }
    assert graph.named("latent", "given") == ["style", "dose", "switch", "counts"]
    assert [name for name, node in graph.variables.items() if node.inferred] == ["digit", "style", "switch", "counts"]
    assert [name for name, node in graph.variables.items() if node.evidence] == ["image", "dose"]


def test_a_side_is_in_topological_order_with_ties_by_name() -> None:
    graph = graph_of()
    assert list(graph.q.conditionals) == ["digit", "style"]
    assert list(graph.p.conditionals) == ["digit", "style", "image"]
    assert sorted(graph.q.graph.edges) == [("digit", "style"), ("image", "digit"), ("image", "style")]
    free = graph_of(q="  style: [image]\n  digit: [image]")
    assert list(free.q.conditionals) == ["digit", "style"]
    with pytest.raises(nx.NetworkXError):
        graph.p.graph.add_edge("a", "b")


def test_draws_before_a_label() -> None:
    assert graph_of().draws_before("digit") == []
    assert graph_of().spec.objective.samples == 1
    behind = graph_of(q="  style: [image]\n  digit: [image, style]")
    assert behind.draws_before("digit") == ["style"]
    assert behind.spec.objective.samples == 8
    switch = VARIABLES + "  switch: {distribution: bernoulli}"
    q = "  switch: [image]\n  style: [image]\n  digit: [image, switch]"
    assert graph_of(switch, "  image: [digit, style, switch]", q).draws_before("digit") == []


def test_draws_are_seen_through_deterministic_variables() -> None:
    q = "  style: [image]\n  trunk: {parents: [style], network: {hidden: [5]}}\n  digit: [trunk]"
    assert graph_of(q=q).draws_before("digit") == ["style"]


def test_what_is_left_out_has_the_standard_prior() -> None:
    p = graph_of().p.conditionals
    assert p["style"].conditional.parameters == {"loc": 0.0, "scale": 1.0}
    assert p["digit"].conditional.parameters == {"logits": 0.0}
    assert p["image"].heads == ("logits",)


def test_without_parents_what_no_number_sets_is_learned() -> None:
    graph = graph_of(p="  image: [digit, style]\n  style: {parameters: {scale: 2}}\n  digit: {}")
    assert graph.p.conditionals["style"].conditional.parameters == {"scale": 2.0, "loc": "learned"}
    assert graph.p.conditionals["digit"].conditional.parameters == {"logits": "learned"}
    assert graph.p.conditionals["style"].heads == ()


def test_without_anything_to_infer_q_may_be_empty_or_left_out() -> None:
    variables = "  image: {distribution: normal, role: observed}"
    assert graph_of(variables, "  image: []", "").q.conditionals == {}
    graph = graph_of(variables, "  image: []", None)
    assert graph.q.conditionals == {}
    assert lint(graph) == []
    assert graph.spec.q.conditionals == {}


def test_p_may_point_from_an_observed_variable_to_a_latent_one() -> None:
    variables = VARIABLES + "  label: {distribution: bernoulli, role: observed}"
    graph = graph_of(
        variables, "  label: []\n  style: [label]\n  image: [digit, style]", Q.replace("[image]", "[image, label]")
    )
    assert list(graph.p.conditionals) == ["digit", "label", "style", "image"]


def test_a_scalar_that_a_network_computes() -> None:
    for shape, event, heads in [("shape: []", (), True), ("size: 1", (1,), True), ("network: {hidden: [3]}", (3,), False)]:
        network = "" if "network" in shape else ", network: {hidden: []}"
        graph = graph_of(p=f"  mean: {{parents: [style], {shape}{network}}}\n  image: [digit, mean]")
        assert graph.variables["mean"].event == event
        assert ("heads={}" not in emit(schedule(graph))) == heads


def test_a_huge_variable_is_refused_at_once() -> None:
    variables = VARIABLES + "  switch: {distribution: bernoulli, shape: [100000000, 100000000, 100000000]}"
    with pytest.raises(SpecError, match=r"2\^1000000000000000000000000 \(switch\) cells"):
        graph_of(variables, "  image: [digit, style, switch]", Q + "\n  switch: {parents: [image], gradient: enumerate}")


DATA = "data: {source: digits, columns: {image: image, digit: digit}, labels: {digit: {ROWS}}}"


@pytest.mark.parametrize(
    ("rows", "codes"),
    [
        ("rows: 30", []),
        ("rows: 3", []),
        ("rows: 2", ["GV203"]),
        ("rows: 0", ["GV201"]),
        ("fraction: 0", ["GV201"]),
        ("fraction: 0.1", []),
        ("rows_per: {digit: 1}", []),
    ],
)
def test_lints_of_labels(rows: str, codes: list[str]) -> None:
    assert warnings_of(graph_of(more=DATA.replace("ROWS", rows))) == codes


@pytest.mark.parametrize(
    ("source", "labels", "codes"),
    [
        ("digits", "[]", ["GV201"]),
        ("npz", "[]", []),
        ("csv", "[]", []),
        ("npz", "{digit: {rows: 0}}", ["GV201"]),
        ("npz", "{digit: {rows: 9}}", []),
    ],
)
def test_where_there_may_be_empty_cells_a_label_needs_no_draw(source: str, labels: str, codes: list[str]) -> None:
    """What has a value in some rows alone is known in these; only the data can say whether it does."""
    path = "" if source == "digits" else f", path: a.{source}"
    data = f"data: {{source: {source}{path}, columns: {{image: image, digit: digit}}, labels: {labels}}}"
    assert warnings_of(graph_of(more=data)) == codes
    also = ["GV207"] if codes else []
    assert warnings_of(graph_of(more=f"{data}\nobjective: {{supervision_rate: 0.5}}")) == [*codes, *also]


def test_labels_without_a_data_block_give_no_warning() -> None:
    assert warnings_of(graph_of()) == []
    assert warnings_of(graph_of(more="objective: {supervision_rate: 0.5}")) == []


@pytest.mark.parametrize(
    ("objective", "codes"),
    [
        ("alpha: 0", ["GV202"]),
        ("alpha: {digit: 0}", ["GV202"]),
        ("alpha: {}", ["GV202"]),
        ("alpha: 0.1", []),
        ("alpha: auto", []),
    ],
)
def test_lints_of_alpha(objective: str, codes: list[str]) -> None:
    assert warnings_of(graph_of(more=f"objective: {{{objective}}}")) == codes


def test_alpha_zero_is_sound_where_the_weights_bring_the_label_in() -> None:
    for before in ("style", "switch"):
        variables = VARIABLES + "  switch: {distribution: bernoulli}"
        q = f"  style: [image]\n  switch: [image]\n  digit: [image, {before}]"
        graph = graph_of(variables, "  image: [digit, style, switch]", q, "objective: {alpha: 0, samples: 4}")
        assert "GV202" not in warnings_of(graph)


@pytest.mark.parametrize("key", ["supervision_rate: 0.5", "gamma: 2"])
def test_a_weight_of_labels_that_are_not_there(key: str) -> None:
    unlabelled = VARIABLES.replace(", role: supervised", "")
    assert warnings_of(graph_of(unlabelled, more=f"objective: {{{key}}}")) == ["GV207"]
    none = DATA.replace("ROWS", "rows: 0") + f"\nobjective: {{{key}}}"
    assert warnings_of(graph_of(more=none)) == ["GV201", "GV207"]
    assert warnings_of(graph_of(more=DATA.replace("ROWS", "rows: 9") + f"\nobjective: {{{key}}}")) == []


def test_one_sample_where_the_weights_vary() -> None:
    q = "  style: [image]\n  digit: [image, style]"
    assert warnings_of(graph_of(q=q, more="objective: {samples: 1}")) == ["GV204"]
    assert warnings_of(graph_of(q=q, more="objective: {samples: 2}")) == []
    assert warnings_of(graph_of(more="objective: {samples: 1}")) == []


def test_what_nothing_uses() -> None:
    extra = VARIABLES + "  extra: {distribution: normal}"
    assert warnings_of(graph_of(extra, q=Q + "\n  extra: [image]")) == ["GV205"]
    auxiliary = Q.replace("[image, digit]", "[image, digit, extra]") + "\n  extra: [image]"
    assert warnings_of(graph_of(extra, "  image: [digit, style]\n  extra: [image]", auxiliary)) == []
    assert warnings_of(graph_of(VARIABLES + "  dose: {distribution: normal, role: given}")) == ["GV205"]
    assert warnings_of(graph_of(q=Q + "\n  trunk: {parents: [image], network: {hidden: [5]}}")) == ["GV205"]
    assert warnings_of(graph_of(q="  digit: []\n  style: [digit]")) == ["GV206"]


def test_a_graph_prints_both_sides() -> None:
    text = str(graph_of())
    assert "q(style | image, digit)" in text
    assert "p(image | digit, style)" in text
    assert "supervised    categorical" in text
