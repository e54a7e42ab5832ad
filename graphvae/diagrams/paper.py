"""A scene as PDF or PNG, by matplotlib. The verb is `to_paper`.

Letters are of TrueType fonts that the PDF holds (type 42): many journals refuse the type that matplotlib writes by itself.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, Transform

from graphvae.diagrams.ink import BLACK, DASHES, LINE, Shape, ink
from graphvae.diagrams.scene import Point, Scene, Text
from graphvae.diagrams.typeset import font, letters, lift, mathematics, start

DOTS_PER_INCH = 300

_CODES = {"M": Path.MOVETO, "L": Path.LINETO, "Q": Path.CURVE3, "C": Path.CURVE4, "Z": Path.CLOSEPOLY}
_DASHED = (0, tuple(length / LINE for length in DASHES))


def to_paper(scene: Scene, kind: Literal["pdf", "png"]) -> bytes:
    """The picture, at 300 dots per inch where it is made of dots, with its description and without a date."""
    with mpl.rc_context({"pdf.fonttype": 42, "savefig.facecolor": "white"}):
        figure = Figure(figsize=(scene.width / 72, scene.height / 72), dpi=DOTS_PER_INCH if kind == "png" else 72)
        (FigureCanvasAgg if kind == "png" else FigureCanvasPdf)(figure)
        points = Affine2D().scale(1 / 72) + figure.dpi_scale_trans
        for panel in scene.panels:
            for piece in ink(panel):
                for part in piece.parts:
                    if isinstance(part, Shape):
                        _draw(figure, part, points)
                    elif kind == "pdf":
                        _write(figure, part, points)
                    else:
                        _outline(figure, part, points)
        return _saved(figure, scene, kind)


def _draw(figure: Figure, shape: Shape, points: Transform) -> None:
    figure.add_artist(
        PathPatch(
            _path(shape.path),
            transform=points,
            facecolor=shape.fill or "none",
            edgecolor=BLACK if shape.line else "none",
            linewidth=LINE if shape.line else 0.0,
            linestyle=_DASHED if shape.dashed else "solid",
            capstyle="butt",
        )
    )


def _write(figure: Figure, text: Text, points: Transform) -> None:
    """Letters of a font."""
    left, base = start(text)
    words = mathematics(text.symbol)
    figure.text(left, base - lift(text), words, transform=points, fontproperties=font(text.size), va="baseline", ha="left")


def _outline(figure: Figure, text: Text, points: Transform) -> None:
    """Letters as areas, which stand between dots where they must."""
    for letter in letters(text.symbol):
        place = Affine2D().scale(letter.scale).translate(*letter.at).scale(text.size / 100).translate(*start(text)) + points
        figure.add_artist(PathPatch(_path(letter.path), transform=place, facecolor=BLACK, edgecolor="none", linewidth=0.0))


def _path(commands: Sequence[tuple[str, Sequence[Point]]]) -> Path:
    corners = [point for letter, own in commands for point in (own if letter != "Z" else ((0.0, 0.0),))]
    codes = [_CODES[letter] for letter, own in commands for _ in (own if letter != "Z" else ((),))]
    return Path(corners, codes)


def _saved(figure: Figure, scene: Scene, kind: Literal["pdf", "png"]) -> bytes:
    described: dict[str, Any] = {"Title": scene.title}
    described |= {"Description": scene.description, "Software": None} if kind == "png" else {"Subject": scene.description}
    described |= {} if kind == "png" else {"CreationDate": None}
    picture = io.BytesIO()
    figure.savefig(picture, format=kind, dpi="figure", metadata=described)
    return picture.getvalue()
