"""A scene as SVG, with letters as outlines, so that it looks the same where no font is installed. The verb is `to_svg`."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from graphvae.diagrams.ink import BLACK, DASHES, LINE, WHITE, Piece, Shape, ink
from graphvae.diagrams.scene import Point, Scene, Text
from graphvae.diagrams.typeset import outline


def to_svg(scene: Scene) -> bytes:
    """The picture. Its title and description are its alternative text, and every mark and arrow has a title of its own."""
    width, height = _number(scene.width), _number(scene.height)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height}pt" viewBox="0 0 {width} {height}"'
        ' role="img" aria-labelledby="title description">',
        f'<title id="title">{escape(scene.title)}</title>',
        f'<desc id="description">{escape(scene.description)}</desc>',
        f'<rect width="{width}" height="{height}" fill="{WHITE}"/>',
        f'<g stroke="{BLACK}" stroke-width="0" fill="none">',
    ]
    for panel in scene.panels:
        lines.append(f'<g class="panel"><title>{panel.name}</title>')
        lines += [line for piece in ink(panel) for line in _piece(piece, scene.height)]
        lines.append("</g>")
    return ("\n".join([*lines, "</g>", "</svg>"]) + "\n").encode()


def _piece(piece: Piece, height: float) -> Iterable[str]:
    yield f'<g class="{piece.kind}"><title>{escape(piece.title)}</title>'
    for part in piece.parts:
        yield _letters(part, height) if isinstance(part, Text) else _shape(part, height)
    yield "</g>"


def _shape(shape: Shape, height: float) -> str:
    path = "".join(letter + " ".join(_point(point, height) for point in points) for letter, points in shape.path)
    fill = f' fill="{shape.fill}"' if shape.fill else ""
    line = f' stroke-width="{LINE}"' if shape.line else ""
    dashes = f' stroke-dasharray="{DASHES[0]} {DASHES[1]}"' if shape.dashed else ""
    return f'<path d="{path}"{fill}{line}{dashes}/>'


def _letters(text: Text, height: float) -> str:
    path = "".join(letter + " ".join(_point(point, height) for point in points) for letter, points in outline(text))
    return f'<path d="{path}" fill="{BLACK}"/>'


def _point(point: Point, height: float) -> str:
    """A point, with y downwards."""
    return f"{_number(point[0])} {_number(height - point[1])}"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
