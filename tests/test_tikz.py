"""TikZ: what is drawn is the scene, and programs that know TikZ draw it without a word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import tikra
from models import NAMES, SPECS

from graphvae.compiler.check import read_graph
from graphvae.compiler.pipeline import compile_text
from graphvae.diagrams.compose import compose
from graphvae.diagrams.scene import Scene
from graphvae.diagrams.sketch import Style, sketch
from graphvae.diagrams.tikz import to_tikz
from graphvae.diagrams.typeset import room_for_latex

every_spec = pytest.mark.parametrize("path", SPECS, ids=NAMES)
STYLES = {
    "default": Style(),
    "column": Style(width="one-column"),
    "full": Style(detail="full", legend=True),
    "overlay": Style(view="overlay", submodels="closed", bold_vectors=True),
}
LOOKS = ("latent", "observed", "supervised", "deterministic", "given", "sub-model")


def scene(path: Path, style: str) -> Scene:
    with room_for_latex():
        return compose(sketch(read_graph(path), STYLES[style]), {}).scene


@every_spec
@pytest.mark.parametrize("style", STYLES)
def test_it_is_drawn_without_a_warning(path: Path, style: str) -> None:
    for standalone in (False, True):
        drawn = tikra.render(to_tikz(scene(path, style), standalone))
        assert drawn["warnings"] == []
        assert drawn["svg"].startswith("<svg")


@every_spec
def test_nodes_and_arrows_are_those_of_the_scene(path: Path) -> None:
    made = scene(path, "full")
    text = to_tikz(made)
    nodes = re.findall(r"\\node\[([\w-]+)(?:, [^\]]*)?\] \(([^)]*)\)", text)
    assert Counter(look for look, _ in nodes if look in LOOKS) == Counter(
        mark.look for panel in made.panels for mark in panel.marks
    )
    names = [name for _, name in nodes]
    assert len(set(names)) == len(names), "no two nodes have one name"
    drawn = re.findall(r"\\draw\[(generative|recognition)(?:, -)?\] \(([\w.-]*)\).* \(([\w.-]*)\);", text)
    ends = Counter((style, tail.partition(".")[0], head.partition(".")[0]) for style, tail, head in drawn)
    expected: Counter[tuple[str, str, str]] = Counter()
    for panel in made.panels:
        names_of = {mark.name: f"{panel.name}-{mark.name.replace('.', '-').replace(' ', '-')}" for mark in panel.marks}
        for factor in panel.factors:
            style = {"p": "generative", "q": "recognition"}[factor.side]
            expected[style, f"{names_of[factor.child]}-factor-{factor.side}", names_of[factor.child]] += 1
        for arrow in panel.arrows:
            style = {"p": "generative", "q": "recognition"}[arrow.side]
            if arrow.tail:
                head = names_of[arrow.head] + f"-factor-{arrow.side}" * (not arrow.pointed)
                expected[style, names_of[arrow.tail], head] += 1
    assert ends == expected
    assert {end for _, *pair in ends for end in pair} <= set(names)


@every_spec
def test_lines_are_short_and_braces_close(path: Path) -> None:
    text = to_tikz(scene(path, "column"))
    assert all(len(line) < 240 for line in text.splitlines())
    assert text.count("{") == text.count("}")
    assert text.count("$") % 2 == 0


def test_a_supervised_variable_has_a_sharp_half() -> None:
    drawn = tikra.render(to_tikz(scene(Path("specs/digits.yaml"), "default")))["svg"]
    assert "Gradient" not in drawn


def test_names_that_tikz_cannot_read_get_others() -> None:
    variables = "{größe: {distribution: normal}, x: {distribution: normal, role: observed}}"
    graph = compile_text(f"model: m\nvariables: {variables}\np: {{x: [größe]}}\nq: {{größe: [x]}}", "m.yaml").graph
    text = to_tikz(compose(sketch(graph), {}).scene)
    assert r"(p-gruf6udfe)" in text
    assert r"\text{\itshape größe}" in text
    assert tikra.render(text)["warnings"] == []


@pytest.mark.parametrize("name", ["digits", "multi_mnist", "plates"])
def test_tikz_is_golden(name: str, golden: Callable[[str, str], None]) -> None:
    [path] = [path for path in SPECS if path.stem == name]
    golden(f"{name}.tikz.tex", to_tikz(scene(path, "column"), standalone=True))
