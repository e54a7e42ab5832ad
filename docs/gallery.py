"""Print the gallery: python docs/gallery.py > docs/gallery.md; and draw its pictures: python docs/gallery.py draw."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from graphvae.compiler.check import read_graph
from graphvae.diagrams.render import render
from graphvae.diagrams.sketch import Style

DOCS = Path(__file__).parent
SPECS = DOCS.parent / "specs"
PICTURES = DOCS / "gallery"

_COLUMNS = "display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 1rem"

COLUMN = Style(width="one-column")
STYLES = {"vae": Style(width="one-column", view="overlay")}
"""How a picture is drawn, where it is not as all others."""

SHIPPED = {
    "Digits, and what structure is for": [
        "digits",
        "mnist",
        "mnist_conv",
        "svhn",
        "m2",
        "m1m2",
        "label_behind_latent",
        "hierarchical",
        "auxiliary",
        "skip",
        "derived",
    ],
    "Tables": ["wine", "two_labels", "counts", "conditional"],
    "Scenes and sequences": ["faces", "faces_intrinsic", "multi_mnist", "multi_mnist_plain", "sequence"],
}

INTRODUCTION = """---
hide: [toc]
---

# Gallery

Every spec that ships beside its picture, and models of the literature that readers know. All pictures are drawn for one column
of a paper, 3.25 inches, and nothing in them was moved by hand:

    graphvae render specs/SPEC.yaml --width one-column -o SPEC.pdf

What the marks mean is on the page about [pictures](pictures.md#what-the-marks-mean).
"""

KNOWN = """## Models of the literature

Written with the letters of the papers and no more than a picture needs. Figures were compared from memory of the papers and
their equations, since none could be opened beside these; what is said of a figure's look is therefore recalled.
"""

LITERATURE = {
    "vae": (
        "A variational autoencoder",
        """Kingma and Welling, *Auto-Encoding Variational Bayes* (2014), figure 1.

* What matches: one plate N around z and x, a solid arrow of p from z to x, and a dashed arrow of q back, one over the
  other, as `--view overlay` draws them.
* What differs: their figure has the parameters $\\theta$ and $\\phi$ outside of the plate, which `--detail full` adds
  here together with a factor for every conditional, and an arrow from $\\theta$ to z, which here takes a prior with
  parameters. The captions are ours.""",
    ),
    "m2": (
        "M2, semi-supervised",
        """Kingma et al., *Semi-supervised Learning with Deep Generative Models* (2014), section 2: p(y) p(z) p(x | y, z) and
q(y | x) q(z | x, y). The paper says so in equations; figures of others draw y twice, once observed and once latent.

* What matches: every factor.
* What differs: y is one node, half grey since some rows have a label, and p(y) is uniform unless the spec says `y:
  {parameters: {logits: learned}}`.""",
    ),
    "adgm": (
        "An auxiliary deep generative model",
        """Maaløe et al., *Auxiliary Deep Generative Models* (2016), figure 1.

* What matches: two panels, P and Q, with the same nodes; in P, arrows from y and z to x and from x, y and z to a; in
  Q, from x to a, from x and a to y, and from x, a and y to z.
* What differs: the arrows of Q are dashed, y is half grey, and there is a plate. Their second model, whose a stands
  above x, is [skip](#skip).""",
    ),
    "hmm": (
        "A hidden Markov model",
        """As in textbooks, such as Bishop, *Pattern Recognition and Machine Learning* (2006), section 13.2.

* What matches: an arrow from every state to the next, and one from a state to what is seen.
* What differs: textbooks unroll a few slots in a row; here the slots are a plate, and the arrow to the next slot is a
  loop with t − 1. Textbooks draw no q, since the posterior of a small hidden Markov model is exact; q here reads what
  was seen so far.""",
    ),
}

MULTI_MNIST = """### Scenes of digits

Siddharth et al., *Learning Disentangled Representations with Semi-Supervised Deep Generative Models* (2017), figure 4, has the
model that [multi_mnist](#multi_mnist) follows.

* What matches: a count that is known in some rows, a plate over the digits of a canvas, a recognition model that goes
  from slot to slot, and in a slot the model of single digits.
* What differs: the arrows of q are ours, since those of the paper were not at hand; the model of single digits is a
  box with its name; and the count has no arrows into its plate, but stands at the plate's index.
"""


def page() -> str:
    """The page in Markdown."""
    return "\n".join([INTRODUCTION, *_shipped(), KNOWN, *_literature(), MULTI_MNIST])


def draw() -> None:
    """Every picture of the page, beside the specs of the literature."""
    for spec in pictured():
        render(spec, PICTURES / f"{_name(spec)}.svg", style=STYLES.get(spec.stem, COLUMN))


def pictured() -> list[Path]:
    """The specs, in the order of the page."""
    shipped = [SPECS / f"{name}.yaml" for names in SHIPPED.values() for name in names]
    return [*shipped, *(PICTURES / f"{name}.yaml" for name in LITERATURE)]


def _name(spec: Path) -> str:
    return spec.stem if spec.parent == SPECS else f"literature_{spec.stem}"


def _shipped() -> Iterator[str]:
    for heading, names in SHIPPED.items():
        yield f"## {heading}\n"
        for name in names:
            yield f"### {name}\n\n{_beside(SPECS / f'{name}.yaml')}"


def _literature() -> Iterator[str]:
    for name, (heading, text) in LITERATURE.items():
        yield f"### {heading}\n\n{text}\n"
        yield _beside(PICTURES / f"{name}.yaml")


def _beside(spec: Path) -> str:
    """A spec to the left of its picture; above it where nobody reads the style, as on GitHub."""
    graph = read_graph(spec)
    words = f"{graph.p.factorisation} and {graph.q.factorisation}"
    picture = f"![{words}](gallery/{_name(spec)}.svg)"
    return f'<div style="{_COLUMNS}" markdown>\n\n```yaml\n{spec.read_text("utf-8")}```\n\n{picture}\n\n</div>\n'


if __name__ == "__main__":
    if sys.argv[1:] == ["draw"]:
        draw()
    else:
        print(page(), end="")
