"""Expressions as text: their trees, the place of every part, and what is said of a text that is none."""

from __future__ import annotations

import ast
import time

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from graphvae.compiler.errors import Span, SpecError
from graphvae.compiler.expressions import (
    DEEPEST,
    LONGEST,
    MOST,
    Apply,
    Binary,
    Expression,
    Name,
    Negative,
    Number,
    calls_of,
    names_of,
    parse_expression,
    parts_of,
    written,
)
from graphvae.compiler.source import is_text, read_text

OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
OPERATORS |= {ast.Lt: "<", ast.Gt: ">", ast.LtE: "<=", ast.GtE: ">="}
SPECS = [
    ("a plain scalar", "value: {}"),
    ("in single quotes", "value: '{}'"),
    ("in double quotes", 'value: "{}"'),
    ("in a flow mapping", "p: {{x: 1, value: '{}'}}"),
]


def parsed(text: str, spec: str = "value: '{}'") -> Expression:
    """The tree of an expression that stands in a spec."""
    root = read_text(spec.format(text), "m.yaml").root
    holder = root if "value" in root else root["p"]
    return parse_expression(holder["value"], holder.spans["value"])


def said(text: str, spec: str = "value: '{}'") -> str:
    """The message that an expression gets."""
    with pytest.raises(SpecError) as caught:
        parsed(text, spec)
    return str(caught.value)


def bare(tree: Expression | ast.expr) -> object:
    """A tree of ours or of Python's as nested tuples, without its places."""
    match tree:
        case Number(text=text):
            return float(text)
        case ast.Constant(value=value):
            return float(value)
        case Name(text=text) | ast.Name(id=text):
            return text
        case Negative(part=part) | ast.UnaryOp(op=ast.USub(), operand=part):
            return ("-", bare(part))
        case Binary(operator=operator, left=left, right=right):
            return (operator, bare(left), bare(right))
        case ast.BinOp(op=op, left=left, right=right) | ast.Compare(ops=[op], left=left, comparators=[right]):
            return (OPERATORS[type(op)], bare(left), bare(right))
        case Apply(function=function, arguments=arguments) | ast.Call(func=ast.Name(id=function), args=arguments):
            return (function, *map(bare, arguments))
    raise AssertionError(tree)


def places(span: Span | None) -> str:
    """What stands at a place."""
    assert span is not None
    assert span.line == span.end_line
    return span.text[span.column - 1 : span.end_column - 1]


# Trees.

LEAVES = st.sampled_from(["a", "b", "light", "2", "0.5", "1e-3", ".25", "3.", "10"])
TEXTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map("({})".format),
        inner.map("-{}".format),
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "**", " + ", " ** "]), inner).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"f({', '.join(parts)})"),
        st.tuples(inner, st.sampled_from(["<", ">", "<=", ">="]), inner).map(lambda parts: f"where({''.join(parts)}, a, b)"),
    ),
    max_leaves=8,
)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(TEXTS)
@example("-a ** -b ** 2")
@example("a - b - 2 - (a - b)")
@example("a / b * 2 / 0.5")
@example("(a ** b) ** 2")
@example("--a")
def test_a_tree_is_pythons(text: str) -> None:
    """What binds tighter, and which of several comes first, is as in Python."""
    assert bare(parsed(text)) == bare(ast.parse(text, mode="eval").body)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(TEXTS)
def test_a_tree_as_text_is_the_same_tree_and_no_parenthesis_is_spare(text: str) -> None:
    tree = parsed(text)
    again = written(tree)
    assert bare(parse_expression(again, None)) == bare(tree)
    for start in [place for place, letter in enumerate(again) if letter == "(" and not again[place - 1 : place].isalnum()]:
        depth, end = 1, start
        while depth:
            end += 1
            depth += {"(": 1, ")": -1}.get(again[end], 0)
        less = f"{again[:start]} {again[start + 1 : end]} {again[end + 1 :]}"
        try:
            other = bare(parse_expression(less, None))
        except SpecError:
            continue
        assert other != bare(tree), (again, less)


def test_a_name_may_be_that_of_a_submodel_or_of_a_slot_before() -> None:
    assert bare(parsed("glyph.image + place.previous")) == ("+", "glyph.image", "place.previous")


def test_a_name_may_have_any_letters() -> None:
    assert bare(parsed("größe * λ_2")) == ("*", "größe", "λ_2")


def test_names_and_calls() -> None:
    tree = parsed("sum(paste(glyph.image, place), slot) + 2 * network")
    assert [(name.text, places(name.span)) for name in names_of(tree)] == [
        (name, name) for name in ("glyph.image", "place", "slot", "network")
    ]
    assert [(call.function, places(call.place), places(call.span)) for call in calls_of(tree)] == [
        ("sum", "sum", "sum(paste(glyph.image, place), slot)"),
        ("paste", "paste", "paste(glyph.image, place)"),
    ]


# Places.


@pytest.mark.parametrize("spec", [spec for _, spec in SPECS], ids=[name for name, _ in SPECS])
@settings(deadline=None, derandomize=True, max_examples=60)
@given(TEXTS)
def test_every_part_knows_where_it_stands(spec: str, text: str) -> None:
    """What stands at the place of a part is that part, but for parentheses around it."""
    assume(is_text(text) or "{}" not in spec.split())
    for part in parts_of(parsed(text, spec)):
        assert bare(parse_expression(places(part.span), None)) == bare(part)


@pytest.mark.parametrize("text", ["b", "f(a)"])
def test_columns_count_letters_wherever_they_stand(text: str) -> None:
    tree = parsed(f"a + {text}", "value: '{}'  # größer")
    assert isinstance(tree, Binary)
    assert tree.right.span is not None
    assert (tree.right.span.column, tree.right.span.end_column) == (13, 13 + len(text))


@pytest.mark.parametrize("spec", ['value: "a +\\n  b"', "value: >\n  a +\n  b\n", "value: a +\n  b"])
def test_a_part_of_a_text_that_is_not_as_it_is_written_has_the_place_of_the_whole(spec: str) -> None:
    root = read_text(spec, "m.yaml").root
    tree = parse_expression(root["value"], root.spans["value"])
    assert bare(tree) == ("+", "a", "b")
    assert {part.span for part in parts_of(tree)} == {root.spans["value"]}


# Messages.

WHOLE = "  an expression has numbers, names, + - * / **, and calls such as sum(NAME, AXIS)"
HERE = "  a number, a name or a call should stand here"
END = "  the expression should end here, or go on with an operator"
MISSING = "  a ')' is missing\n  (in a list or mapping of YAML, quote an expression that has commas)"


@pytest.mark.parametrize(
    ("text", "column", "carets", "message", "hint"),
    [
        ("", 8, 2, "the expression is empty", WHOLE),
        ("a +", 12, 1, "the end cannot stand here in an expression", HERE),
        ("a b", 11, 1, "'b' cannot stand here in an expression", END),
        ("2 light", 11, 5, "'light' cannot stand here in an expression", END),
        ("a if b else c", 11, 2, "'if' cannot stand here in an expression", END),
        ("lambda: a", 15, 1, "':' cannot stand in an expression", WHOLE),
        ("lambda x", 16, 1, "'x' cannot stand here in an expression", END),
        ("a and b", 11, 3, "'and' cannot stand here in an expression", END),
        ("a // b", 12, 1, "'/' cannot stand here in an expression", HERE),
        ("+a", 9, 1, "'+' cannot stand here in an expression", HERE),
        ("(a", 11, 1, "the end cannot stand here in an expression", MISSING),
        ("sum(a, slot", 20, 1, "the end cannot stand here in an expression", MISSING),
        ("sum(a slot)", 15, 4, "'slot' cannot stand here in an expression", MISSING),
        ("sum(a,)", 15, 1, "')' cannot stand here in an expression", HERE),
        ("a)", 10, 1, "')' cannot stand here in an expression", END),
        ("a, b", 10, 1, "',' cannot stand here in an expression", END),
        ("()", 10, 1, "')' cannot stand here in an expression", HERE),
        ("a < b < c", 15, 1, "'<' cannot stand here in an expression", END),
        (
            "a == b",
            11,
            1,
            "'=' cannot stand in an expression",
            "  arguments stand in their order, without names; a condition has one of < <= > >=",
        ),
        (
            "sum(a, axis=b)",
            20,
            1,
            "'=' cannot stand in an expression",
            "  arguments stand in their order, without names; a condition has one of < <= > >=",
        ),
        (
            "a[0]",
            10,
            1,
            "'[' cannot stand in an expression",
            "  a part is not taken out by its number; axes have names, as in sum(x, channel)",
        ),
        ("a ^ 2", 11, 1, "'^' cannot stand in an expression", "  a power is written with **, as in x ** 2"),
        ("{a}", 9, 1, "'{' cannot stand in an expression", "  numbers side by side are a vector, as in stack(a, b)"),
        ("sum(a).b", 15, 1, "'.' cannot stand in an expression", "  names have a dot inside of them alone, as in glyph.image"),
        ("a × b", 11, 1, "'×' cannot stand in an expression", "  a product is written with *"),
        (
            "a − b",
            11,
            1,
            "'−' cannot stand in an expression",
            "  a difference is written with the hyphen that is on every keyboard: -",
        ),
        ("a ÷ b", 11, 1, "'÷' cannot stand in an expression", "  a quotient is written with /"),
        (
            "a > 0 & b > 0",
            15,
            1,
            "'&' cannot stand in an expression",
            "  where(a > 0, x, y) has one comparison; another where inside of it has the next",
        ),
        ("a @ b", 11, 1, "'@' cannot stand in an expression", WHOLE),
        ("a; b", 10, 1, "';' cannot stand in an expression", WHOLE),
        ("a # b", 11, 1, "'#' cannot stand in an expression", WHOLE),
        ("a + ٣", 13, 1, "'٣' cannot stand in an expression", WHOLE),
        (
            "007 * a",
            9,
            3,
            "'007' cannot stand here in an expression",
            "  a number has no zero before its first digit, but for one before its point",
        ),
        (
            "a * 1e999",
            13,
            5,
            "'1e999' cannot stand here in an expression",
            "  a number cannot be so large: the largest are about 1.8e308",
        ),
        ("9" * 19, 9, 19, f"'{'9' * 19}' cannot stand here in an expression", "  a whole number has at most 18 digits"),
        ("1e", 10, 1, "'e' cannot stand here in an expression", END),
        ("0x10", 10, 3, "'x10' cannot stand here in an expression", END),
        ("1_000", 10, 4, "'_000' cannot stand here in an expression", END),
        ("1.2.3", 12, 2, "'.3' cannot stand here in an expression", END),
    ],
)
def test_message(text: str, column: int, carets: int, message: str, hint: str) -> None:
    excerpt = f"  1 | value: '{text}'\n    | {' ' * (column - 1)}{'^' * carets}"
    assert said(text) == f"m.yaml:1:{column}: error[GV120]: {message}\n{excerpt}\n{hint}"


def test_message_about_a_text_in_quotes() -> None:
    text = "value: \"sum('a')\""
    root = read_text(text, "m.yaml").root
    with pytest.raises(SpecError) as caught:
        parse_expression(root["value"], root.spans["value"])
    assert str(caught.value) == (
        "m.yaml:1:13: error[GV120]: ''' cannot stand in an expression\n"
        f"  1 | {text}\n    |             ^\n"
        "  names of variables and axes stand without quotes"
    )


# Bounds.

TOO_MANY = f"the expression has more than {MOST} numbers, names and operators"
TOO_DEEP = f"the parts of the expression stand more than {DEEPEST} deep inside of each other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a " * LONGEST, f"the expression has more than {LONGEST:,} characters"),
        ("a+" * 100 + "a", TOO_MANY),
        ("a**" * 100 + "a", TOO_MANY),
        ("a**" * 50 + "a", TOO_DEEP),
        ("-" * 50 + "a", TOO_DEEP),
        ("(" * 50 + "a" + ")" * 50, TOO_DEEP),
        ("f(" * 50 + "a" + ")" * 50, TOO_DEEP),
        ("(" * LONGEST, TOO_DEEP),
        ("-(" * 25 + "a" + ")" * 25, TOO_DEEP),
        ("a**f(" * 25 + "a" + ")" * 25, TOO_DEEP),
    ],
)
def test_what_is_too_large(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_expression(text, None)
    assert [(finding.code, finding.message) for finding in caught.value.diagnostics] == [("GV120", message)]
    assert caught.value.diagnostics[0].hint == "give a part of it to a variable of its own"


def test_what_is_just_not_too_large() -> None:
    for text in (
        "+".join("a" * (MOST // 2)),
        "(" * DEEPEST + "a" + ")" * DEEPEST,
        "-" * DEEPEST + "a",
        f"a{' ' * (LONGEST - 1)}",
    ):
        tree = parse_expression(text, None)
        assert bare(parse_expression(written(tree), None)) == bare(tree)


SOUP = st.lists(
    st.sampled_from(
        [
            *"()[]{}+-*/<>=.,:;'\"\\ \n\t#@!%^&|~$?`_x1e",
            "**",
            "sum",
            "lambda",
            "1e9",
            "x.y",
            "é",
            "²",
            "\u0663",
            "\x00",
            "\ud800",
        ]
    )
    | st.characters(),
    max_size=60,
).map("".join)


@settings(deadline=1000, derandomize=True, max_examples=1500)
@given(SOUP | st.text(max_size=40))
@example("(" * LONGEST)
@example("-" * LONGEST)
@example("a**" * 660 + "a")
@example("a+" * 999 + "a")
@example("9" * LONGEST)
@example("1e" * 999)
@example("." * LONGEST)
@example(" " * LONGEST)
@example("a." * 999)
def test_whatever_the_text_the_answer_is_a_tree_or_a_clear_message(text: str) -> None:
    span = Span("m.yaml", 1, 1, 1, len(text) + 1, text)
    started = time.perf_counter()
    found = outcome(text, span)
    assert time.perf_counter() - started < 1
    if isinstance(found, SpecError):
        [finding] = found.diagnostics
        assert finding.code == "GV120"
        assert finding.hint
        assert str(found).startswith("m.yaml:1:")
    else:
        assert bare(parse_expression(written(found), None)) == bare(found)


def outcome(text: str, span: Span) -> Expression | SpecError:
    try:
        return parse_expression(text, span)
    except SpecError as error:
        return error
