"""Expression: a small safe language over the parents of a variable, as a tree with the place of every part.

The verb is `parse_expression`. It knows numbers, names, arithmetic, comparison and calls, and nothing that could run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import isinf
from typing import Literal, NamedTuple, NoReturn

from graphvae.compiler.errors import Span, SpecError, visible

LONGEST = 2000  # characters
DEEPEST = 40  # parts inside of each other
MOST = 200  # numbers, names, operators and calls
MOST_DIGITS = 18

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
        raise SpecError.of("GV120", f"the expression has more than {LONGEST:,} characters", span, _SPLIT)
    tokens = list(_tokens(text, span))
    if sum(token.counts for token in tokens) > MOST:
        message = f"the expression has more than {MOST} numbers, names and operators"
        raise SpecError.of("GV120", message, span, _SPLIT)
    return _Parser(tokens, text, span).whole()


def parts_of(expression: Expression) -> Iterator[Expression]:
    """The expression and every part of it, from the left, the whole before its parts."""
    yield expression
    for part in _inside(expression):
        yield from parts_of(part)


def _inside(expression: Expression) -> tuple[Expression, ...]:
    match expression:
        case Negative():
            return (expression.part,)
        case Binary():
            return (expression.left, expression.right)
        case Apply():
            return expression.arguments
        case _:
            return ()


def names_of(expression: Expression) -> Iterator[Name]:
    """Every name that an expression reads, in its order: variables, plates, axes, and the word `network`.

    >>> [name.text for name in names_of(parse_expression("sum(paste(glyph.image, place), slot)", None))]
    ['glyph.image', 'place', 'slot']
    """
    return (part for part in parts_of(expression) if isinstance(part, Name))


def calls_of(expression: Expression) -> Iterator[Apply]:
    """Every call in an expression."""
    return (part for part in parts_of(expression) if isinstance(part, Apply))


def written(expression: Expression) -> str:
    """An expression as text, with every parenthesis that it needs and no other.

    >>> written(parse_expression("(a*b) + ((2 - c)) ** -1", None))
    'a * b + (2 - c) ** -1'
    """
    match expression:
        case Number() | Name():
            return expression.text
        case Negative():
            return f"-{_in_place(expression.part, SIGN)}"
        case Binary():
            left, right = sides(expression.operator)
            return f"{_in_place(expression.left, left)} {expression.operator} {_in_place(expression.right, right)}"
        case Apply():
            return f"{expression.function}({', '.join(map(written, expression.arguments))})"


def _in_place(expression: Expression, binds: int) -> str:
    text = written(expression)
    return text if binding(expression) >= binds else f"({text})"


# How tightly a part holds together, the tightest last.
COMPARISON, SUM, PRODUCT, SIGN, POWER, ATOM = range(6)
BINDING = {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "**": POWER, **dict.fromkeys(COMPARISONS, COMPARISON)}


def sides(operator: Operator) -> tuple[int, int]:
    """How tightly the parts on either side must hold together, to stand there without parentheses.

    Of several equal operators the left one comes first, but for powers; and a power has its sign on the right.
    """
    binds = BINDING[operator]
    return (ATOM, SIGN) if operator == "**" else (binds + (operator in COMPARISONS), binds + 1)


def binding(expression: Expression) -> int:
    """How tightly a part holds together."""
    match expression:
        case Negative():
            return SIGN
        case Binary():
            return BINDING[expression.operator]
        case _:
            return ATOM


class _Token(NamedTuple):
    kind: Literal["number", "name", "sign", "end"]
    text: str
    start: int
    end: int

    @property
    def counts(self) -> bool:
        """Whether it is a part of the tree, and not merely says where one ends."""
        return self.text not in ("", "(", ")", ",")


_PATTERN = re.compile(
    r"(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)"
    r"|(?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)"
    r"|(?P<sign>\*\*|<=|>=|[-+*/(),<>])"
)
_LEADING_ZERO = re.compile("0[0-9]")
_SPLIT = "give a part of it to a variable of its own"
_WHOLE = "an expression has numbers, names, + - * / **, and calls such as sum(NAME, AXIS)"
_HINTS = {
    "^": "a power is written with **, as in x ** 2",
    "=": "arguments stand in their order, without names; a condition has one of < <= > >=",
    "[": "a part is not taken out by its number; axes have names, as in sum(x, channel)",
    "{": "numbers side by side are a vector, as in stack(a, b)",
    ".": "names have a dot inside of them alone, as in glyph.image",
    **dict.fromkeys("'\"", "names of variables and axes stand without quotes"),
    **dict.fromkeys("×·⋅∗", "a product is written with *"),
    **dict.fromkeys("−–—", "a difference is written with the hyphen that is on every keyboard: -"),
    "÷": "a quotient is written with /",
    **dict.fromkeys("&|!~", "where(a > 0, x, y) has one comparison; another where inside of it has the next"),
}


def _tokens(text: str, span: Span | None) -> Iterator[_Token]:
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        found = _PATTERN.match(text, place)
        if found is None:
            message = f"'{visible(text[place])}' cannot stand in an expression"
            where = _part(span, text, place, place + 1)
            raise SpecError.of("GV120", message, where, _HINTS.get(text[place], _WHOLE))
        kind: Literal["number", "name", "sign"] = "number" if found["number"] else "name" if found["name"] else "sign"
        yield _Token(kind, found[0], place, found.end())
        place = found.end()
    yield _Token("end", "", len(text), len(text))


def _part(span: Span | None, text: str, start: int, end: int) -> Span | None:
    """The place of a part of a scalar; the scalar itself where it has escapes or more than one line."""
    if span is None or span.end_line != span.line:
        return span
    as_written = span.text[span.column - 1 : span.end_column - 1]
    quoted = as_written[:1] in ("'", '"')
    if as_written[quoted : len(as_written) - quoted] != text:
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
        if self.tokens[0].kind == "end":
            raise SpecError.of("GV120", "the expression is empty", self.span, _WHOLE)
        expression = self.comparison()
        if self.next.kind != "end":
            self.refuse("the expression should end here, or go on with an operator")
        return expression

    @property
    def next(self) -> _Token:
        return self.tokens[self.place]

    def take(self) -> _Token:
        token = self.next
        self.place += 1
        return token

    def refuse(self, hint: str) -> NoReturn:
        """The next token cannot stand where it does."""
        token = self.next
        shown = f"'{visible(token.text)}'" if token.text else "the end"
        place = _part(self.span, self.text, token.start, token.end)
        raise SpecError.of("GV120", f"{shown} cannot stand here in an expression", place, hint)

    def over(self, start: int) -> Span | None:
        """From a token to the last one taken."""
        return _part(self.span, self.text, self.tokens[start].start, self.tokens[self.place - 1].end)

    def comparison(self) -> Expression:
        start, left = self.place, self.sum()
        return self.joined(start, left, self.sum) if self.next.text in COMPARISONS else left

    def joined(self, start: int, left: Expression, right: Callable[[], Expression]) -> Binary:
        operator: Operator = self.take().text  # type: ignore[assignment]
        return Binary(operator, left, right(), self.over(start))

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
        part = self.deeper(self.signed)
        return Negative(part, self.over(start))

    def power(self) -> Expression:
        start, left = self.place, self.atom()
        return self.joined(start, left, lambda: self.deeper(self.signed)) if self.next.text == "**" else left

    def deeper(self, read: Callable[[], Expression]) -> Expression:
        """A part inside of another one."""
        self.depth += 1
        if self.depth > DEEPEST:
            message = f"the parts of the expression stand more than {DEEPEST} deep inside of each other"
            raise SpecError.of("GV120", message, self.span, _SPLIT)
        part = read()
        self.depth -= 1
        return part

    def atom(self) -> Expression:
        start, token = self.place, self.next
        if token.kind == "number":
            return self.number()
        if token.kind != "name" and token.text != "(":
            self.refuse("a number, a name or a call should stand here")
        self.take()
        if token.kind == "name":
            return self.call(start, token) if self.next.text == "(" else Name(token.text, self.over(start))
        inside = self.deeper(self.comparison)
        self.close()
        return inside

    def number(self) -> Number:
        text = self.next.text
        if _LEADING_ZERO.match(text):
            self.refuse("a number has no zero before its first digit, but for one before its point")
        if len(text) > MOST_DIGITS and text.isdigit():
            self.refuse(f"a whole number has at most {MOST_DIGITS} digits")
        if isinf(float(text)):
            self.refuse("a number cannot be so large: the largest are about 1.8e308")
        start = self.place
        self.take()
        return Number(text, self.over(start))

    def close(self) -> None:
        if self.next.text != ")":
            self.refuse("a ')' is missing\n(in a list or mapping of YAML, quote an expression that has commas)")
        self.take()

    def call(self, start: int, token: _Token) -> Apply:
        place = self.over(start)
        self.take()
        arguments = [] if self.next.text == ")" else [self.deeper(self.comparison)]
        while self.next.text == ",":
            self.take()
            arguments.append(self.deeper(self.comparison))
        self.close()
        return Apply(token.text, tuple(arguments), self.over(start), place)
