"""Print the page of equations, whose example is a spec that ships: python docs/equations.py > docs/equations.md."""

from __future__ import annotations

from pathlib import Path

from graphvae.compiler.check import read_graph
from graphvae.diagrams.equations import equations

SPEC = Path(__file__).parent.parent / "specs" / "digits.yaml"

INTRODUCTION = r"""# Equations

`graphvae explain SPEC --latex` prints a model as equations, for a paper, and `--markdown` prints the same for a page or a
notebook. They are read off the graph that is compiled, so they say what is trained:

* both factorisations, with every conditional's family and parameters, and plates as products over their slots, which count
  from 1 as in [pictures](pictures.md);
* networks as functions of their parents, with their kinds and widths in words: weights of p are $\theta$, those of q $\phi$;
* the objective of this graph, which is the formula of [the method](method.md) with its terms written out: f is the log-ratio of
  a cell and $\ell$ its log-weight, e runs over enumerated values and s over samples. Below it stand the weights, the share of
  labelled rows, which terms are exact, and what is not drawn from its own family;
* a table of variables, with their names where a symbol was chosen. Symbols follow from names, or from `symbol`
  ([the language](language.md#symbols)); a variable of a sub-model has the sub-model's name above it.

The LaTeX is for `\input`, and needs amsmath alone. Lines are as short as a column of a two-column paper:

    graphvae explain specs/digits.yaml --latex > digits.tex

## An example

`graphvae explain specs/digits.yaml --markdown` prints:
"""


def page() -> str:
    """The page in Markdown, the sections of the example below its heading."""
    example = equations(read_graph(SPEC)).markdown.partition("\n\n")[2].replace("## ", "### ")
    return f"{INTRODUCTION}\n{example}"


if __name__ == "__main__":
    print(page(), end="")
