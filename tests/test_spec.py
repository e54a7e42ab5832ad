"""The shape of the text: what is accepted, what is filled in, and that a spec prints as the same spec."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from graphvae.compiler.errors import SpecError
from graphvae.compiler.pipeline import compile_file, compile_text
from graphvae.compiler.source import read, read_text
from graphvae.compiler.spec import Reference, Spec, parse

ROOT = Path(__file__).parent.parent
SPECS = sorted([*ROOT.glob("specs/*.yaml"), *ROOT.glob("tests/specs/*.yaml")])
TEXT = """model: digits
variables:
  digit: {distribution: categorical, categories: 10, role: supervised}
  style: {distribution: normal, size: 8}
  image: {distribution: bernoulli, size: 64, role: observed}
p:
  image: [digit, style]
q:
  digit: [image]
  style: [image, digit]
"""


def spec_of(text: str) -> Spec:
    return parse(read_text(text, "m.yaml"))


def without_comments(code: str) -> str:
    return re.sub(r"  # \S+\.yaml:\d+", "", code)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_resolved_spec_prints_as_itself(path: Path) -> None:
    compilation = compile_file(path)
    text = str(compilation.graph.spec)
    again = compile_text(text, str(path))
    assert again.spec.model_dump() == again.graph.spec.model_dump() == compilation.graph.spec.model_dump()
    assert str(again.graph.spec) == text
    assert without_comments(again.code) == without_comments(compilation.code)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_as_written_prints_as_itself(path: Path) -> None:
    spec = parse(read(path))
    assert spec_of(str(spec)).model_dump() == spec.model_dump()


def test_a_resolved_spec_shows_every_default() -> None:
    spec = compile_text(TEXT, "m.yaml").graph.spec
    assert (
        str(spec)
        == """model: digits
description: ""
variables:
  digit: {distribution: categorical, role: supervised, categories: 10}
  style: {distribution: normal, role: latent, size: 8}
  image: {distribution: bernoulli, role: observed, size: 64, soft: false}
p:
  digit:
    parents: []
    parameters: {logits: 0.0}
  style:
    parents: []
    parameters: {loc: 0.0, scale: 1.0}
  image:
    parents: [digit, style]
    network: {kind: mlp, hidden: [64, 64], activation: relu, dropout: 0.0, normalisation: none}
    parameters: {}
q:
  digit:
    parents: [image]
    network: {kind: mlp, hidden: [64, 64], activation: relu, dropout: 0.0, normalisation: none}
    parameters: {}
    gradient: enumerate
  style:
    parents: [image, digit]
    network: {kind: mlp, hidden: [128, 128], activation: relu, dropout: 0.0, normalisation: none}
    parameters: {}
    gradient: reparameterised
objective: {bound: self_normalised, samples: 1, kl: sampled, label_term: log_mean, alpha: auto, beta: 1.0, max_cells: 100}
training:
  epochs: 100
  batch_size: 128
  learning_rate: 0.001
  seeds: {init: 0, order: 0, noise: 0}
"""
    )


@settings(deadline=1000, derandomize=True)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp"], exclude_characters="\ufeff")))
def test_any_description_prints_as_itself(description: str) -> None:
    spec = spec_of(TEXT).model_copy(update={"description": unicodedata.normalize("NFC", description)})
    assert spec_of(str(spec)).description == spec.description


@pytest.mark.parametrize(
    "text", ["1e5", "0o17", "010", ".5", "5.", "no", "null", "~", "", "a (b", "a: b", "- a", "#", "'", '"', "a\nb"]
)
def test_text_that_would_read_as_something_else_is_quoted(text: str) -> None:
    columns = {"source": "mnist", "columns": {"image": text, "digit": text}}
    spec = Spec.model_validate({**spec_of(TEXT).model_dump(exclude={"p", "q"}, exclude_none=True), "p": {}, "data": columns})
    assert spec.data
    again = spec_of(str(spec)).data
    assert again
    assert again.columns == spec.data.columns


LEGAL = [
    (
        "a whole number for a number",
        "role: supervised",
        "role: supervised",
        "objective: {alpha: 50, beta: 1, supervision_rate: 1}",
    ),
    ("a parameter", "  style: [image, digit]", "  style: {parents: [image, digit], parameters: {scale: 2}}", ""),
    ("a constant value", "  image: [digit, style]", "  image: [digit, style, a]\n  a: {value: 'stack(1, 2)'}", ""),
    ("quoted keys", "  digit: [image]", "  'digit': [\"image\"]", ""),
    ("a list over lines", "  image: [digit, style]", "  image: [digit,\n    style,]", ""),
    ("a block list", "  image: [digit, style]", "  image:\n  - digit\n  - style", ""),
    ("an anchor", "  digit: [image]\n", "  digit: &from_image [image]\n", "training: {epochs: &n 5, batch_size: *n}"),
    (
        "another anchor",
        "  style: {distribution: normal, size: 8}",
        "  style: &s {distribution: normal, size: 8}\n  other: *s",
        "",
    ),
    ("no shape at all", "size: 64", "shape: []", ""),
    ("a column for two", "", "", "data: {source: mnist, columns: {image: image, digit: image}, labels: {digit: {rows: 0}}}"),
    ("no layer", "  digit: [image]", "  digit: {parents: [image], network: {hidden: []}}", ""),
    ("a keyword", "model: digits", "model: class", ""),
    ("letters of any script", "model: digits", "model: größe_漢字", ""),
    ("a document marker", "model: digits", "---\nmodel: digits", ""),
    ("a text over lines", "model: digits", "model: digits\ndescription: >\n  Digits,\n  and how they are written.", ""),
]


@pytest.mark.parametrize(("old", "new", "more"), [row[1:] for row in LEGAL], ids=[row[0] for row in LEGAL])
def test_what_is_legal_is_accepted(old: str, new: str, more: str) -> None:
    text = TEXT.replace(old, new, 1) if old else TEXT
    if "other" in new:
        text = text.replace("style: [image, digit]", "style: [image, digit]\n  other: [image]")
    compile_text(text + more, "m.yaml")


def test_a_bare_list_is_short_for_the_parents() -> None:
    long = TEXT.replace("[digit, style]", "{parents: [digit, style]}").replace("[image]", "{parents: [image]}")
    assert spec_of(long).model_dump() == spec_of(TEXT).model_dump()


def test_labels_as_a_map_are_short_for_draws_of_one_variable() -> None:
    data = "data: {source: mnist, columns: {image: image, digit: label}, labels: "
    short = spec_of(TEXT + data + "{digit: {rows: 50, seed: 3}}}")
    long = spec_of(TEXT + data + "[{variables: [digit], rows: 50, seed: 3}]}")
    assert short.model_dump() == long.model_dump()
    assert short.data
    [draw] = short.data.labels
    assert draw.variables == ("digit",)
    assert str(draw.span("rows")) == f"m.yaml:11:{len(data) + len('{digit: {rows: ') + 1}"
    assert str(draw.span("variables", 0)) == f"m.yaml:11:{len(data) + 2}"


def test_a_block_knows_where_its_values_stand() -> None:
    spec = spec_of(TEXT)
    assert str(spec.span()) == "m.yaml:1:1"
    assert str(spec.key("variables", "style")) == "m.yaml:4:3"
    assert str(spec.span("variables", "style", "size")) == "m.yaml:4:39"
    assert str(spec.variables["style"].key("size")) == "m.yaml:4:33"
    assert str(spec.p["image"].span("parents", 1)) == "m.yaml:7:18"
    assert str(spec.p["image"].span("parents")) == "m.yaml:7:10"
    for path in [("nothing",), ("p", "image", 7), ("model", "x"), ("p", "image", "parents", 0, 1)]:
        assert spec.span(*path) is None
        assert spec.key(*path) is None
    assert spec.objective.span() is None


@pytest.mark.parametrize(
    ("text", "variable", "previous"),
    [
        ("z", "z", False),
        ("z.previous", "z", True),
        ("a.z", "a.z", False),
        ("a.z.previous", "a.z", True),
        ("previous", "previous", False),
        ("a.b.c.previous", "a.b.c", True),
    ],
)
def test_references(text: str, variable: str, previous: bool) -> None:
    assert Reference.parse(text) == Reference(variable, previous)
    assert str(Reference.parse(text)) == text


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a b", "a..b", "a.1.c", "1", "a-b", "_a", "①", 5, None, True, ["a"]])
def test_what_is_no_reference(text: object) -> None:
    with pytest.raises(PydanticCustomError):
        Reference.parse(text)


def test_findings_come_all_at_once_in_the_order_of_the_text() -> None:
    text = TEXT.replace("size: 8", "size: -8").replace("observed}", "observd}") + "training: {epochs: 0, x: 1}\nz: 1\n"
    with pytest.raises(SpecError) as caught:
        spec_of(text)
    found = [(finding.code, finding.span.line) for finding in caught.value.diagnostics if finding.span]
    assert found == [("GV053", 4), ("GV054", 5), ("GV053", 11), ("GV050", 11), ("GV050", 12)]


def test_a_misspelt_key_is_not_reported_as_missing_too() -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(TEXT.replace("variables:", "varaibles:").replace("\np:", "\nP:"))
    assert [finding.code for finding in caught.value.diagnostics] == ["GV050", "GV050"]
