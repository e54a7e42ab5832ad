"""What shows itself in a notebook: its picture and its summary, in whatever asks for them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from models import ROOT

import graphvae
from graphvae.compiler.check import read_graph
from graphvae.compiler.pipeline import compile_file
from graphvae.compiler.source import read
from graphvae.compiler.spec import parse
from graphvae.lab.runs import Run

DIGITS = ROOT / "specs" / "digits.yaml"
SIDES = "p(digit, style, image)\nq(digit, style | image)"


def shown(value: object) -> dict[str, str]:
    """What Jupyter gets, which must be well-formed."""
    bundle: dict[str, str] = value._repr_mimebundle_(include=None, exclude=None)
    page = ElementTree.fromstring(f"<div>{bundle['text/html']}</div>")
    assert page.find(".//{http://www.w3.org/2000/svg}svg") is not None
    assert (page.findtext("pre") or "") == bundle["text/plain"]
    return bundle


def test_a_spec_a_graph_and_a_compilation_show_p_and_q() -> None:
    compilation = compile_file(DIGITS)
    of_spec, of_graph = shown(parse(read(DIGITS))), shown(read_graph(DIGITS))
    assert of_spec == of_graph
    lines = of_graph["text/plain"].splitlines()
    assert lines[0] == "digits"
    assert "\n".join(lines[2:4]) == SIDES
    assert lines[4:] == ["observed: image", "supervised: digit", "latent: style"]
    assert shown(compilation)["text/plain"].splitlines()[-1] == "63,834 parameters"
    assert shown(graphvae.compile(DIGITS)()) == shown(compilation)


def test_a_run_says_how_far_it_came(tmp_path: Path) -> None:
    run = graphvae.train(DIGITS, ["training.epochs=1", "p.image.network.hidden=[4]"], run=tmp_path / "run")
    lines = shown(run)["text/plain"].splitlines()
    bound = run.metrics()[-1]["bound"]
    assert lines[-2:] == [str(tmp_path / "run"), f"epoch 1: bound {bound:.4g}"]
    assert shown(graphvae.load(run)) == shown(run.compile())


def test_a_display_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("model: 3")
    (tmp_path / "manifest.json").write_text("{}")
    bundle = Run(tmp_path)._repr_mimebundle_()
    assert list(bundle) == ["text/plain"]
    assert "GV" in bundle["text/plain"]


def test_ipython_takes_it() -> None:
    formatters = pytest.importorskip("IPython.core.formatters")
    data, _ = formatters.DisplayFormatter().format(read_graph(DIGITS))
    assert {"text/plain", "text/html"} <= data.keys()
