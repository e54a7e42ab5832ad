"""Sub-models: what a spec takes over from another, under which names, in which roles, and from which file.

What it is told against is the same model written flat, in one file and with underscores for dots.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from graphvae.compiler.check import read_graph
from graphvae.compiler.errors import Span, SpecError
from graphvae.compiler.graph import ModelGraph, SubmodelNode
from graphvae.compiler.pipeline import compile_text
from graphvae.compiler.resolve import resolve
from graphvae.compiler.source import MAX_BYTES, Map, Seq, read, read_text
from graphvae.compiler.spec import parse
from graphvae.compiler.submodels import import_submodels

GLYPH = """
model: glyph
variables:
  digit: {distribution: categorical, categories: 10, role: supervised}
  style: {distribution: normal, size: 5}
  slant: {distribution: normal, role: given}
  image: {distribution: bernoulli, size: 16, role: observed}
p:
  image: {parents: [digit, style, slant], network: {hidden: [20]}}
  style: {parents: [digit], network: {hidden: [20]}}
q:
  trunk: {parents: [image], network: {hidden: [7]}}
  digit: {parents: [trunk]}
  style: {parents: [trunk, digit], distribution: low_rank_normal, rank: 2}
objective: {max_cells: 5000, alpha: 3}
data: {source: npz, path: glyphs.npz, columns: {image: image, digit: digit, slant: slant}}
training: {epochs: 7}
"""
PAGE = """
model: page
plates: {shelf: {size: 2}, slot: {size: 3, active: count}}
submodels:
  glyph: {spec: glyph.yaml, SUBMODEL}
variables:
  count: {distribution: categorical, values: [1, 2, 3], role: supervised}
  canvas: {distribution: normal, size: 30, role: observed}
p:
  canvas: {parents: [glyph.image], network: {hidden: [20], POOL}}
  P
q:
  count: {parents: [canvas], network: {hidden: [20]}}
  Q
MORE
"""
INFERRED = "glyph.image: {parents: [canvas], network: {hidden: [20]}}"

Write = Callable[..., None]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the process, with a glyph in it."""
    monkeypatch.chdir(tmp_path)
    write("glyph.yaml", GLYPH)
    return tmp_path


def write(name: str, text: str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.strip() + "\n", encoding="utf-8")


def text_of_page(submodel: str, p: str = "", q: str = INFERRED, more: str = "") -> str:
    pool = "pool: sum" if "plate" in submodel else "dropout: 0.0"
    words = {"SUBMODEL": submodel, "POOL": pool, "  P\n": f"  {p}\n", "  Q\n": f"  {q}\n", "MORE": more}
    text = PAGE
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return text


def page(submodel: str = "plate: slot", p: str = "", q: str = INFERRED, more: str = "") -> ModelGraph:
    """The graph of a page with a glyph on it, or several in a plate."""
    write("page.yaml", text_of_page(submodel, p, q, more))
    return read_graph("page.yaml")


def wrong(make: Callable[[], object]) -> SpecError:
    with pytest.raises(SpecError) as raised:
        make()
    return raised.value


@dataclass(frozen=True)
class Factor:
    """What a conditional says, in plain words."""

    parents: tuple[str, ...]
    family: str
    network: str
    number: int


def factors(graph: ModelGraph, rename: Callable[[str], str] = str) -> dict[tuple[str, str], Factor]:
    """Every conditional of both sides."""
    return {
        (side.name, rename(name)): Factor(
            tuple(rename(str(parent)) for parent in node.conditional.parents),
            node.family.name if node.family else "",
            str(node.conditional.network),
            node.number,
        )
        for side in (graph.p, graph.q)
        for name, node in side.conditionals.items()
    }


def under(name: str) -> str:
    return name.replace(".", "_")


FLAT = """
model: page
plates: {shelf: {size: 2}, slot: {size: 3, active: count}}
variables:
  count: {distribution: categorical, values: [1, 2, 3], role: supervised}
  canvas: {distribution: normal, size: 30, role: observed}
  glyph_digit: {distribution: categorical, categories: 10, role: supervised, plate: slot}
  glyph_style: {distribution: normal, size: 5, plate: slot}
  glyph_slant: {distribution: normal, role: given, plate: slot}
  glyph_image: {distribution: bernoulli, size: 16, plate: slot}
p:
  canvas: {parents: [glyph_image], network: {hidden: [20], pool: sum}}
  glyph_image: {parents: [glyph_digit, glyph_style, glyph_slant], network: {hidden: [20]}}
  glyph_style: {parents: [glyph_digit], network: {hidden: [20]}}
q:
  count: {parents: [canvas], network: {hidden: [20]}}
  glyph_image: {parents: [canvas], network: {hidden: [20]}}
  glyph_trunk: {parents: [glyph_image], network: {hidden: [7]}, plate: slot}
  glyph_digit: {parents: [glyph_trunk]}
  glyph_style: {parents: [glyph_trunk, glyph_digit], distribution: low_rank_normal, rank: 2}
"""


def test_it_is_the_model_that_is_written_flat(folder: Path) -> None:
    made, flat = page(), resolve(parse(read_text(FLAT, "flat.yaml")))
    assert factors(made, under) == factors(flat)
    assert {under(name) for name in made.variables} == {*flat.variables}
    for name, node in made.variables.items():
        other = flat.variables[under(name)]
        assert (node.role, node.family, node.event, node.plates) == (other.role, other.family, other.event, other.plates)
    for side, other_side in ((made.p, flat.p), (made.q, flat.q)):
        for name, node in side.conditionals.items():
            other_node = other_side.conditionals[under(name)]
            assert (node.counts, node.gathered, node.slots) == (other_node.counts, other_node.gathered, other_node.slots)


def test_what_belongs_to_it_is_known(folder: Path) -> None:
    graph = page()
    inner = {name for name, node in graph.variables.items() if node.submodel == "glyph"}
    assert inner == {"glyph.digit", "glyph.style", "glyph.slant", "glyph.image", "glyph.trunk"}
    assert {name for name, node in graph.p.conditionals.items() if node.submodel} == {
        "glyph.digit",
        "glyph.style",
        "glyph.image",
    }
    assert {name for name, node in graph.q.conditionals.items() if node.submodel} == {
        "glyph.trunk",
        "glyph.digit",
        "glyph.style",
    }
    assert not any("glyph" in name for name in (*graph.spec.p, *graph.spec.q.conditionals) if name != "glyph.image")


@pytest.mark.parametrize(
    ("written", "plates"), [("slot", ("slot",)), ("[slot, shelf]", ("shelf", "slot")), ("shelf", ("shelf",))]
)
def test_it_stands_in_the_plates_of_the_outer_model_in_their_order(folder: Path, written: str, plates: tuple[str, ...]) -> None:
    text = text_of_page(f"plate: {written}", "", INFERRED, "")
    write("page.yaml", text.replace(", active: count", ""))  # two plates are gathered at once only if all their slots count
    graph = read_graph("page.yaml")
    assert graph.submodels["glyph"].plates == plates
    assert {node.plates for node in graph.variables.values() if node.submodel} == {plates}


STROKES = """
model: strokes
plates: {stroke: {size: 4, active: length, symbol: j}}
variables:
  length: {distribution: categorical, values: [1, 2, 4]}
  pen: {distribution: normal, size: 2, plate: stroke}
  image: {distribution: normal, size: 16, role: observed}
p:
  pen: {parents: [pen.previous, stroke], network: {hidden: [20]}}
  image: {parents: [pen], network: {hidden: [20], pool: mean}}
q:
  length: {parents: [image], network: {hidden: [20]}}
  pen: {parents: [image, pen.previous], network: {hidden: [20]}}
"""


def test_its_own_plates_come_along_inside_those_around_it(folder: Path) -> None:
    write("glyph.yaml", STROKES)
    graph = page()
    plate = graph.plates["glyph.stroke"]
    assert (plate.name, plate.size, plate.count, plate.symbol) == ("glyph.stroke", 4, "glyph.length", "j")
    assert [*graph.plates] == ["shelf", "slot", "glyph.stroke"]
    assert graph.variables["glyph.pen"].plates == ("slot", "glyph.stroke")
    assert graph.variables["glyph.length"].plates == ("slot",)
    pen, image = graph.p.conditionals["glyph.pen"], graph.p.conditionals["glyph.image"]
    assert (pen.parents, pen.previous, pen.indices) == ((), ("glyph.pen",), ("glyph.stroke",))
    assert {*pen.counts} == {"count", "glyph.length"}
    assert image.gathered == ("glyph.stroke",)
    assert pen.slots == 3 * 4


def test_what_is_taken_over_is_named_throughout(folder: Path) -> None:
    write(
        "glyph.yaml", STROKES.replace("q:\n", "q:\n  hint: {parents: [image, stroke], network: {hidden: [3]}, plate: stroke}\n")
    )
    page()
    imported = import_submodels(parse(read("page.yaml")), resolve)
    assert [*imported.submodels] == ["glyph"]
    assert [*imported.plates] == ["glyph.stroke"]
    assert [*imported.p] == ["glyph.length", "glyph.pen", "glyph.image"]
    image, pen, hint = imported.p["glyph.image"], imported.q["glyph.pen"], imported.q["glyph.hint"]
    assert (image.gathered, image.counts) == (("glyph.stroke",), ("glyph.length",))
    assert [str(parent) for parent in pen.conditional.parents] == ["glyph.image", "glyph.pen.previous"]
    assert (hint.indices, hint.conditional.plates) == (("glyph.stroke",), ("slot", "glyph.stroke"))
    assert all(node.variable is imported.variables[name] for side in (imported.p, imported.q) for name, node in side.items())


# What the sub-model has, what the outer text says of it, and what it then is; `p` and `q` are what is there of it on each side.
ROLES = [
    ("digit", "", "", "", "supervised", "pq"),
    ("digit", "latent", "", "", "latent", "pq"),
    ("digit", "observed", "", "", "observed", "p"),
    ("digit", "given", "", "", "given", ""),
    ("style", "", "", "", "latent", "pq"),
    ("style", "supervised", "", "", "supervised", "pq"),
    ("style", "observed", "", "", "observed", "p"),
    ("image", "", "", "", "observed", "p"),
    ("image", "given", "", "", "given", ""),
    ("image", "", "", "q", "latent", "pq"),
    ("image", "latent", "", "q", "latent", "pq"),
    ("image", "supervised", "", "q", "supervised", "pq"),
    ("slant", "", "", "", "given", ""),
    ("slant", "", "p", "", "observed", "p"),
    ("slant", "", "", "q", "latent", "pq"),
    ("slant", "", "p", "q", "latent", "pq"),
    ("slant", "supervised", "p", "q", "supervised", "pq"),
]


@pytest.mark.parametrize(("name", "wanted", "p", "q", "role", "sides"), ROLES)
def test_its_roles(folder: Path, name: str, wanted: str, p: str, q: str, role: str, sides: str) -> None:
    override = f"plate: slot, variables: {{{name}: {{role: {wanted}}}}}" if wanted else "plate: slot"
    graph = page(override, p and f"glyph.{name}: [count]", q and f"glyph.{name}: [canvas]")
    full = f"glyph.{name}"
    assert graph.variables[full].role == role
    assert "".join(side.name for side in (graph.p, graph.q) if full in side.conditionals) == sides
    if p:
        assert graph.p.conditionals[full].parents == ("count",)
    if q:
        assert graph.q.conditionals[full].parents == ("canvas",)


@pytest.mark.parametrize(("name", "wanted", "p", "q"), [("image", "observed", "", "q"), ("slant", "given", "p", "")])
def test_a_role_leaves_no_room_for_a_conditional(folder: Path, name: str, wanted: str, p: str, q: str) -> None:
    error = wrong(
        lambda: page(
            f"variables: {{{name}: {{role: {wanted}}}}}", p and f"glyph.{name}: [count]", q and f"glyph.{name}: [canvas]"
        )
    )
    assert [finding.code for finding in error.diagnostics] == ["GV106"]


def test_a_value_is_collapsed_from_inside_or_from_outside(folder: Path) -> None:
    assert page("variables: {image: {collapse: mean}}").variables["glyph.image"].collapse
    assert page("variables: {style: {collapse: mean}}").variables["glyph.style"].collapse
    assert not any(node.collapse for node in page().variables.values())
    write("glyph.yaml", GLYPH.replace("size: 5}", "size: 5, collapse: mean}"))
    assert page().variables["glyph.style"].collapse
    assert not page("variables: {style: {role: observed}}").variables["glyph.style"].collapse


def drawn(graph: ModelGraph, name: str = "glyph.digit") -> tuple[str | None, object]:
    conditional = graph.q.conditionals[name].conditional
    return conditional.gradient, conditional.temperature


def digit(more: str) -> None:
    write("glyph.yaml", GLYPH.replace("digit: {parents: [trunk]}", f"digit: {{parents: [trunk]{more}}}"))


def test_a_gradient_that_the_rule_chose_is_chosen_anew(folder: Path) -> None:
    assert drawn(read_graph("glyph.yaml"), "digit") == ("enumerate", None)
    assert drawn(page("train: frozen")) == ("enumerate", None)
    assert drawn(page("train: frozen", more="objective: {max_cells: 29}")) == ("concrete", 0.66)
    assert drawn(page("train: frozen", more="objective: {max_cells: 30}")) == ("enumerate", None)


def test_a_gradient_that_its_file_wrote_stays(folder: Path) -> None:
    digit(", gradient: score_function")
    assert drawn(page()) == ("score_function", None)
    digit(", gradient: concrete, temperature: 0.5")
    assert drawn(page()) == ("concrete", 0.5)
    digit(", gradient: enumerate")
    error = wrong(lambda: page("train: frozen", more="objective: {max_cells: 9}"))
    assert [finding.code for finding in error.diagnostics] == ["GV112"]


def test_a_temperature_that_its_file_wrote_keeps_the_draw_relaxed(folder: Path) -> None:
    digit(", temperature: 0.5")
    write("glyph.yaml", Path("glyph.yaml").read_text("utf-8").replace("max_cells: 5000", "max_cells: 5"))
    assert drawn(page()) == ("concrete", 0.5)
    assert drawn(page("q: {digit: {gradient: enumerate}}")) == ("enumerate", None)
    assert drawn(page("q: {digit: {gradient: straight_through}}", more="objective: {kl: sampled}")) == ("straight_through", 0.5)


@pytest.mark.parametrize("own", ["", ", gradient: enumerate", ", gradient: concrete, temperature: 0.5"])
def test_the_outer_text_has_the_last_word_on_a_draw(folder: Path, own: str) -> None:
    digit(own)
    assert drawn(page("q: {digit: {gradient: concrete, temperature: 0.3}}")) == ("concrete", 0.3)
    assert drawn(page("q: {digit: {gradient: score_function}}")) == ("score_function", None)
    schedule = "{schedule: linear, from: 1.0, to: 0.5, steps: 10}"
    gradient, temperature = drawn(page(f"q: {{digit: {{gradient: concrete, temperature: {schedule}}}}}"))
    assert gradient == "concrete"
    assert (temperature.start, temperature.end, temperature.steps) == (1.0, 0.5, 10)  # type: ignore[attr-defined]


def test_a_mistake_in_what_the_outer_text_says_of_a_draw_is_shown_there(folder: Path) -> None:
    error = wrong(lambda: page("q: {digit: {gradient: concrete}}", q="", more="objective: {bound: importance_dreg}"))
    [finding] = error.diagnostics
    assert finding.code == "GV110"
    assert finding.span
    assert str(finding.span) == "page.yaml:4:51"
    assert finding.span.text[finding.span.column - 1 : finding.span.end_column - 1] == "concrete"


def test_its_conditionals_keep_their_places(folder: Path) -> None:
    graph = page()
    node = graph.q.conditionals["glyph.style"]
    span = node.conditional.span("parents", 1)
    assert span
    assert node.span
    assert (span.file, span.text[span.column - 1 : span.end_column - 1]) == ("glyph.yaml", "digit")
    assert (node.span.file, node.span.text[node.span.column - 1 : node.span.end_column - 1]) == ("glyph.yaml", "style")
    assert span.via == node.span.via == graph.spec.span("submodels", "glyph", "spec")


WORD = """
model: word
plates: {letter: {size: 4}}
submodels:
  part: {spec: ../glyph.yaml, plate: letter, MORE}
variables:
  ink: {distribution: normal, size: 6, role: observed}
p:
  ink: {parents: [part.image], network: {hidden: [20], pool: sum}}
q:
  part.image: {parents: [ink], network: {hidden: [20]}}
"""


def line(submodel: str = "spec: words/word.yaml", more: str = "", outer: str = "") -> ModelGraph:
    """Lines of words of glyphs: a sub-model inside a sub-model."""
    write("words/word.yaml", WORD.replace("MORE", more))
    text = f"""
model: line
plates: {{place: {{size: 2}}}}
submodels:
  word: {{plate: place, {submodel}}}
variables:
  paper: {{distribution: normal, size: 9, role: observed}}
p:
  paper: {{parents: [word.ink], network: {{hidden: [20], pool: sum}}}}
q:
  word.ink: {{parents: [paper], network: {{hidden: [20]}}}}
{outer}
"""
    write("line.yaml", text)
    return read_graph("line.yaml")


def test_a_sub_model_may_hold_a_sub_model(folder: Path) -> None:
    graph = line()
    assert [*graph.submodels] == ["word", "word.part"]
    assert [*graph.plates] == ["place", "word.letter"]
    style = graph.q.conditionals["word.part.style"]
    assert style.parents == ("word.part.trunk", "word.part.digit")
    assert style.variable.plates == ("place", "word.letter")
    assert (style.submodel, style.variable.submodel) == ("word.part", "word.part")
    image = graph.q.conditionals["word.part.image"]
    assert image.parents == ("word.ink",)
    assert (image.submodel, image.variable.submodel, image.variable.role) == ("word", "word.part", "latent")
    assert graph.q.conditionals["word.ink"].submodel == ""
    assert {name: (node.file, node.plates) for name, node in graph.submodels.items()} == {
        "word": ("words/word.yaml", ("place",)),
        "word.part": ("words/../glyph.yaml", ("place", "word.letter")),
    }


def test_the_outermost_text_reaches_all_the_way_in(folder: Path) -> None:
    graph = line("spec: words/word.yaml, variables: {part.digit: {role: latent}}, q: {part.digit: {gradient: score_function}}")
    assert graph.variables["word.part.digit"].role == "latent"
    assert drawn(graph, "word.part.digit") == ("score_function", None)
    error = wrong(lambda: line(outer="  word.part.digit: [paper]"))
    assert "override its draw under submodels: {word: {q: {part.digit: {gradient: GRADIENT}}}}" in str(error)


def test_what_a_text_between_says_of_a_draw_is_written_and_what_its_rule_chose_is_not(folder: Path) -> None:
    cells = "objective: {max_cells: 5}"
    assert drawn(line(), "word.part.digit") == ("concrete", 0.66)  # 10^8 cells
    write("words/word.yaml", WORD.replace("MORE", "train: frozen"))
    assert drawn(read_graph("words/word.yaml"), "part.digit") == ("concrete", 0.66)  # 10^4 cells
    middle = "q: {digit: {gradient: score_function}}"
    assert drawn(line(more=middle), "word.part.digit") == ("score_function", None)
    assert drawn(line(outer=cells), "word.part.digit") == ("concrete", 0.66)
    assert drawn(line(outer="objective: {max_cells: 100000000}"), "word.part.digit") == ("enumerate", None)


def weights(nodes: Mapping[str, SubmodelNode]) -> dict[str, tuple[str, bool]]:
    return {name: (node.weights, node.frozen) for name, node in nodes.items()}


def test_where_its_weights_come_from_and_whether_they_are_trained(folder: Path) -> None:
    assert weights(page().submodels) == {"glyph": ("", False)}
    assert weights(page("weights: runs/a").submodels) == {"glyph": ("runs/a", False)}
    assert weights(page("weights: /runs/a, train: frozen").submodels) == {"glyph": ("/runs/a", True)}
    inner = "weights: ../runs/a, train: frozen"
    assert weights(line(more=inner).submodels) == {"word": ("", False), "word.part": ("words/../runs/a", True)}
    outer = "spec: words/word.yaml, weights: runs/b, train: frozen"
    assert weights(line(outer, inner).submodels) == {"word": ("runs/b", True), "word.part": ("", True)}
    assert weights(line(outer).submodels) == {"word": ("runs/b", True), "word.part": ("", True)}


def test_it_keeps_its_own_completed_spec(folder: Path) -> None:
    graph = page("variables: {digit: {role: latent}}, q: {digit: {gradient: concrete}}")
    assert str(graph.submodels["glyph"].spec) == str(read_graph("glyph.yaml").spec)
    assert graph.spec.objective.max_cells == 100
    assert graph.spec.data is None
    assert graph.spec.training.epochs == 100


def test_two_may_come_from_one_file(folder: Path) -> None:
    write(
        "pair.yaml",
        """
model: pair
submodels: {left: {spec: glyph.yaml}, right: {spec: glyph.yaml, train: frozen}}
variables: {total: {distribution: normal, role: observed}}
p: {total: [left.digit, right.digit]}
q: {}
""",
    )
    graph = read_graph("pair.yaml")
    assert graph.p.conditionals["total"].parents == ("left.digit", "right.digit")
    assert graph.q.conditionals["left.style"].parents == ("left.trunk", "left.digit")
    assert graph.q.conditionals["right.style"].parents == ("right.trunk", "right.digit")
    assert weights(graph.submodels) == {"left": ("", False), "right": ("", True)}


def test_a_file_is_sought_from_the_folder_of_the_text_that_names_it(folder: Path) -> None:
    write("deep/glyph.yaml", GLYPH.replace("categories: 10", "categories: 4"))
    text = text_of_page("train: frozen")
    write("deep/page.yaml", text)
    assert read_graph("deep/page.yaml").variables["glyph.digit"].event == (4,)
    assert read_graph(folder / "deep/page.yaml").variables["glyph.digit"].event == (4,)
    setting = ["submodels.glyph.spec=glyph.yaml"]
    assert read_graph("deep/page.yaml", setting).variables["glyph.digit"].event == (10,), "as a shell completes it"
    assert compile_text_graph(text).variables["glyph.digit"].event == (10,)
    write("deep/page.yaml", text.replace("glyph.yaml", str(folder / "glyph.yaml")))
    assert read_graph("deep/page.yaml").variables["glyph.digit"].event == (10,)


def compile_text_graph(text: str) -> ModelGraph:
    return resolve(parse(read_text(text, "text")))


def test_a_circle_is_printed_from_where_it_begins(folder: Path) -> None:
    def chain(name: str, to: str) -> None:
        variables = "variables: {x: {distribution: normal, role: observed}}"
        write(name, f"model: m\nsubmodels: {{s: {{spec: {to}}}}}\n{variables}\np: {{x: []}}")

    for name, to in (("start.yaml", "b.yaml"), ("b.yaml", "far/c.yaml"), ("far/c.yaml", "./../b.yaml")):
        chain(name, to)
    [finding] = wrong(lambda: read_graph("start.yaml")).diagnostics
    assert finding.code == "GV119"
    assert finding.message == "a sub-model stands inside itself: b.yaml -> far/c.yaml -> b.yaml"
    assert [str(finding.span), *map(str, finding.route)] == ["far/c.yaml:2:23", "b.yaml:2:23", "start.yaml:2:23"]


def places(value: object) -> list[Span]:
    """Every span in the data of a source."""
    if isinstance(value, Map):
        found = [value.span, *value.key_spans.values(), *value.spans.values()]
        return found + [span for item in value.values() for span in places(item)]
    return [value.span, *value.spans, *(span for item in value for span in places(item))] if isinstance(value, Seq) else []


VIA = Span("page.yaml", 3, 17, 3, 27, "  glyph: {spec: glyph.yaml}")


def test_every_place_in_a_file_knows_the_place_that_led_there(folder: Path) -> None:
    found = places(read("glyph.yaml", via=VIA).root)
    assert len(found) > 100
    assert {span.via for span in found} == {VIA}
    assert {span.via for span in places(read("glyph.yaml").root)} == {None}


UNREADABLE = {
    "a folder": (None, "GV001"),
    "no UTF-8": (b"model: \xff", "GV001"),
    "too large": (b"#" * (MAX_BYTES + 1), "GV006"),
    "cut within a letter": (b"#" * MAX_BYTES + "é".encode(), "GV006"),
    "empty": (b"", "GV002"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_that_cannot_be_read_is_blamed_where_it_is_named(folder: Path, case: str) -> None:
    content, code = UNREADABLE[case]
    if content is not None:
        Path("bad.yaml").write_bytes(content)
    else:
        Path("bad.yaml").mkdir()
    [finding] = wrong(lambda: read("bad.yaml", via=VIA)).diagnostics
    assert (finding.code, finding.span) == (code, VIA)


@pytest.mark.parametrize("text", ["a: b: c", "a: 1\na: 2", "- 1", "model: 010", "model: glyph\nwhat: 3"])
def test_a_mistake_inside_is_shown_with_both_places(folder: Path, text: str) -> None:
    write("glyph.yaml", text)
    error = wrong(page)
    assert all(finding.span and finding.span.file == "glyph.yaml" for finding in error.diagnostics)
    assert str(error).count("reached from page.yaml:4:17") == len(error.diagnostics) > 0


def test_a_spec_that_is_not_there_to_be_looked_at_is_blamed_by_its_reader(folder: Path) -> None:
    error = wrong(
        lambda: compile_text(f"model: m\nsubmodels: {{s: {{spec: {'x' * 300}}}}}\nvariables: {{x: {{}}}}\np: {{}}", "m.yaml")
    )
    assert [finding.code for finding in error.diagnostics] == ["GV001"]
