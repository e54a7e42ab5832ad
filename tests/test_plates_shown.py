"""Plates, order and sub-models as they are told, counted, drawn and described to an editor."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import test_cost
import test_pictures
from inventions import SCHEMA
from jsonschema import Draft7Validator
from test_diagrams import drawn_edges, drawn_nodes

from graphvae.compiler.check import read_graph
from graphvae.compiler.explain import Explanation, explain
from graphvae.compiler.factors import factorise
from graphvae.compiler.pipeline import compile_file, compile_text
from graphvae.compiler.source import read_text
from graphvae.diagrams.dot import to_dot
from graphvae.diagrams.sketch import sketch

GLYPH = """model: glyph
variables:
  digit: {distribution: categorical, categories: 3, role: supervised}
  style: {distribution: normal, size: 2}
  image: {distribution: bernoulli, soft: true, shape: [1, 4, 4], role: observed}
p: {image: [digit, style]}
q: {digit: [image], style: [image, digit]}
"""
CANVAS = """model: scene
plates: {slot: {size: 3, active: count, symbol: k}}
submodels:
  glyph:
    spec: glyph.yaml
    plate: slot
    train: frozen
    variables: {image: {collapse: mean}}
    q: {digit: {gradient: concrete}}
variables:
  count: {distribution: categorical, values: [1, 2, 3], role: supervised}
  place: {distribution: normal, size: 3, plate: slot}
  canvas: {distribution: normal, shape: [1, 6, 6], role: observed}
p:
  canvas: {parents: [glyph.image, place], network: {hidden: [8], pool: sum}}
q:
  count: [canvas]
  state:
    plate: slot
    parents: [canvas, state.previous, place.previous, glyph.digit.previous]
    network: {kind: gru, size: 8}
    initial: learned
  place: [state]
  glyph.image: [canvas, place]
data:
  source: npz
  columns: {canvas: canvas, count: count, glyph.digit: digits}
  labels: {count: {rows: 50}, glyph.digit: {rows: 20}}
  slots: {order: as_stored}
"""
OUTER = """model: outer
submodels: {scene: {spec: scene.yaml}}
variables:
  mood: {distribution: normal, size: 2, role: supervised}
  face: {distribution: normal, size: 5, role: observed}
p: {face: {parents: [mood, scene.place], network: {hidden: [4], pool: mean}}}
q: {mood: [face, scene.canvas]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three specs beside each other."""
    folder = tmp_path_factory.mktemp("specs")
    for name, text in (("glyph", GLYPH), ("scene", CANVAS), ("outer", OUTER)):
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def scene(folder: Path) -> Explanation:
    return explain(read_graph(folder / "scene.yaml"))


def paragraphs(found: Explanation) -> dict[str, str]:
    """What is told, by its heading."""
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in str(found).split("\n\n")}


def test_factors_stand_in_products_over_their_slots(scene: Explanation) -> None:
    assert str(scene).split("\n\n")[0] == (
        """p(count, glyph.digit, glyph.style, glyph.image, place, canvas) =
    p(count)
    prod_{k < count} [p(glyph.digit[k]) p(glyph.style[k]) p(glyph.image[k] | glyph.digit[k], glyph.style[k]) p(place[k])]
    p(canvas | glyph.image, place, count)
q(count, place, glyph.image, glyph.digit, glyph.style | canvas) =
    q(count | canvas)
    prod_{k < count} [q(place[k] | state[k]) q(glyph.image[k] | canvas, place[k]) q(glyph.digit[k] | glyph.image[k])
      q(glyph.style[k] | glyph.image[k], glyph.digit[k])]
  state[k] = gru(canvas, state[k-1], place[k-1], glyph.digit[k-1])"""
    )


def test_crossing_plates_and_gathered_ones_have_their_indices() -> None:
    found = explain(read_graph("tests/specs/plates.yaml"))
    assert found.p.factors[-2:] == (
        "prod_{k < count} prod_{view < 2} p(part_in_view[k, view] | place[k], light[view], k)",
        "prod_{view < 2} p(whole[view] | count, kind, place, light[view])",
    )
    assert "prod_{k < count} q(kind[k] | whole, k, part_in_view[k, :])" in found.q.factors


def test_plates_loops_pools_and_submodels_are_told(scene: Explanation, folder: Path) -> None:
    told = paragraphs(scene)
    assert told["plates"] == "  slot   k < count, 3 at most   place, glyph.digit, glyph.style, glyph.image, state"
    assert told["slot by slot"].split("   ") == [
        "  q",
        "slot",
        "state, place, glyph.image, glyph.digit, glyph.style",
        "carrying state from a learned value, place from zero, glyph.digit from zero",
    ]
    assert told["gathered over slots"] == "  p   canvas   glyph.image, place over slot   by sum pooling"
    assert told["sub-models"].split("   ") == [
        "  glyph",
        str(folder / "glyph.yaml"),
        "in slot",
        "new weights, frozen",
        "glyph.digit drawn by concrete; glyph.image collapsed to its mean; q(glyph.image) written outside of it",
    ]


def test_the_same_as_data(scene: Explanation, folder: Path) -> None:
    record = json.loads(json.dumps(scene.record("scene.yaml")))
    members = ["place", "glyph.digit", "glyph.style", "glyph.image", "state"]
    assert record["plates"] == [{"plate": "slot", "slots": "k < count", "size": 3, "count": "count", "members": members}]
    [loop] = record["loops"]
    assert (loop["side"], loop["plate"]) == ("q", "slot")
    assert loop["carried"] == [
        {"variable": "state", "initial": "learned"},
        {"variable": "place", "initial": "zero"},
        {"variable": "glyph.digit", "initial": "zero"},
    ]
    assert record["gathered"] == [
        {"side": "p", "variable": "canvas", "parents": ["glyph.image", "place"], "plates": ["slot"], "by": "sum"}
    ]
    assert record["submodels"] == [
        {
            "submodel": "glyph",
            "file": str(folder / "glyph.yaml"),
            "plates": ["slot"],
            "weights": None,
            "frozen": True,
            "drawn": {"glyph.digit": "concrete"},
            "collapsed": ["glyph.image"],
            "conditionals": ["q(glyph.image)"],
        }
    ]
    assert record["objective"]["collapsed"] == ["glyph.image"]
    assert {row["variable"]: row["plates"] for row in record["draws"]}["place"] == ["slot"]
    assert record["budget"]["order"] == "as_stored"


def test_draws_terms_and_labels_are_told(scene: Explanation) -> None:
    told = paragraphs(scene)
    assert "  glyph.image   bernoulli in slot     mean: where it is not known" in told["draws of q"]
    assert "  glyph.image   left out: where it is not known, its mean stands for it on each side" in told["log q - log p"]
    assert told["log q of labels"].split("\n") == [
        "  count         exact: no draw stands before it",
        "  glyph.digit   estimated by importance sampling: place, glyph.digit stands before it",
    ]
    assert told["labels that training may see"].split("\n") == [
        "  count         3 classes           at most 50   50 rows, seed 0",
        "  glyph.digit   3 classes in slot   at most 20   20 rows, seed 0",
        "  the slots of a row stand as stored",
        "  a label of glyph.digit says of its slot that k < count",
    ]


def test_cells_are_told_as_powers() -> None:
    assert "\n  24 cell(s): 3 of count, 2^3 of kind; 4 sample(s)\n" in str(explain(read_graph("tests/specs/plates.yaml")))
    assert "\n  16 cell(s): 2^4 of switch; 3 sample(s)\n" in str(explain(read_graph("tests/specs/switching.yaml")))


def test_a_submodel_in_a_submodel_is_told(folder: Path) -> None:
    found = explain(read_graph(folder / "outer.yaml"))
    assert [(row.submodel, Path(row.file).name, row.plates, row.frozen) for row in found.submodels] == [
        ("scene", "scene.yaml", (), False),
        ("scene.glyph", "glyph.yaml", ("scene.slot",), True),
    ]
    assert found.submodels[1].drawn == {"scene.glyph.digit": "concrete"}
    assert "p(face | mood, scene.place, scene.count)" in found.p.factors
    assert any(product.startswith("prod_{k < scene.count} [p(scene.glyph.digit[k])") for product in found.p.factors)


def test_the_graph_prints_plates_and_submodels(folder: Path) -> None:
    text = str(read_graph(folder / "outer.yaml"))
    assert "\nplates\n  scene.slot      3 slots, k < scene.count\nsub-models\n" in text
    assert "\n  scene.glyph     glyph.yaml in scene.slot, frozen\np\n" in text
    assert re.search(r"\n  scene\.glyph\.image +latent +bernoulli +\[1, 4, 4\] in scene\.slot, collapsed\n", text)
    assert "plates" not in str(read_graph("specs/digits.yaml"))


def test_expressions_are_told_as_written() -> None:
    graph = compile_text(ROWS, "rows.yaml").graph
    node, z = graph.p.conditionals["x"], graph.q.conditionals["z"]
    written = {"parameters": {"loc": "sum(z, slot)", "scale": "learned"}, "network": None}
    x = replace(node, conditional=node.conditional.model_copy(update=written), expressions={"loc": None})
    value = z.conditional.model_copy(update={"value": "sigmoid(network)"})
    h = replace(z, variable=replace(z.variable, name="h", family=None), family=None, conditional=value)
    graph = replace(graph, variables={**graph.variables, "h": h.variable})
    told = factorise(graph, replace(graph.p, conditionals={"z": graph.p.conditionals["z"], "x": x, "h": h}))
    assert told.factors == ("prod_{slot < 3} p(z[slot])", "p(x | z)")
    assert told.computed == ("x.loc = sum(z, slot)", "h[slot] = sigmoid(network) with network(x, slot)")


# What a model costs, in numbers of the spec

ROWS = """model: rows
plates: {slot: {size: 3}}
variables:
  z: {distribution: normal, size: 2, plate: slot}
  x: {distribution: normal, size: 4, role: observed}
p: {x: {parents: [z], network: {hidden: [5], pool: sum}, parameters: {scale: learned}}}
q: {z: {parents: [x, slot], network: {hidden: [6]}}}
objective: {samples: 2}
"""


def test_slots_are_counted() -> None:
    """A map of x once, of the index in three slots, and of what depends on a draw in two samples of three slots."""
    found = explain(compile_text(ROWS, "rows.yaml").graph).cost
    rows = {(row.side, row.variable, row.kind): (row.passes, row.parameters, row.multiply_adds) for row in found.networks}
    assert rows == {
        ("q", "z", "mlp"): (3, 4 * 6 + 3 * 6 + 6 + 6 * 4 + 4, 4 * 6 + 3 * (3 * 6) + 3 * (6 * 4)),
        ("p", "x", "sum pool"): (2 * 3, 2 * 5 + 5, 2 * 3 * (2 * 5)),
        ("p", "x", "mlp"): (2, 5 * 5 + 5 + 5 * 4 + 4, 2 * (5 * 5) + 2 * (5 * 4)),
    }
    assert {row.variable: row.axes for row in found.networks if row.side == "q"} == {"z": ("plate slot",)}
    assert found.axes == {"sample": 2, "plate slot": 3}
    assert found.cells == 1


@pytest.mark.parametrize("settings", [(), ("submodels.glyph.q={digit: {gradient: enumerate}}",)], ids=["relaxed", "enumerated"])
def test_a_submodel_in_a_loop_costs_what_it_takes(settings: tuple[str, ...], folder: Path) -> None:
    """Against the model itself: its weights once, its networks in every slot, and cells of the slots before."""
    compilation = compile_file(folder / "scene.yaml", settings)
    test_cost.test_parameters_are_those_of_the_model(compilation)
    test_cost.test_multiply_adds_are_those_of_a_row(compilation)


def test_a_submodel_in_a_submodel_costs_what_it_takes(folder: Path) -> None:
    compilation = compile_file(folder / "outer.yaml")
    test_cost.test_parameters_are_those_of_the_model(compilation)
    test_cost.test_multiply_adds_are_those_of_a_row(compilation)


def test_what_is_frozen_is_counted_apart(scene: Explanation) -> None:
    frozen = {(row.side, row.variable) for row in scene.cost.networks if row.frozen}
    assert frozen == {("q", "glyph.digit"), ("q", "glyph.style"), ("p", "glyph.image")}
    assert scene.cost.frozen == sum(row.parameters or 0 for row in scene.cost.networks if row.frozen)
    assert re.search(r"\n +of which frozen +5,303\n", str(scene))


# The picture


@pytest.mark.parametrize("name", ["scene", "outer"])
def test_frames_hold_their_own_and_nothing_else(name: str, folder: Path) -> None:
    test_pictures.test_frames_hold_their_own_and_nothing_else(folder / f"{name}.yaml", "default")


def test_arrows_are_those_that_are_written(folder: Path) -> None:
    """The count has none to what it counts, and one where it is written as a parent."""
    dot = to_dot(sketch(read_graph(folder / "scene.yaml")))
    assert {(tail, head) for side, tail, head, _ in drawn_edges(dot) if side == "p"} == {
        ("glyph.digit", "glyph.image"),
        ("glyph.style", "glyph.image"),
        ("glyph.image", "canvas"),
        ("place", "canvas"),
    }
    assert ("q", "glyph.digit.previous", "state", "dashed") in drawn_edges(dot)
    assert ("p", "count", "whole", "solid") in drawn_edges(to_dot(sketch(read_graph("tests/specs/plates.yaml"))))


def test_what_is_collapsed_is_double(folder: Path) -> None:
    dot = to_dot(sketch(read_graph(folder / "scene.yaml")))
    assert dot.count("label=image fillcolor=white peripheries=2") == 2


def test_a_plate_that_would_cross_is_named_at_its_variables() -> None:
    graph = read_graph("tests/specs/plates.yaml")
    dot, nested = to_dot(sketch(graph)), sketch(graph).nested
    assert nested.crossing == ("view",)
    assert "cluster_p.view" not in dot
    for name, node in graph.variables.items():
        assert (rf'"p.{name}" [label="{name}\nview = 1…2"' in dot) == ("view" in node.plates)
    assert dot.count(r"\nview = 1…2 below a name: a plate whose box would cross another") == 2


NESTED = """model: nested
plates: {line: {size: 4, symbol: i}, column: {size: 5}}
variables:
  above: {distribution: normal, plate: line}
  cell: {distribution: normal, plate: [column, line], role: observed}
p: {cell: [above, column]}
q: {above: {parents: [cell], network: {hidden: [3], pool: max}}}
"""


def test_nested_plates_are_nested_and_an_index_stands_in_its_own() -> None:
    graph = compile_text(NESTED, "nested.yaml").graph
    [outer] = sketch(graph).nested.boxes
    assert (outer.name, outer.variables, [(box.name, box.variables) for box in outer.boxes]) == (
        "line",
        ("above",),
        [("column", ("cell", "column"))],
    )
    dot = to_dot(sketch(graph))
    assert re.search(r'subgraph "cluster_p.column" \{[^{}]*"p.column" \[label=column[^{}]*\}', dot)
    assert ("p", "column") in drawn_nodes(dot)
    assert ("q", "column") not in drawn_nodes(dot)


PRIVATE = """model: private
plates: {view: {size: 2}}
variables:
  z: {distribution: normal}
  x: {distribution: normal, size: 4, role: observed}
  part: {plate: view}
p: {x: [z]}
q:
  part: {plate: view, parents: [x, view], network: {hidden: [3]}}
  z: {parents: [part], network: {hidden: [3], pool: mean}}
"""


def test_a_plate_with_nothing_to_see_in_it_is_not_seen() -> None:
    dot = to_dot(sketch(compile_text(PRIVATE, "private.yaml").graph))
    boxes = dict(re.findall(r'subgraph "cluster_([pq]).view" \{\n\t+graph \[(.*)\]', dot))
    assert 'label="" ' in boxes["p"]
    assert "peripheries=0" in boxes["p"]
    assert 'label="view = 1…2"' in boxes["q"]


# The schema


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("network: {kind: gru, size: 8}", "network: {kind: gru}"),
        ("network: {kind: gru, size: 8}", "network: {kind: gru, size: 8, hidden: [3]}"),
        ("network: {kind: gru, size: 8}", "network: {kind: mlp, size: 8}"),
        ("network: {kind: gru, size: 8}", "network: {kind: gru, size: 8}\n    value: relu(network)"),
        ("network: {hidden: [8], pool: sum}", "network: {hidden: [8], pool: product}"),
        ("network: {hidden: [8], pool: sum}", "network: {kind: Own, pool: sum}"),
        ("values: [1, 2, 3]", "values: [1, 2, 2]"),
        ("values: [1, 2, 3]", "values: [1, 2, 3], categories: 3"),
        ("values: [1, 2, 3], ", ""),
        ("values: [1, 2, 3]", "values: [-1, 2]"),
        ("{distribution: categorical, values", "{distribution: poisson, values"),
        ("size: 3, plate: slot}", "size: 3, plate: [slot, slot]}"),
        ("size: 3, plate: slot}", "size: 3, plate: 3}"),
        ("{size: 3, active: count, symbol: k}", "{active: count}"),
        ("{size: 3, active: count, symbol: k}", "{size: 0}"),
        ("{size: 3, active: count, symbol: k}", "{size: 3, active: count.previous}"),
        ("train: frozen", "train: thaw"),
        ("spec: glyph.yaml", "weights: runs/glyph"),
        ("image: {collapse: mean}", "image: {collapse: mean, role: observed}"),
        ("image: {collapse: mean}", "image: {collapse: median}"),
        ("digit: {gradient: concrete}", "digit: {gradient: enumerate, temperature: 0.5}"),
        ("initial: learned", "initial: zeros"),
        ("order: as_stored", "order: random"),
        ("  place: [state]", "  place: {parents: [state], value: relu(state), gradient: enumerate}"),
        ("  count: [canvas]", "  count: {parents: [canvas], parameters: {probs: learned}}"),
    ],
)
def test_what_goes_together_is_in_the_schema(old: str, new: str) -> None:
    validator = Draft7Validator(SCHEMA)
    assert validator.is_valid(read_text(CANVAS, "scene.yaml").root)
    assert CANVAS.count(old) == 1
    assert not validator.is_valid(read_text(CANVAS.replace(old, new), "scene.yaml").root)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("size: 3, plate: slot}", "size: 3, plate: [slot]}"),
        ("  place: [state]", '  place: {parents: [state], parameters: {loc: "sum(state, slot)", scale: 0.5}}'),
        ("  place: [state]", '  place: {parents: [state], network: {pool: max}, parameters: {scale: "exp(state)"}}'),
        ("  count: [canvas]", '  count: {parents: [canvas], parameters: {probs: "softmax(canvas)"}}'),
        ("  count: [canvas]", "  count: [canvas]\n  a.b.c: [a.b.d.previous, slot]"),
        ("  place: [state]", '  place: [state]\n  sharp: {parents: [place], value: "2 * place"}'),
        ("  place: [state]", '  place: [state]\n  rest: {value: "stack(1, 2)"}'),
    ],
)
def test_what_may_stand_there_is_in_the_schema(old: str, new: str) -> None:
    assert CANVAS.count(old) == 1
    assert list(Draft7Validator(SCHEMA).iter_errors(read_text(CANVAS.replace(old, new), "scene.yaml").root)) == []


def test_a_model_may_observe_what_a_submodel_observes() -> None:
    variables = "variables: {z: {distribution: normal}}\np: {}\n"
    validator = Draft7Validator(SCHEMA)
    assert not validator.is_valid(read_text(f"model: m\n{variables}", "m.yaml").root)
    assert validator.is_valid(read_text(f"model: m\nsubmodels: {{a: {{spec: a.yaml}}}}\n{variables}", "m.yaml").root)
