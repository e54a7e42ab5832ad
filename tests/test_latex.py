"""A real LaTeX, where one is installed, sets every picture and every equation."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from models import SPECS

from graphvae.compiler.check import read_graph
from graphvae.diagrams.equations import equations
from graphvae.diagrams.render import render
from graphvae.diagrams.sketch import Style
from graphvae.diagrams.tikz import LIBRARIES

LATEX = shutil.which("pdflatex")


@pytest.mark.skipif(LATEX is None, reason="there is no pdflatex")
def test_latex_sets_every_picture_and_every_equation(tmp_path: Path) -> None:
    assert LATEX is not None
    parts = []
    for number, spec in enumerate(SPECS):
        render(spec, tmp_path / f"picture{number}.tex", style=Style(width="one-column", legend=True))
        (tmp_path / f"equations{number}.tex").write_text(equations(read_graph(spec)).latex, encoding="utf-8")
        parts.append(rf"\input{{picture{number}}}\par\input{{equations{number}}}\clearpage")
    preamble = rf"\documentclass[twocolumn]{{article}}\usepackage{{amsmath, tikz}}{LIBRARIES}"
    document = "\n".join([preamble, r"\begin{document}", *parts, r"\end{document}"])
    (tmp_path / "paper.tex").write_text(document, encoding="utf-8")
    command = [LATEX, "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").exists()
