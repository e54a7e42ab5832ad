r"""What stands for a variable in pictures and equations. The form is `Symbol`, the verb `symbol_of`.

It is what the spec says under `symbol`, or else the name, by one rule: a word is a word in italics; the name of a Greek letter
is that letter; digits at the end stand below, and so does what follows the `_` behind a single letter. Where the rule would
make one symbol of two names, such as z1 and z_1, both are words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from graphvae.compiler.graph import ModelGraph, VariableNode
from graphvae.compiler.latex import ACCENTS, GREEK, SIGNS, Atom, parse_symbol

_COMMANDS = {letter: command for command, letter in GREEK.items()}
_BELOW = dict(zip("0123456789+−=()aehijklmnoprstuvxβγρφχ", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ", strict=True))
_ABOVE = dict(zip("0123456789+−=()in′*∗⋆", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁱⁿ′*∗⋆", strict=True))


@dataclass(frozen=True)
class Symbol:
    """A symbol as LaTeX's mathematics, without dollars, and as Unicode; `bold` says that it is that of a vector, in bold."""

    latex: str
    text: str
    bold: bool = False


def symbol_of(
    graph: ModelGraph, name: str, *, bold: bool = False, path: bool = False, indices: tuple[Atom, ...] = ()
) -> Symbol:
    r"""The symbol of a variable, or of a plate's index; `bold` has vectors in bold, `indices` stand below it behind its own.

    A variable of a sub-model has the symbol of its last name; with `path`, the names of sub-models stand above it.

    >>> from graphvae.compiler.check import read_graph
    >>> graph = read_graph("specs/multi_mnist.yaml")
    >>> symbol_of(graph, "glyph.digit").latex, symbol_of(graph, "glyph.digit", path=True).latex
    ('\\mathit{digit}', '\\mathit{digit}^{\\mathit{glyph}}')
    >>> symbol_of(graph, "slot")
    Symbol(latex='k', text='k', bold=False)
    """
    node = graph.variables.get(name)
    *outer, own = name.split(".")
    atoms = _read((node or graph.plates[name]).symbol or own)
    if node and not node.symbol and _shared(graph, name):
        atoms = (_word(own),)
    bold = bold and node is not None and _is_vector(node)
    if bold:
        atoms = tuple(map(_in_bold, atoms))
    if indices:
        atoms = _with_indices(atoms, indices)
    if outer and path:
        atoms = (replace(_one(atoms, "above"), above=_joined(".", map(_by_rule, outer))),)
    return Symbol(_latex(atoms), unicodedata.normalize("NFC", _text(atoms)), bold)


def for_latex(mathematics: str) -> str:
    r"""Mathematics as LaTeX itself can set it: words with letters that it knows in text alone are text.

    >>> print(for_latex(r"\mathit{style} + \mathit{größe}"))
    \mathit{style} + \text{\itshape größe}
    """
    return re.sub(r"\\mathit\{([^{}]*[^\x00-\x7f{}][^{}]*)\}", r"\\text{\\itshape \1}", mathematics)


def _read(text: str) -> tuple[Atom, ...]:
    """A name by the rule, and anything else as LaTeX."""
    return _by_rule(text) if text.isidentifier() else parse_symbol(text)


def _shared(graph: ModelGraph, name: str) -> bool:
    """Whether the rule makes the same of another variable's name, in the same model."""
    outer, _, own = name.rpartition(".")
    others = (other.rpartition(".") for other, node in graph.variables.items() if other != name and not node.symbol)
    return any(path == outer and _by_rule(other) == _by_rule(own) for path, _, other in others)


@cache
def _by_rule(name: str) -> tuple[Atom, ...]:
    base, _, below = name.partition("_")
    if _letter(base) and below.strip("_") == below != "":
        parts = below.split("_") if all(_letter(part) or part.isdigit() for part in below.split("_")) else [below]
        return (replace(_word(base), below=_joined(",", map(_by_rule, parts))),)
    if numbered := re.fullmatch(r"(.*[^\W\d_])_?(\d+)", name):
        return (replace(_word(numbered[1]), below=tuple(map(Atom, numbered[2]))),)
    return tuple(map(Atom, name)) if name.isdigit() else (_word(name),)


def _word(name: str) -> Atom:
    letter = _letter(name)
    return (
        Atom(letter)
        if letter.isascii() and letter
        else Atom(r"\mathit", tuple(Atom(r"\_" if each == "_" else each) for each in name))
    )


def _letter(name: str) -> str:
    """A single letter, or the command for a Greek one; "" for anything longer."""
    return f"\\{name}" if f"\\{name}" in GREEK else _COMMANDS.get(name, name) if len(name) == 1 else ""


def _is_vector(node: VariableNode) -> bool:
    """Whether a value has several elements; a category is one."""
    return len(node.event) > (node.family is not None and node.family.simplex)


def _in_bold(atom: Atom) -> Atom:
    """A piece in bold; what stands below and above it is as before."""
    return replace(atom, head=r"\boldsymbol", inside=(replace(atom, below=(), above=()),))


def _one(atoms: tuple[Atom, ...], place: Literal["below", "above"]) -> Atom:
    """Pieces as one that has nothing at a place."""
    return atoms[0] if len(atoms) == 1 and not getattr(atoms[0], place) else Atom("", atoms)


def _with_indices(atoms: tuple[Atom, ...], indices: tuple[Atom, ...]) -> tuple[Atom, ...]:
    if len(atoms) == 1 and atoms[0].below:
        return (replace(atoms[0], below=(*atoms[0].below, Atom(","), *indices)),)
    return (replace(_one(atoms, "below"), below=indices),)


def _joined(sign: str, parts: Iterable[tuple[Atom, ...]]) -> tuple[Atom, ...]:
    first, *others = parts
    return (*first, *(atom for part in others for atom in (Atom(sign), *part)))


def _latex(atoms: Iterable[Atom]) -> str:
    """Pieces as LaTeX, with a space behind a command that stands alone."""
    pieces = map(_piece, atoms)
    return "".join(f"{piece} " if re.search(r"\\[A-Za-z]+$", piece) else piece for piece in pieces).rstrip()


def _piece(atom: Atom) -> str:
    core = f"{atom.head}{{{_latex(atom.inside)}}}" if atom.inside else _COMMANDS.get(atom.head, atom.head)
    scripts = (("_", atom.below), ("^", atom.above))
    return core + "".join(f"{sign}{{{_latex(script)}}}" for sign, script in scripts if script)


def _text(atoms: Iterable[Atom]) -> str:
    return "".join(map(_letters, atoms))


def _letters(atom: Atom) -> str:
    core = _text(atom.inside) + ACCENTS.get(atom.head, "") if atom.inside else SIGNS.get(atom.head, atom.head)
    return core + _script("_", atom.below, _BELOW) + _script("^", atom.above, _ABOVE)


def _script(sign: str, atoms: tuple[Atom, ...], letters: Mapping[str, str]) -> str:
    """Small letters where Unicode has them all; else the sign that LaTeX has."""
    text = _text(atoms)
    return "".join(map(letters.__getitem__, text)) if letters.keys() >= set(text) else f"{sign}{text}"
