"""Messages: the caret stands under what is meant, whatever characters come before it."""

from __future__ import annotations

import unicodedata

import pytest

from graphvae.compiler.errors import Diagnostic, InternalError, Span, SpecError, UserError, closest, did_you_mean


def span_of(text: str, meant: str) -> Span:
    column = text.index(meant) + 1
    return Span("m.yaml", 3, column, 3, column + len(meant), text)


@pytest.mark.parametrize(
    ("before", "columns"),
    [("abc", 3), ("größe", 5), ("漢字", 4), ("🙂", 2), ("e\u0301", 1), ("a\u200db", 2), ("❤\ufe0f", 1), ("ｆ", 2), ("ﾊ", 1)],
)
def test_the_caret_stands_below_what_is_meant(before: str, columns: int) -> None:
    _, caret = span_of(f"{before}!!", "!!").excerpt().split("\n")
    assert caret == "    | " + " " * columns + "^^"


def test_a_caret_for_every_column_that_is_meant() -> None:
    assert span_of("x: 漢字", "漢字").excerpt().endswith("| " + "   ^^^^")


def test_tabs_stay_tabs() -> None:
    assert span_of("\tx: y", "y").excerpt().endswith("| \t   ^")


def test_nothing_is_shown_as_one_caret() -> None:
    assert Span("m.yaml", 1, 3, 1, 3, "x:").excerpt() == "  1 | x:\n    |   ^"


def test_of_several_lines_the_first_is_shown() -> None:
    assert Span("m.yaml", 1, 4, 2, 3, "x: [a,  ").excerpt() == "  1 | x: [a,  \n    |    ^^^"


def test_a_long_line_is_cut_on_both_sides() -> None:
    line, caret = span_of("a" * 5000 + "!" + "b" * 5000, "!").excerpt().split("\n")
    assert len(line) < 250
    assert line[caret.index("^")] == "!"


def test_a_diagnostic_in_full() -> None:
    outer = Span("outer.yaml", 7, 2, 7, 5, "")
    span = Span("m.yaml", 12, 1, 12, 2, "x", via=outer)
    text = (
        "m.yaml:12:1: warning[GV205]: nothing depends on 'x'\n  12 | x\n     | ^\n  one\n  two\n  reached from outer.yaml:7:2"
    )
    assert str(Diagnostic("GV205", "nothing depends on 'x'", span, "one\ntwo", "warning")) == text


def test_an_error_prints_all_its_diagnostics() -> None:
    error = SpecError([Diagnostic("GV001", "a"), Diagnostic("GV002", "b", hint="c")])
    assert str(error) == "error[GV001]: a\nerror[GV002]: b\n  c"
    assert isinstance(error, UserError)


def test_a_fault_of_ours_asks_for_a_report() -> None:
    assert "please report" in str(InternalError("no step"))


def test_the_closest_word_in_any_capitals() -> None:
    assert closest("RELU", ["tanh", "relu"]) == "relu"
    assert closest("imgae", ["image", "digit"]) == "image"
    assert closest("x", ["image", "digit"]) is None
    assert closest("x", []) is None


def test_hints_list_what_there_is() -> None:
    assert did_you_mean("x", ["image", "digit"], "variables") == "the variables are: image, digit"
    assert did_you_mean("x", [], "variables") == "there are no variables"
    many = did_you_mean("v7", [f"v{index}" for index in range(100)], "variables")
    assert many.startswith("did you mean 'v7'? the variables are: v0, ")
    assert many.endswith(", ... (100 in all)")


def test_combining_marks_take_no_column() -> None:
    assert unicodedata.combining("\u0301")
    assert span_of("o\u0308: 1", "1").excerpt().endswith("| " + " " * 3 + "^")
