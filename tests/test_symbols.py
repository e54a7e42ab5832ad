"""Symbols: names by the rule, LaTeX as it is written, and both as Unicode; what is set is what LaTeX itself would set."""

from __future__ import annotations

from pathlib import Path

import pytest
import tikra
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser
from models import NAMES, SPECS

from graphvae.compiler.check import read_graph
from graphvae.compiler.graph import ModelGraph
from graphvae.compiler.latex import ACCENTS, FONTS, SIGNS, LatexError, parse_symbol
from graphvae.compiler.pipeline import compile_text
from graphvae.diagrams.symbols import symbol_of

BY_RULE = [
    ("style", r"\mathit{style}", "style"),
    ("x", "x", "x"),
    ("z_1", "z_{1}", "z₁"),
    ("z1", "z_{1}", "z₁"),
    ("z12", "z_{12}", "z₁₂"),
    ("alpha", r"\alpha", "α"),
    ("Gamma", r"\Gamma", "Γ"),
    ("alphabet", r"\mathit{alphabet}", "alphabet"),
    ("beta1", r"\beta_{1}", "β₁"),
    ("z_alpha", r"z_{\alpha}", "z_α"),
    ("z_style", r"z_{\mathit{style}}", "z_style"),
    ("y_1_k", "y_{1,k}", "y_1,k"),
    ("person_2", r"\mathit{person}_{2}", "person₂"),
    ("part_in_view", r"\mathit{part\_in\_view}", "part_in_view"),
    ("z_", r"\mathit{z\_}", "z_"),
    ("x2y", r"\mathit{x2y}", "x2y"),
    ("größe", r"\mathit{größe}", "größe"),
    ("λ", r"\lambda", "λ"),
    ("ö_1", r"\mathit{ö}_{1}", "ö₁"),
]
WRITTEN = [
    ("z_1", "z_{1}", "z₁"),
    ("style", r"\mathit{style}", "style"),
    (r"\hat{x}_{t, 1}", r"\hat{x}_{t,1}", "x̂_t,1"),
    (r"\alpha x", r"\alpha x", "αx"),
    ("x'", r"x^{\prime}", "x′"),
    ("x''_1", r"x_{1}^{\prime \prime}", "x₁′′"),
    ("x^2_i", "x_{i}^{2}", "xᵢ²"),
    (r"\mathcal{N}^{-1}", r"\mathcal{N}^{-1}", "N⁻¹"),
    (r"{a b}_{\mathrm{new}}", r"{ab}_{\mathrm{new}}", "ab_new"),
]


def named(name: str, symbol: str = "") -> ModelGraph:
    """A graph whose latent vector has this name, and this symbol if any."""
    said = f", symbol: '{symbol.replace(chr(39), 2 * chr(39))}'" if symbol else ""
    variables = f"{{{name}: {{distribution: normal, size: 2{said}}}, row: {{distribution: normal, role: observed}}}}"
    return compile_text(f"model: m\nvariables: {variables}\np: {{row: [{name}]}}\nq: {{{name}: [row]}}", "m.yaml").graph


def test_two_names_of_one_symbol_are_words() -> None:
    text = """
model: m
variables:
  z1: {distribution: normal}
  z_1: {distribution: normal}
  z_2: {distribution: normal}
  x: {distribution: normal, role: observed}
p: {x: [z1, z_1, z_2]}
q: {z1: [x], z_1: [x], z_2: [x]}
"""
    graph = compile_text(text, "m.yaml").graph
    assert [symbol_of(graph, name).text for name in graph.variables] == ["z1", "z_1", "z₂", "x"]
    assert symbol_of(graph, "z_1").latex == r"\mathit{z\_1}"
    chosen = compile_text(text.replace("z1: {distribution: normal}", "z1: {distribution: normal, symbol: u}"), "m.yaml").graph
    assert [symbol_of(chosen, name).text for name in ("z1", "z_1")] == ["u", "z₁"]


@pytest.mark.parametrize(("name", "latex", "text"), BY_RULE)
def test_a_name_has_its_symbol_by_the_rule(name: str, latex: str, text: str) -> None:
    found = symbol_of(named(name), name)
    assert (found.latex, found.text, found.bold) == (latex, text, False)


@pytest.mark.parametrize(("written", "latex", "text"), WRITTEN)
def test_what_is_written_goes_before_the_name(written: str, latex: str, text: str) -> None:
    found = symbol_of(named("style", written), "style")
    assert (found.latex, found.text) == (latex, text)


@pytest.mark.parametrize(
    ("name", "latex"), [("z_1", r"\boldsymbol{z}_{1}"), ("style", r"\boldsymbol{\mathit{style}}"), ("row", r"\mathit{row}")]
)
def test_vectors_are_bold_on_request_and_scalars_never(name: str, latex: str) -> None:
    found = symbol_of(named("style" if name == "row" else name), name, bold=True)
    assert (found.latex, found.bold) == (latex, name != "row")


def test_a_category_is_no_vector() -> None:
    assert not symbol_of(read_graph("specs/digits.yaml"), "digit", bold=True).bold


def test_variables_of_a_submodel_are_told_apart_by_its_name() -> None:
    graph = read_graph("specs/multi_mnist.yaml")
    assert symbol_of(graph, "glyph.image").latex == r"\mathit{image}"
    assert symbol_of(graph, "glyph.image", path=True).latex == r"\mathit{image}^{\mathit{glyph}}"
    indexed = symbol_of(graph, "glyph.image", path=True, indices=parse_symbol("k-1"))
    assert (indexed.latex, indexed.text) == (r"\mathit{image}_{k-1}^{\mathit{glyph}}", "imageₖ₋₁^glyph")


def test_an_index_stands_behind_what_stands_below_already() -> None:
    assert symbol_of(named("z_1"), "z_1", indices=parse_symbol("k")).latex == "z_{1,k}"
    assert symbol_of(named("style", "a b"), "style", indices=parse_symbol("k")).latex == "{ab}_{k}"


@pytest.mark.parametrize("path", SPECS, ids=NAMES)
def test_symbols_of_a_spec_are_all_different(path: Path) -> None:
    graph = read_graph(path)
    for bold in (False, True):
        found = [symbol_of(graph, name, path=True, bold=bold) for name in graph.variables]
        assert len({each.latex for each in found}) == len({each.text for each in found}) == len(found)


def test_a_symbol_survives_printing() -> None:
    for written, *_ in WRITTEN:
        text = str(named("style", written).spec)
        assert compile_text(text, "again.yaml").graph.spec.variables["style"].symbol == written


atoms = st.sampled_from(["z", "1", "ö", *SIGNS])
inner = st.recursive(
    atoms,
    lambda inside: st.one_of(
        st.builds("{}_{{{}}}".format, atoms, inside),
        st.builds("{}^{{{}}}".format, atoms, inside),
        st.builds("{} {}".format, inside, inside),
        st.builds("{}{{{}}}".format, st.sampled_from([*FONTS, *ACCENTS]), inside),
    ),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(inner)
def test_what_is_accepted_is_set_by_other_programs_and_reads_back(written: str) -> None:
    try:
        parsed = parse_symbol(written)
    except LatexError:
        return  # too long
    found = symbol_of(named("style", written), "style")
    assert written.isidentifier() or parse_symbol(found.latex) == parsed
    MathTextParser("path").parse(f"${found.latex}$")
    assert tikra.render(rf"\begin{{tikzpicture}}\node {{${found.latex}$}};\end{{tikzpicture}}")["warnings"] == []
