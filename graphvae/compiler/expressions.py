"""Expression: a small safe language over the parents of a variable, as a tree with the place of every part.

The verb is `parse_expression`. It knows numbers, names, arithmetic, comparison and calls, and nothing that could run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from graphvae.compiler.errors import Span, SpecError, visible

LONGEST, DEEPEST = 2000, 40  # characters of a text, and parts inside of each other

Operator = Literal["+", "-", "*", "/", "**", "<", ">", "<=", ">="]
COMPARISONS = ("<", ">", "<=", ">=")


@dataclass(frozen=True)
class Number:
    """A number as it is written."""

    text: str
    span: Span | None

    @property
    def value(self) -> float:
        return float(self.text)


@dataclass(frozen=True)
class Name:
    """A variable, a plate, an axis, or the word `network`."""

    text: str
    span: Span | None


@dataclass(frozen=True)
class Negative:
    """A part with its sign turned."""

    part: Expression
    span: Span | None


@dataclass(frozen=True)
class Binary:
    """Two parts and an operator between them."""

    operator: Operator
    left: Expression
    right: Expression
    span: Span | None


@dataclass(frozen=True)
class Apply:
    """A function of parts; `place` is where its name stands."""

    function: str
    arguments: tuple[Expression, ...]
    span: Span | None
    place: Span | None


Expression = Number | Name | Negative | Binary | Apply


def parse_expression(text: str, span: Span | None) -> Expression:
    """The tree of a text; `span` is that of the scalar in the YAML, with its quotes if it has any.

    Raises SpecError GV120 at the part that cannot be.

    >>> parse_expression("2 * style", None).operator
    '*'
    """
    if len(text) > LONGEST:
        raise SpecError.of("GV120", f"the expression has more than {LONGEST:,} characters", span, "split it into variables")
    return _Parser(list(_tokens(text, span)), text, span).whole()


def names_of(expression: Expression) -> Iterator[Name]:
    """Every name that an expression reads, in its order."""
    match expression:
        case Name():
            yield expression
        case Negative():
            yield from names_of(expression.part)
        case Binary():
            yield from names_of(expression.left)
            yield from names_of(expression.right)
        case Apply():
            for argument in expression.arguments:
                yield from names_of(argument)
        case Number():
            pass


def calls_of(expression: Expression) -> Iterator[Apply]:
    """Every call in an expression."""
    match expression:
        case Negative():
            yield from calls_of(expression.part)
        case Binary():
            yield from calls_of(expression.left)
            yield from calls_of(expression.right)
        case Apply():
            yield expression
            for argument in expression.arguments:
                yield from calls_of(argument)
        case _:
            pass


class _Token(NamedTuple):
    kind: Literal["number", "name", "sign", "end"]
    text: str
    start: int
    end: int


_PATTERN = re.compile(
    r"(?P<number>(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*(\.[^\W\d]\w*)*)|(?P<sign>\*\*|<=|>=|[-+*/(),<>])"
)


def _tokens(text: str, span: Span | None) -> Iterator[_Token]:
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        found = _PATTERN.match(text, place)
        if found is None:
            hint = "an expression has numbers, names, + - * / **, and calls such as sum(NAME, AXIS)"
            raise SpecError.of("GV120", f"'{visible(text[place])}' cannot stand in an expression", _part(span, text, place, place + 1), hint)
        kind: Literal["number", "name", "sign"] = "number" if found["number"] else "name" if found["name"] else "sign"
        yield _Token(kind, found[0], place, found.end())
        place = found.end()
    yield _Token("end", "", len(text), len(text))


def _part(span: Span | None, text: str, start: int, end: int) -> Span | None:
    """The place of a part of a scalar; the scalar itself where it has escapes or more than one line."""
    if span is None or span.end_line != span.line:
        return span
    written = span.text[span.column - 1 : span.end_column - 1]
    quoted = written[:1] in ("'", '"')
    if written[quoted : len(written) - quoted] != text:
        return span
    first = span.column + quoted
    return replace(span, column=first + start, end_column=first + max(end, start + 1))


@dataclass
class _Parser:
    """Reads tokens from the left, binding tighter what binds tighter."""

    tokens: list[_Token]
    text: str
    span: Span | None
    place: int = 0
    depth: int = 0

    def whole(self) -> Expression:
        expression = self.comparison()
        if self.next.kind != "end":
            self.refuse(self.next, "the expression should end here, or go on with an operator")
        return expression

    @property
    def next(self) -> _Token:
        return self.tokens[self.place]

    def take(self) -> _Token:
        token = self.next
        self.place += 1
        return token

    def refuse(self, token: _Token, reason: str) -> None:
        shown = f"'{visible(token.text)}'" if token.text else "the end"
        place = _part(self.span, self.text, token.start, token.end)
        raise SpecError.of("GV120", f"{shown} cannot stand here in an expression", place, reason)

    def over(self, start: int) -> Span | None:
        """From a token to the last one taken."""
        return _part(self.span, self.text, self.tokens[start].start, self.tokens[self.place - 1].end)

    def comparison(self) -> Expression:
        start, left = self.place, self.sum()
        if self.next.text in COMPARISONS:
            return self.joined(start, left, self.sum)
        return left

    def joined(self, start: int, left: Expression, right: object) -> Binary:
        operator: Operator = self.take().text  # type: ignore[assignment]
        assert callable(right)
        other: Expression = right()
        return Binary(operator, left, other, self.over(start))

    def sum(self) -> Expression:
        start, left = self.place, self.product()
        while self.next.text in ("+", "-"):
            left = self.joined(start, left, self.product)
        return left

    def product(self) -> Expression:
        start, left = self.place, self.signed()
        while self.next.text in ("*", "/"):
            left = self.joined(start, left, self.signed)
        return left

    def signed(self) -> Expression:
        start = self.place
        if self.next.text != "-":
            return self.power()
        self.take()
        self.deeper()
        part = self.signed()
        self.depth -= 1
        return Negative(part, self.over(start))

    def power(self) -> Expression:
        start, left = self.place, self.atom()
        return self.joined(start, left, self.signed) if self.next.text == "**" else left

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise SpecError.of("GV120", f"the parts of the expression stand more than {DEEPEST} deep", self.span, "split it")

    def atom(self) -> Expression:
        start, token = self.place, self.take()
        if token.kind == "number":
            return Number(token.text, self.over(start))
        if token.kind == "name":
            return self.call(start, token) if self.next.text == "(" else Name(token.text, self.over(start))
        if token.text == "(":
            self.deeper()
            inside = self.comparison()
            self.depth -= 1
            self.close()
            return inside
        self.place = start
        self.refuse(token, "a number, a name or a call should stand here")
        raise AssertionError

    def close(self) -> None:
        if self.next.text != ")":
            self.refuse(self.next, "a ')' is missing\n(in a list or mapping of YAML, quote an expression that has commas)")
        self.take()

    def call(self, start: int, token: _Token) -> Apply:
        place = self.over(start)
        self.take()
        self.deeper()
        arguments = [] if self.next.text == ")" else [self.comparison()]
        while self.next.text == ",":
            self.take()
            arguments.append(self.comparison())
        self.depth -= 1
        self.close()
        return Apply(token.text, tuple(arguments), self.over(start), place)
