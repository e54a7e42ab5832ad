"""Messages: the caret stands under what is meant, whatever characters come before it."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from models import ROOT
from typer.testing import CliRunner

from graphvae.cli import app
from graphvae.compiler.errors import Diagnostic, InternalError, Span, SpecError, UserError, closest, did_you_mean
from graphvae.compiler.pipeline import compile_text

KEYS = ["file", "line", "column", "end_line", "end_column", "code", "severity", "message", "hint", "via"]
MISTAKES = """model: 7
describtion: several mistakes, of every kind that the shape of a text can have
variables:
  digit: {distribution: categorial, categories: 1, role: supervised}
  style: {distribution: normal, size: eight}
  image: {distribution: bernoulli, shape: 64, role: observed, soft:}
p:
  image: {parents: digit, network: {hidden: [8, -8], dropout: 2}}
q:
  digit: [image, 5]
  style: {parents: [image, digit], network: [500]}
objective: {alpha: automatic, samples: 0, supervision_rate: 1.5}
data:
  columns: {image: image, digit: [digit, 1]}
  labels: {digit: {fraction: 50}}
training: {epochs: 1e2, seeds: {init: -1}, learning_rate: .nan}
extra: 1
"""


def checked(*arguments: object) -> tuple[int, list[dict[str, Any]]]:
    """The exit code of `check --format json`, and the findings that it prints."""
    done = CliRunner().invoke(app, ["check", *map(str, arguments), "--format", "json"])
    printed = json.loads(done.stdout)
    assert printed == {"diagnostics": printed["diagnostics"], "notes": []}
    return done.exit_code, printed["diagnostics"]


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


def test_all_mistakes_in_the_shape_of_a_text_come_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        compile_text(MISTAKES, "m.yaml")
    found = [(row.span.line, row.code) for row in caught.value.diagnostics if row.span]
    assert found == [
        (1, "GV055"),
        (2, "GV050"),
        (4, "GV054"),
        (4, "GV053"),
        (5, "GV052"),
        (6, "GV052"),
        (6, "GV052"),
        (8, "GV052"),
        (8, "GV053"),
        (8, "GV053"),
        (10, "GV055"),
        (11, "GV052"),
        (12, "GV052"),
        (12, "GV053"),
        (12, "GV053"),
        (13, "GV051"),
        (14, "GV052"),
        (15, "GV053"),
        (16, "GV052"),
        (16, "GV053"),
        (16, "GV052"),
        (17, "GV050"),
    ]


def test_findings_as_data() -> None:
    outer, inner = Span("a.yaml", 7, 2, 7, 5, ""), Span("b.yaml", 3, 1, 3, 2, "")
    span = Span("m.yaml", 12, 1, 13, 2, "x", via=Span("b.yaml", 3, 1, 3, 2, "", via=outer))
    record = Diagnostic("GV205", "nothing depends on 'x'", span, "leave it out", "warning").record("other.yaml")
    places = [{key: getattr(place, key) for key in KEYS[:5]} for place in (inner, outer)]
    said = {"code": "GV205", "severity": "warning", "message": "nothing depends on 'x'", "hint": "leave it out"}
    assert record == {"file": "m.yaml", "line": 12, "column": 1, "end_line": 13, "end_column": 2, **said, "via": places}
    assert list(record) == KEYS


def test_check_as_json_finds_what_check_finds() -> None:
    path = ROOT / "tests" / "bad_specs" / "several_mistakes.yaml"
    with pytest.raises(SpecError) as caught:
        compile_text(path.read_text("utf-8"), str(path))
    code, found = checked(path)
    assert code == 2
    assert found == [row.record(str(path)) for row in caught.value.diagnostics]
    assert all(list(row) == KEYS for row in found)


def test_check_as_json_ends_well_with_warnings_or_nothing() -> None:
    assert checked(ROOT / "specs" / "digits.yaml") == (0, [])
    code, [found] = checked(ROOT / "tests" / "bad_specs" / "lint_few_labels.yaml")
    assert (code, found["code"], found["severity"], found["line"]) == (0, "GV203", "warning", 14)


def test_check_as_json_of_what_cannot_be_read(tmp_path: Path) -> None:
    code, [found] = checked(tmp_path / "nowhere.yaml")
    assert (code, found["code"], found["file"]) == (2, "GV001", str(tmp_path / "nowhere.yaml"))
    assert [found[key] for key in KEYS[1:5]] == [None] * 4
    (tmp_path / "empty.yaml").touch()
    assert checked(tmp_path / "empty.yaml")[1][0]["code"] == "GV002"
    code, [found] = checked(ROOT / "specs" / "digits.yaml", "--set", "training.epoch=5")
    assert (code, found["code"], found["file"], found["column"]) == (2, "GV050", "--set", 10)
    code, [found] = checked(ROOT / "specs" / "digits.yaml", "--set", "training")
    assert (code, found["code"], found["line"]) == (2, "GV501", None)
