"""A scene as SVG, with letters as outlines, so that it looks the same where no font is installed. The verb is `to_svg`."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from graphvae.diagrams.ink import BLACK, DASHES, LINE, WHITE, Piece, Shape, ink
from graphvae.diagrams.scene import Point, Scene, Text
from graphvae.diagrams.typeset import Letter, letters, start


def to_svg(scene: Scene) -> bytes:
    """The picture. Its title and description are its alternative text, and every mark and arrow has a title of its own."""
    width, height = _number(scene.width), _number(scene.height)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height}pt" viewBox="0 0 {width} {height}"'
        ' role="img">',
        f"<title>{escape(scene.title)}</title>",
        f"<desc>{escape(scene.description)}</desc>",
        f'<rect width="{width}" height="{height}" fill="{WHITE}"/>',
        *_definitions(scene),
        f'<g stroke="{BLACK}" stroke-width="0" fill="none">',
    ]
    for panel in scene.panels:
        lines.append(f'<g class="panel"><title>{panel.name}</title>')
        lines += [line for piece in ink(panel) for line in _piece(piece, scene.height)]
        lines.append("</g>")
    return ("\n".join([*lines, "</g>", "</svg>"]) + "\n").encode()


def _definitions(scene: Scene) -> Iterable[str]:
    """The outline of every letter once, under a name that means the same in every picture."""
    texts = [part for panel in scene.panels for piece in ink(panel) for part in piece.parts if isinstance(part, Text)]
    found = {letter.name: letter for text in texts for letter in letters(text.symbol)}
    yield "<defs>"
    yield from (f'<path id="{name}" d="{_letter(letter)}"/>' for name, letter in sorted(found.items()) if name)
    yield "</defs>"


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
    place = f"translate({_point(start(text), height)}) scale({text.size / 100:g})"
    return f'<g fill="{BLACK}" transform="{place}">{"".join(map(_placed, letters(text.symbol)))}</g>'


def _placed(letter: Letter) -> str:
    scale = f" scale({letter.scale:g})" if letter.scale != 1 else ""
    place = f' transform="translate({_point(letter.at, 0.0)}){scale}"'
    return f'<use href="#{letter.name}"{place}/>' if letter.name else f'<path d="{_letter(letter)}"{place}/>'


def _letter(letter: Letter) -> str:
    return "".join(command + " ".join(_point(point, 0.0) for point in points) for command, points in letter.path)


def _point(point: Point, height: float) -> str:
    """A point, with y downwards."""
    return f"{_number(point[0])} {_number(height - point[1])}"


def _number(value: float) -> str:
    return f"{round(value, 2) + 0:g}"
