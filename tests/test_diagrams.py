"""The pictures of p and q: what is drawn is the graph, and every file is whole, well-formed and the same on every run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from graphvae.compiler.errors import FlagError, SpecError
from graphvae.compiler.graph import ModelGraph
from graphvae.compiler.pipeline import compile_file
from graphvae.diagrams.dot import to_dot
from graphvae.diagrams.render import render
from graphvae.diagrams.sketch import sketch

ROOT = Path(__file__).parent.parent
SPECS = sorted([*ROOT.glob("specs/*.yaml"), *ROOT.glob("tests/specs/*.yaml")])
DIGITS = ROOT / "specs" / "digits.yaml"
PDFFONTS = shutil.which("pdffonts")  # before an engine hides what is on the PATH
SVG = "{http://www.w3.org/2000/svg}"

every_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.stem)
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="there is no system dot to draw with")


@pytest.fixture(params=[pytest.param("system", marks=needs_dot), "wheel"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn; the wheel's draws where the system's is hidden."""
    if request.param == "wheel":
        request.getfixturevalue("no_dot")
    return str(request.param)


@pytest.fixture
def no_dot(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))


@pytest.fixture
def broken_dot(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path_factory.mktemp("broken") / "dot"
    program.write_text("#!/bin/sh\necho 'no such plugin' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))


@every_spec
def test_dot_is_golden(spec: Path, golden: Callable[[str, str], None]) -> None:
    golden(f"{spec.stem}.dot", to_dot(sketch(compile_file(spec).graph)))


@every_spec
def test_drawn_edges_are_the_edges_of_the_graph(spec: Path) -> None:
    """What a person wrote as the parents; a count is no parent of what is in its plate."""
    graph = compile_file(spec).graph
    assert drawn_edges(to_dot(sketch(graph))) == {
        (side.name, str(parent), child, {"p": "solid", "q": "dashed"}[side.name])
        for side in (graph.p, graph.q)
        for child, node in side.conditionals.items()
        for parent in node.conditional.parents
    }


@every_spec
def test_drawn_nodes_are_the_variables_that_take_part(spec: Path) -> None:
    graph = compile_file(spec).graph
    assert drawn_nodes(to_dot(sketch(graph))) == taking_part(graph)


@every_spec
def test_svg_is_well_formed_and_names_every_variable(spec: Path, tmp_path: Path, engine: str) -> None:
    picture = tmp_path / "model.svg"
    render(spec, picture)
    assert titles(picture) == taking_part(compile_file(spec).graph)


def test_svg_says_in_words_what_it_shows(tmp_path: Path) -> None:
    render(DIGITS, tmp_path / "model.svg")
    root = ElementTree.parse(tmp_path / "model.svg").getroot()
    assert root.findtext(f"{SVG}title") == "digits"
    assert root.findtext(f"{SVG}desc") == (
        "The generative model p(digit, style, image) = p(digit) p(style) p(image | digit, style). "
        "The recognition model q(digit, style | image) = q(digit | image) q(style | image, digit). "
        "image: observed. digit: observed in some rows. style: latent."
    )


def test_png_is_a_png_for_print(tmp_path: Path, engine: str) -> None:
    picture = tmp_path / "model.PNG"
    render(DIGITS, picture)
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(content[16:20]) == 192 * 300 // 72, "two panels of 88 points, 16 between them and the same edge"


def test_pdf_holds_its_fonts_and_no_date(tmp_path: Path, engine: str) -> None:
    picture = tmp_path / "model.pdf"
    render(DIGITS, picture)
    content = picture.read_bytes()
    assert content.startswith(b"%PDF-")
    assert b"CreationDate" not in content
    if PDFFONTS is None:
        pytest.skip("there is no pdffonts (poppler-utils) to look into a PDF with")
    rows = subprocess.run([PDFFONTS, picture], capture_output=True, text=True, check=True).stdout.splitlines()[2:]
    assert rows
    for row in rows:
        assert "Type 3" not in row
        assert re.search(r"TrueType\s+\S+\s+yes ", row), row


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf", "tex", "dot", "mmd", "json"])
def test_two_runs_give_the_same_bytes(suffix: str, tmp_path: Path, engine: str) -> None:
    pictures = [tmp_path / f"{run}.{suffix}" for run in ("first", "second")]
    for picture in pictures:
        render(DIGITS, picture)
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == pictures, "nothing else is left behind"


def test_settings_lie_over_the_spec(tmp_path: Path) -> None:
    render(DIGITS, tmp_path / "model.dot", ["model=renamed"])
    assert (tmp_path / "model.dot").read_text().startswith("digraph renamed {")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("model.gif", r"not known by its suffix\n  end it in one of: \.svg, \.pdf, \.png, \.tex, \.dot, \.mmd, \.json"),
        ("model", "not known by its suffix"),
        ("missing/model.svg", r"cannot write(?s:.*)there is no folder"),
        ("file/model.svg", r"cannot write(?s:.*)there is no folder"),
        ("folder.svg", "cannot write"),
    ],
)
def test_bad_outputs_are_flag_errors(output: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(FlagError, match=rf"GV501(?s:.*){message}"):
        render(DIGITS, tmp_path / output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.svg"]


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write to any file")
def test_a_file_that_may_not_be_written_stays(tmp_path: Path) -> None:
    picture = tmp_path / "model.svg"
    picture.write_text("keep")
    picture.chmod(0o444)
    with pytest.raises(FlagError, match="cannot write"):
        render(DIGITS, picture)
    assert picture.read_text() == "keep"


@pytest.mark.skipif(os.name == "nt", reason="the broken engine is a shell script")
def test_a_failing_engine_leaves_the_old_picture(tmp_path: Path, broken_dot: None) -> None:
    picture = tmp_path / "model.svg"
    picture.write_text("keep")
    with pytest.raises(FlagError, match=r"GV501.*cannot lay out the picture: no such plugin"):
        render(DIGITS, picture)
    assert picture.read_text() == "keep"


def test_a_broken_spec_draws_nothing(tmp_path: Path) -> None:
    with pytest.raises(SpecError):
        render(tmp_path / "missing.yaml", tmp_path / "model.svg")
    assert not list(tmp_path.iterdir())


def test_rendering_loads_no_torch(tmp_path: Path) -> None:
    script = "import sys, graphvae; graphvae.render(sys.argv[1], sys.argv[2]); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script, DIGITS, tmp_path / "model.svg"], check=True)


def drawn_edges(dot: str) -> set[tuple[str, str, str, str]]:
    """Every arrow that is seen, as (side, tail, head, style); the tail of one to the next slot is the previous."""
    edges = re.findall(r'"([pq])\.(\S+)" -> "([pq])\.(\S+)" \[(.*)\]', dot)
    assert len(edges) == dot.count("->"), "every edge is understood"
    seen = set()
    for side, upper, other_side, lower, attributes in edges:
        assert side == other_side, "no edge runs between the panels"
        style = re.search(r"style=(\w+)", attributes)
        if style and style[1] != "invis":
            tail, head = (lower, upper) if "dir=back" in attributes else (upper, lower)
            seen.add((side, f"{tail}.previous" if "−1" in attributes else tail, head, style[1]))
    return seen


def drawn_nodes(dot: str) -> set[tuple[str, str]]:
    """Every node that is seen, as (side, name)."""
    nodes = re.findall(r'^\t+"([pq])\.(\S+)" \[label=(.*)\]$', dot, re.MULTILINE)
    return {(side, name) for side, name, attributes in nodes if "style=invis" not in attributes}


def taking_part(graph: ModelGraph) -> set[tuple[str, str]]:
    """What a side defines, what it conditions on, and what its parents are, a plate among them."""
    sides = (graph.p, graph.q)
    nodes = [(side.name, node) for side in sides for node in side.conditionals.values()]
    parents = {(side, parent.variable) for side, node in nodes for parent in node.conditional.parents}
    return parents | {(side, name) for side, node in nodes for name in (node.variable.name, *node.counts)}


def titles(picture: Path) -> set[tuple[str, str]]:
    """Every mark in an SVG, as (side, name)."""
    panels = [group for group in ElementTree.parse(picture).iter(f"{SVG}g") if group.get("class") == "panel"]
    found = {(str(panel.findtext(f"{SVG}title")), group) for panel in panels for group in panel if group.get("class") == "mark"}
    return {(side, str(group.findtext(f"{SVG}title"))) for side, group in found}
