"""The derived q: what a text leaves out is what a person would have written by hand, down to the numbers."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from models import ROOT, random_data
from torch import Tensor
from typer.testing import CliRunner

from graphvae.cli import app
from graphvae.compiler.check import read_graph
from graphvae.compiler.errors import SpecError
from graphvae.compiler.explain import explain
from graphvae.compiler.graph import ModelGraph
from graphvae.compiler.lints import lint
from graphvae.compiler.pipeline import compile_text
from graphvae.compiler.resolve import resolve
from graphvae.compiler.source import read_text
from graphvae.compiler.spec import parse
from graphvae.diagrams.dot import to_dot
from graphvae.diagrams.sketch import sketch
from graphvae.runtime import load

DIGITS = """
model: m
variables:
  digit: {distribution: categorical, categories: 3, role: supervised}
  style: {distribution: normal, size: 2}
  image: {distribution: normal, size: 4, role: observed}
p:
  image: [digit, style]
"""
CELLS = """
model: m
variables:
  cause: {distribution: normal, size: 2}
  state: {distribution: normal, size: 2}
  type: {distribution: categorical, categories: 3, role: supervised}
  count: {distribution: poisson, size: 4, role: observed}
p:
  state: [cause, type]
  count: [state]
"""
LIT = """
model: m
variables:
  light: {distribution: normal, size: 3, role: supervised}
  form: {distribution: normal, size: 2}
  skin: {distribution: normal, size: 2}
  image: {distribution: normal, size: 3, role: observed}
p:
  normals: {parents: [form], network: {hidden: [8]}, size: 3}
  shading: {parents: [normals, light], value: relu(normals * light)}
  image: {parents: [shading, skin], parameters: {scale: 0.5}}
"""
SPARE = DIGITS.replace("  image: {", "  extra: {distribution: gamma}\n  alone: {distribution: normal}\n  image: {") + (
    "  extra: {parents: [style, digit], network: {hidden: [5, 7], activation: tanh}, parameters: {rate: learned}}\n"
)
VOTERS = """
model: m
plates: {voter: {size: 3}, one: {size: 1}}
variables:
  topic: {distribution: normal, size: 2}
  view: {distribution: normal, plate: voter}
  doubt: {distribution: normal, plate: one}
  answer: {distribution: normal, size: 2, plate: voter, role: observed}
  sum: {distribution: normal, plate: one, role: observed}
p:
  view: [topic, INDEX]
  answer: [view]
  sum: [doubt]
"""
BY_INDEX, ALIKE = VOTERS.replace("INDEX", "voter"), VOTERS.replace(", INDEX", "")
PARTY = """
model: m
plates: {guest: {size: 3, active: count}}
variables:
  count: {distribution: categorical, values: [1, 2, 3], role: supervised}
  tone: {distribution: normal}
  mood: {distribution: normal, plate: guest, role: observed}
p:
  mood: [tone]
"""
CASES = {
    "m2": (DIGITS, "", "digit: [image]; style: [image, digit]"),
    "m2 in reverse": (DIGITS, "derive: reverse", "digit: [image]; style: [image, digit]"),
    "label through a latent": (CELLS, "", "state: [count]; type: [state]; cause: [state, type]"),
    "label first": (CELLS, "derive: reverse", "type: [count]; cause: [count, type]; state: [count, type, cause]"),
    "computed": (LIT, "", "light: [image]; skin: [image, light]; form: [image, light, skin]"),
    "written in part": (
        CELLS,
        "type: {parents: [count], network: {hidden: [5]}}",
        "type: {parents: [count], network: {hidden: [5]}}; state: [count, type]; cause: [type, state]",
    ),
    "through a trunk": (
        CELLS,
        "trunk: {parents: [count], network: {hidden: [5]}}; type: [trunk]",
        "trunk: {parents: [count], network: {hidden: [5]}}; type: [trunk]; state: [count, type]; cause: [type, state]",
    ),
    "barren": (
        SPARE,
        "",
        "digit: [image]; style: [image, digit]; alone: {parameters: {loc: 0.0, scale: 1.0}}; extra: {parents: [style, digit], "
        "network: {hidden: [5, 7], activation: tanh}, parameters: {rate: learned}}",
    ),
    "gathered": (
        ALIKE,
        "derive: reverse",
        "topic: {parents: [answer], network: {pool: mean}}; view: [answer, topic]; doubt: [sum]",
    ),
    "slots that p tells apart": (
        BY_INDEX,
        "derive: reverse",
        "topic: {parents: [answer], network: {pool: mean}}; view: [answer, topic, voter]; doubt: [sum]",
    ),
    "counted": (PARTY, "count: {parents: []}", "count: {parents: []}; tone: {parents: [mood, count], network: {pool: mean}}"),
}


def with_q(text: str, conditionals: str) -> str:
    lines = [f"  {line}" for line in conditionals.split("; ") if line]
    return "\n".join([text.strip(), *(["q:", *lines] if lines else []), ""])


def graph_of(text: str) -> ModelGraph:
    return resolve(parse(read_text(text, "m.yaml")))


def without_comments(code: str) -> str:
    return re.sub(r" *#.*", "", code)


def loss(text: str) -> Tensor:
    torch.manual_seed(0)
    model = load(compile_text(text, "m.yaml").code, "m")()
    generator = torch.Generator().manual_seed(0)
    return model.objective(random_data(model.variables, 8, generator, model.plates), 4, generator)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A text that leaves out some of q, and the same with all of it written by hand."""
    text, derived, by_hand = CASES[request.param]
    return with_q(text, derived), with_q(text, by_hand)


def test_it_is_what_a_person_would_write(case: tuple[str, str]) -> None:
    derived, by_hand = (compile_text(text, "m.yaml") for text in case)
    assert str(derived.graph) == str(by_hand.graph)
    assert without_comments(derived.code) == without_comments(by_hand.code)
    assert str(derived.graph.spec) == str(by_hand.graph.spec)


def test_it_gives_the_same_numbers(case: tuple[str, str]) -> None:
    derived, by_hand = map(loss, case)
    assert derived.isfinite().all()
    assert derived.tolist() == by_hand.tolist()


def test_what_show_writes_out_is_the_same_model(case: tuple[str, str]) -> None:
    graph = graph_of(case[0])
    again = compile_text(str(graph.spec), "m.yaml")
    assert (str(again.graph), again.graph.derived) == (str(graph), ())
    assert without_comments(again.code) == without_comments(compile_text(case[0], "m.yaml").code)
    assert "derive" not in str(graph.spec)


# What is said of it


def test_a_conditional_that_was_forgotten_is_noted() -> None:
    graph = graph_of(with_q(DIGITS, "digit: [image]"))
    assert graph.notes == ["q of style is derived from p (topological)"]
    assert lint(graph) == []


def test_nothing_is_noted_where_nothing_is_derived() -> None:
    assert graph_of(with_q(DIGITS, "derive: reverse; digit: [image]; style: [digit]")).notes == []


def test_what_was_assumed_is_noted() -> None:
    first, *others = graph_of(with_q(SPARE, "")).notes
    assert first == "q of alone, digit, style, extra is derived from p (topological)"
    assert [note[: note.index(",")] for note in others] == [
        "nothing observed depends on 'alone' in p",
        "nothing observed depends on 'extra' in p",
    ]
    assert "auxiliary" in others[0]
    assert graph_of(with_q(LIT, "")).notes[1:] == [
        "'normals' is computed in p: what it is computed from stands in its place",
        "'shading' is computed in p: what it is computed from stands in its place",
    ]


def test_explain_tells_mode_order_and_notes() -> None:
    found = explain(graph_of(with_q(CELLS, "")))
    assert [line.split(maxsplit=1) for line in str(found).split("\n\n")[1].splitlines()] == [
        ["derived", "from p"],
        ["topological", "the roots of p are eliminated first"],
        ["eliminated", "cause, type, state"],
        ["sampled", "state, type, cause"],
        [
            "assumed",
            "'type' has labels, and the topological order of p samples it after state; "
            "to sample it first, write its conditional in q",
        ],
    ]
    [record] = json.loads(json.dumps(found.record("m.yaml")))["derived"]
    assert record | {"notes": 1} == {
        "mode": "topological",
        "conditionals": ["state", "type", "cause"],
        "eliminated": ["cause", "type", "state"],
        "notes": 1,
        "submodel": "",
    }
    assert "the leaves of p are eliminated first" in str(explain(graph_of(with_q(CELLS, "derive: reverse"))))


def test_check_prints_the_notes(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(with_q(DIGITS, "digit: [image]"))
    done = CliRunner().invoke(app, ["check", str(file)])
    assert done.exit_code == 0
    assert done.stdout.startswith("note: q of style is derived from p (topological)\n")
    done = CliRunner().invoke(app, ["check", str(file), "--format", "json"])
    assert json.loads(done.stdout) == {"diagnostics": [], "notes": ["q of style is derived from p (topological)"]}


def test_the_caption_of_q_says_so() -> None:
    caption = "(b) q(digit, style | image)\\n"
    assert f'"{caption}style derived from p"' in to_dot(sketch(graph_of(with_q(DIGITS, "digit: [image]"))))
    assert f'"{caption}derived from p"' in to_dot(sketch(graph_of(DIGITS.lstrip())))
    assert "derived" not in to_dot(sketch(graph_of(with_q(DIGITS, "digit: [image]; style: [image, digit]"))))


def test_messages_point_at_the_conditional_of_p_or_at_the_variable() -> None:
    graph = graph_of(with_q(CELLS, ""))
    lines = {name: node.span.text.split(":")[0].strip() for name, node in graph.q.conditionals.items() if node.span}
    places = {name: node.span for name, node in graph.q.conditionals.items()}
    assert lines == {"state": "state", "type": "type", "cause": "cause"}
    assert places == {name: graph.p.conditionals[name].span for name in places}


# What may stand in q


def test_a_trunk_whose_name_is_close_is_no_misspelling() -> None:
    text = with_q(CELLS, "typ: {parents: [count], network: {hidden: [5]}}; cause: [typ]")
    assert graph_of(text).derived[0].conditionals == ("state", "type")
    memory = "views: {plate: voter, parents: [answer, views.previous], network: {kind: gru, size: 2}}"
    read = f"derive: reverse; {memory}; doubt: {{parents: [sum, views], network: {{pool: sum}}}}"
    assert graph_of(with_q(ALIKE, read)).derived[0].conditionals == ("topic", "view")


@pytest.mark.parametrize(
    ("name", "q"),
    [
        ("derived_slots", "mood: [noise, mood.previous]"),
        ("derived_slots_in_one_order", "derive: reverse"),
        (
            "derived_slots_from_others",
            "every: {parents: [stars], network: {hidden: [64], pool: mean}}, "
            "taste: {parents: [stars, every], network: {pool: mean}}",
        ),
    ],
)
def test_what_cannot_be_derived_has_a_way_out(name: str, q: str) -> None:
    path = ROOT / "tests" / "bad_specs" / f"{name}.yaml"
    with pytest.raises(SpecError) as error:
        read_graph(path)
    assert f"q: {{{q}}}" in error.value.diagnostics[0].hint
    read_graph(path, [f"q={{{q}}}"])


def test_a_barren_variable_behind_what_p_alone_computes_has_a_network_of_its_own() -> None:
    text = LIT.replace("  image: {d", "  echo: {distribution: normal}\n  image: {d")
    text += "  echo: {parents: [normals], parameters: {scale: 0.5}}\n"
    node = graph_of(with_q(text, "")).q.conditionals["echo"]
    assert (node.parents, node.conditional.parameters) == (("form",), {})


def test_a_plate_of_one_slot_couples_nothing() -> None:
    text = PARTY.replace("size: 3, active: count", "size: 1").replace("values: [1, 2, 3]", "categories: 2")
    text = text.replace("role: observed}", "role: observed}\n  whole: {distribution: normal, role: observed}")
    text = (
        text.replace("plate: guest, role: observed", "plate: guest") + "  whole: {parents: [mood, count], network: {pool: sum}}"
    )
    found = graph_of(with_q(text, "tone: {parameters: {scale: learned}}")).derived[0]
    assert found.conditionals == ("count", "mood")


# Sub-models


GLYPH = DIGITS.replace("model: m", "model: glyph")
PAGE = """
model: page
submodels: {glyph: {spec: glyph.yaml, OPTIONS}}
variables:
  tilt: {distribution: normal}
  page: {distribution: normal, size: 6, role: observed}
p:
  page: [glyph.image, tilt]
q:
  glyph.image: [page]
"""


def page(folder: Path, options: str = "train: fine_tune") -> ModelGraph:
    (folder / "glyph.yaml").write_text(GLYPH.lstrip())
    (folder / "page.yaml").write_text(PAGE.replace("OPTIONS", options).lstrip())
    return read_graph(folder / "page.yaml")


def test_a_sub_model_derives_its_own_q_and_the_outer_one_the_rest(tmp_path: Path) -> None:
    graph = page(tmp_path)
    assert [(each.submodel, each.conditionals) for each in graph.derived] == [
        ("", ("tilt",)),
        ("glyph", ("glyph.digit", "glyph.style")),
    ]
    assert graph.q.conditionals["tilt"].parents == ("page", "glyph.image")
    assert graph.q.conditionals["glyph.style"].parents == ("glyph.image", "glyph.digit")
    assert "q of glyph.digit, glyph.style is derived from p (topological)" in graph.notes


def test_a_variable_may_have_the_name_of_one_in_a_sub_model(tmp_path: Path) -> None:
    page(tmp_path)
    text = (tmp_path / "page.yaml").read_text().replace("tilt", "style")
    (tmp_path / "page.yaml").write_text(text)
    assert read_graph(tmp_path / "page.yaml").derived[0].conditionals == ("style",)


def test_the_draws_of_a_derived_sub_model_can_be_overridden(tmp_path: Path) -> None:
    graph = page(tmp_path, "q: {digit: {gradient: concrete}}")
    assert graph.q.conditionals["glyph.digit"].conditional.gradient == "concrete"


# Scale


def chain(size: int) -> str:
    names = [f"v{number:04}" for number in range(size)]
    variables = [f"  {name}: {{distribution: normal}}" for name in names]
    arrows = [f"  {child}: [{parent}]" for parent, child in pairwise(names)]
    last = f"  x: {{distribution: normal, role: observed}}\np:\n  x: [{names[-1]}]"
    return "\n".join(["model: m", "variables:", *variables, last, *arrows, ""])


def steps(run: Callable[[], object]) -> int:
    """How many instructions of Python are executed: time that no other process can lengthen."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(None)
    return count


def test_four_times_the_variables_are_four_times_the_work() -> None:
    """Of everything that `check` does once a text is parsed."""
    specs = [parse(read_text(chain(size), "m.yaml")) for size in (50, 200)]

    def checked(number: int) -> None:
        graph = resolve(specs[number])
        graph.check()
        lint(graph)

    checked(0)  # what is made once
    few, many = steps(lambda: checked(0)), steps(lambda: checked(1))
    assert many < 4.3 * few


def test_a_thousand_variables() -> None:
    graph = graph_of(chain(1000))
    [found] = graph.derived
    assert len(found.conditionals) == 1000
    assert all(len(node.parents) == 1 for node in graph.q.conditionals.values())
