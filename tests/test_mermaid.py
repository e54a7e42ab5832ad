"""Mermaid: nodes, boxes and arrows are those of the graph, and every box that is begun ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from models import NAMES, SPECS

from graphvae.compiler.check import read_graph
from graphvae.diagrams.mermaid import LOOKS, to_mermaid
from graphvae.diagrams.sketch import Style, sketch

every_spec = pytest.mark.parametrize("path", SPECS, ids=NAMES)
NODE = re.compile(r'(\S+?)(\[|\(\(\(|\(\()"(.*)"(\]|\)\)\)|\)\)):::(\w+)')
ARROW = re.compile(r'(\S+) (-->|-\.->)(?:\|"(.*)"\|)? (\S+)')


def lines(path: Path, style: Style | None = None) -> list[str]:
    return [line.strip() for line in to_mermaid(sketch(read_graph(path), style or Style())).splitlines()]


@every_spec
def test_arrows_are_the_edges_of_the_graph(path: Path) -> None:
    graph = read_graph(path)
    drawn = {found.groups() for line in lines(path) if (found := ARROW.fullmatch(line))}
    expected = set()
    for side, arrow in ((graph.p, "-->"), (graph.q, "-.->")):
        for child, node in side.conditionals.items():
            for parent in node.conditional.parents:
                label = f"{graph.plates[node.variable.plates[-1]].index}−1" if parent.previous else None
                ends = (f"{side.name}-{name.replace('.', '-')}" for name in (parent.variable, child))
                expected.add((next(ends), arrow, label, next(ends)))
    assert drawn == expected


@every_spec
def test_nodes_are_what_takes_part(path: Path) -> None:
    graph = read_graph(path)
    nodes = {found[1]: found for line in lines(path) if (found := NODE.fullmatch(line))}
    ends = {end for line in lines(path) if (found := ARROW.fullmatch(line)) for end in (found[1], found[4])}
    assert ends <= nodes.keys()
    for side in (graph.p, graph.q):
        for name in (*side.conditionals, *side.conditioned):
            node = graph.variables[name]
            _, left, label, _, look = nodes[f"{side.name}-{name.replace('.', '-')}"].groups()
            assert look == node.role
            assert ("◐" in label) == (node.role == "supervised")
            assert (left == "(((") == (node.role == "deterministic" or node.collapse)


@every_spec
@pytest.mark.parametrize("style", [Style(), Style(view="overlay", submodels="closed", detail="minimal")])
def test_boxes_end_and_classes_are_defined(path: Path, style: Style) -> None:
    text = lines(path, style)
    assert text[1] == "flowchart TB"
    begun = sum(line.startswith("subgraph ") for line in text)
    assert begun == text.count("end") == sum(line.startswith("class ") for line in text)
    used = {found[5] for line in text if (found := NODE.fullmatch(line))}
    assert used <= LOOKS.keys()
    assert sum(line.startswith("classDef ") for line in text) == len(LOOKS)


@pytest.mark.parametrize("name", ["digits", "multi_mnist", "plates"])
def test_mermaid_is_golden(name: str, golden: Callable[[str, str], None]) -> None:
    [path] = [path for path in SPECS if path.stem == name]
    golden(f"{name}.mmd", to_mermaid(sketch(read_graph(path))))
