"""What can go wrong, as types and as text.

    GraphvaeError
    ├── UserError            a person can mend it: exit code 2, no traceback
    │   ├── SpecError        the text of a spec
    │   ├── DataError        the data that a spec names
    │   ├── RunError         a run folder, or a training that cannot go on
    │   └── FlagError        the command line
    └── InternalError        a fault of graphvae itself: please report it

A UserError carries one or more diagnostics, and prints them as the compilers of programming languages do::

    specs/mnist.yaml:10:28: error[GV104]: 'image' has an unknown parent 'stile' in p
      10 |   image: {parents: [digit, stile], network: {hidden: [500]}}
         |                            ^^^^^
      did you mean 'style'? the variables are: digit, style, image
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

_LISTED = 32  # so many choices are named
_SHOWN = 60  # so many characters of a text are quoted
_WINDOW = 100  # so many characters of a line are shown on either side of what is meant


@dataclass(frozen=True)
class Span:
    """A stretch of a source text: lines and columns count from 1, the end is exclusive.

    `text` is the first line in full, so that an excerpt needs no file. `via` is the span, in the outer file,
    through which a sub-model's file was reached.
    """

    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    text: str
    via: Span | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def record(self) -> dict[str, object]:
        """The place as plain data for other programs."""
        return {key: getattr(self, key) for key in ("file", "line", "column", "end_line", "end_column")}

    def excerpt(self) -> str:
        """The first line of the span with carets under the part that is meant; a long line is cut on either side of it."""
        last = self.end_column - 1 if self.end_line == self.line else len(self.text.rstrip())
        before, meant, after = self.text[: self.column - 1], self.text[self.column - 1 : last], self.text[last:]
        before, meant, after = _end(before), _beginning(meant), _beginning(after)
        number = str(self.line)
        margin = " " * len(number)
        return f"  {number} | {before}{meant}{after}\n  {margin} | {_blank(before)}{'^' * max(1, _columns(meant))}"


@dataclass(frozen=True)
class Diagnostic:
    """One finding: what is wrong, where, why, and how to mend it. `compiler/codes.py` explains the codes."""

    code: str
    message: str
    span: Span | None = None
    hint: str = ""
    severity: Literal["error", "warning"] = "error"

    @property
    def place(self) -> tuple[str, int, int]:
        """What findings are sorted by."""
        return (self.span.file, self.span.line, self.span.column) if self.span else ("", 0, 0)

    def record(self, file: str) -> dict[str, object]:
        """The finding as plain data for other programs; `file` is what was read, where it is about no part of that.

        >>> Diagnostic("GV002", "m.yaml is empty").record("m.yaml")["line"] is None
        True
        """
        whole = {"file": file} | dict.fromkeys(("line", "column", "end_line", "end_column"))
        said = {"code": self.code, "severity": self.severity, "message": self.message, "hint": self.hint}
        return (self.span.record() if self.span else whole) | said | {"via": [span.record() for span in self.route]}

    @property
    def route(self) -> tuple[Span, ...]:
        """The spans through which a sub-model's file was reached, the innermost first."""
        led: list[Span] = []
        via = self.span.via if self.span else None
        while via:
            led.append(via)
            via = via.via
        return tuple(led)

    def __str__(self) -> str:
        place = f"{self.span}: " if self.span else ""
        lines = [f"{place}{self.severity}[{self.code}]: {self.message}"]
        if self.span:
            lines.append(self.span.excerpt())
        if self.hint:
            lines.append("  " + self.hint.replace("\n", "\n  "))
        return "\n".join([*lines, *(f"  reached from {span}" for span in self.route)])


class GraphvaeError(Exception):
    """Everything that graphvae raises on purpose."""


class UserError(GraphvaeError):
    """A mistake that a person made and can mend.

    >>> print(UserError.of("GV501", "there is no '--colour'", hint="did you mean '--color'?"))
    error[GV501]: there is no '--colour'
      did you mean '--color'?
    """

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(map(str, self.diagnostics)))

    @property
    def in_full(self) -> str:
        """The message, and what was noted on the way where it came from the inside of a model."""
        return "\n".join([str(self), *getattr(self, "__notes__", ())])

    @classmethod
    def of(cls, code: str, message: str, span: Span | None = None, hint: str = "") -> Self:
        """An error with a single diagnostic."""
        return cls([Diagnostic(code, message, span, hint)])


class SpecError(UserError):
    """A mistake in the text of a spec."""


class DataError(UserError):
    """The data is not what the spec says, or is not there."""


class RunError(UserError):
    """A run folder that cannot be used, or a training that cannot go on."""


class FlagError(UserError):
    """A mistake on the command line."""


class InternalError(GraphvaeError):
    """A fault of graphvae itself."""

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}\nThis is a fault of graphvae: please report it, with the spec that led here.")


def did_you_mean(word: str, words: Iterable[str], kind: str) -> str:
    """A hint that names the closest word and lists the choices.

    >>> did_you_mean("Stile", ["digit", "style"], "variables")
    "did you mean 'style'? the variables are: digit, style"
    """
    choices = list(words)
    close = closest(word, choices)
    guess = f"did you mean '{close}'? " if close else ""
    if not choices:
        return f"there are no {kind}"
    listed = ", ".join(choices[:_LISTED]) + f", ... ({len(choices)} in all)" * (len(choices) > _LISTED)
    return f"{guess}the {kind} are: {listed}"


def closest(word: str, words: Iterable[str]) -> str | None:
    """The word that was probably meant, whatever its capitals."""
    folded = {choice.casefold(): choice for choice in words}
    found = difflib.get_close_matches(word.casefold(), folded, n=1)
    return folded[found[0]] if found else None


def visible(text: str) -> str:
    r"""A person's text as messages quote it: cut where it is long, and with nothing in it that a reader cannot see.

    >>> print(visible("style\u200b"))
    style\u200b
    """
    shown = "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text[:_SHOWN])
    return shown + "…" * (len(text) > _SHOWN)


def _beginning(text: str) -> str:
    return text if len(text) <= _WINDOW else text[: _WINDOW - 1] + "…"


def _end(text: str) -> str:
    return text if len(text) <= _WINDOW else "…" + text[1 - _WINDOW :]


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _blank(text: str) -> str:
    return "".join("\t" if character == "\t" else " " * _width(character) for character in text)
