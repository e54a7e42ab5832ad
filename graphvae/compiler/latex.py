r"""The LaTeX that a symbol may be: letters, signs, fonts, accents, and what stands below or above them.

The form is `Atom`, the verb `parse_symbol`. It is a small part of LaTeX's mathematics, which every writer of pictures can set,
which no package is needed for, and which can do nothing but look like a symbol.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

LONGEST = 80

_LETTERS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega"
_CAPITALS = "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
_GREEK = zip(f"{_LETTERS} {_CAPITALS}".split(), "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ", strict=True)
GREEK = {f"\\{name}": letter for name, letter in _GREEK}
_VARIANTS = {r"\varepsilon": "ε", r"\vartheta": "ϑ", r"\varpi": "ϖ", r"\varrho": "ϱ", r"\varsigma": "ς", r"\varphi": "φ"}
_SIGNS = {r"\ell": "ℓ", r"\star": "⋆", r"\ast": "∗", r"\dagger": "†", r"\circ": "∘", r"\infty": "∞", r"\prime": "′", r"\_": "_"}
# What stands for itself in LaTeX, or nearly so.
_PLAIN = {"*": "∗", "-": "−"} | {sign: sign for sign in "+,.;:()[]/|=!"}

SIGNS = {**GREEK, **_VARIANTS, **_SIGNS, **_PLAIN}
FONTS = (r"\mathit", r"\mathrm", r"\mathbf", r"\boldsymbol", r"\mathsf", r"\mathtt", r"\mathcal")
ACCENTS = {
    r"\hat": "\u0302",
    r"\tilde": "\u0303",
    r"\bar": "\u0304",
    r"\dot": "\u0307",
    r"\ddot": "\u0308",
    r"\check": "\u030c",
    r"\vec": "\u20d7",
}


@dataclass(frozen=True)
class Atom:
    r"""One piece of a symbol: a letter or a sign, or `inside` a font, an accent or plain braces, whose `head` is "".

    >>> parse_symbol("z_1")
    (Atom(head='z', inside=(), below=(Atom(head='1', inside=(), below=(), above=()),), above=()),)
    """

    head: str
    inside: tuple[Atom, ...] = ()
    below: tuple[Atom, ...] = ()
    above: tuple[Atom, ...] = ()


_PRIME = Atom(r"\prime")
_SCRIPTS = ("_", "^", "'")


class LatexError(ValueError):
    """What is wrong with a symbol, as a hint."""


def parse_symbol(text: str) -> tuple[Atom, ...]:
    r"""The pieces of a symbol.

    Raises LatexError for what is not of the LaTeX above.

    >>> parse_symbol(r"\input{file}")
    Traceback (most recent call last):
    graphvae.compiler.latex.LatexError: '\input' is not one of the commands that a symbol may have: letters such as \alpha, ...
    """
    if not text.strip():
        raise LatexError("write at least one letter")
    if len(text) > LONGEST:
        raise LatexError(f"write at most {LONGEST} characters")
    reader = _Reader(re.findall(r"\\(?:[A-Za-z]+|.?)|[^ ]", text))
    atoms = reader.atoms()
    if reader.tokens:
        raise LatexError("a '}' closes a brace that nothing opens")
    return atoms


class _Reader:
    """Takes tokens from the left."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def atoms(self) -> tuple[Atom, ...]:
        """What stands before the next closing brace, or before the end."""
        found = []
        while self.tokens and self.tokens[0] != "}":
            atom = self.atom()
            while self.tokens and self.tokens[0] in _SCRIPTS:
                atom = self.scripted(atom)
            found.append(atom)
        return tuple(found)

    def atom(self) -> Atom:
        token = self.tokens.pop(0)
        if token == "{":
            return Atom("", self.group(token))
        if token in FONTS or token in ACCENTS:
            if not self.tokens or self.tokens.pop(0) != "{":
                raise LatexError(f"write what '{token}' is for in braces: {token}{{x}}")
            return Atom(token, self.group(token))
        if token in _SCRIPTS:
            raise LatexError(f"write a letter before '{token}'; a '_' that is seen is \\_")
        if token in SIGNS or (token.isalnum() and len(token) == 1):
            return Atom(token)
        raise LatexError(_unknown(token))

    def group(self, opened: str) -> tuple[Atom, ...]:
        """What stands in braces, the first of which is read."""
        inside = self.atoms()
        if not self.tokens:
            raise LatexError("a '{' is never closed")
        self.tokens.pop(0)
        if not inside:
            raise LatexError(f"there is nothing in the braces of '{opened}'")
        return inside

    def scripted(self, atom: Atom) -> Atom:
        """A piece with what stands below or above it."""
        sign = self.tokens.pop(0)
        primes = all(each == _PRIME for each in atom.above)
        if sign == "'" and primes:
            return replace(atom, above=(*atom.above, _PRIME))
        if atom.below if sign == "_" else not primes:
            raise LatexError(f"a second script in the same place: put both into one pair of braces, {sign}{{a, b}}")
        if not self.tokens or self.tokens[0] == "}":
            raise LatexError(f"nothing follows '{sign}'")
        script = self.atom()
        inside = script.inside if script.head == "" else (script,)
        return replace(atom, below=inside) if sign == "_" else replace(atom, above=(*atom.above, *inside))


def _unknown(token: str) -> str:
    if not token.isprintable():
        return "in double quotes YAML reads a backslash in its own way: leave the quotes out, or use single ones"
    commands = "letters such as \\alpha, fonts such as \\mathbf{x}, accents such as \\hat{x}"
    what = f"one of the commands that a symbol may have: {commands}" if token[0] == "\\" else "a letter, a digit or a sign"
    return f"'{token}' is not {what}"
