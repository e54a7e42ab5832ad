"""A folder of specs with one mistake each, and beside each the whole of the message that it gets.

The folder `parts` there holds what they use as sub-models, some of it with a mistake of its own.
"""

from __future__ import annotations

import re
from contextlib import chdir
from functools import cache
from pathlib import Path

import pytest

from graphvae.compiler.check import check
from graphvae.compiler.codes import CODES
from graphvae.compiler.errors import Diagnostic, SpecError

FOLDER = Path(__file__).parent / "bad_specs"
CASES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
PACKAGE = Path(__file__).parent.parent / "graphvae"
SPEC_CODES = {code for code in CODES if code < "GV3"} | {"GV305"}


@cache
def found(name: str) -> tuple[Diagnostic, ...]:
    """The errors of a case, or else its warnings, with the file as its bare name."""
    with chdir(FOLDER):
        try:
            return tuple(check(f"{name}.yaml"))
        except SpecError as error:
            return error.diagnostics


@pytest.mark.parametrize("name", CASES)
def test_message(name: str, request: pytest.FixtureRequest) -> None:
    text = "\n".join(map(str, found(name))) + "\n"
    path = FOLDER / f"{name}.txt"
    if request.config.getoption("--bless"):
        path.write_text(text, encoding="utf-8", newline="\n")
    assert text == path.read_text(encoding="utf-8"), f"{path} differs: pytest --bless rewrites it"


@pytest.mark.parametrize("name", CASES)
def test_says_something_in_plain_words(name: str) -> None:
    diagnostics = found(name)
    assert diagnostics
    assert all(finding.code in CODES for finding in diagnostics)
    assert {finding.severity for finding in diagnostics} == {"warning" if name.startswith("lint_") else "error"}
    text = "\n".join(map(str, diagnostics))
    assert not re.search(r"pydantic|dict_type|\[key\]|Input should|NoneType|Map\(|Seq\(|Literal|tagged-union|object at", text)


@pytest.mark.parametrize("name", CASES)
def test_points_into_the_file(name: str) -> None:
    for finding in found(name):
        assert [span.file for span in (finding.span, *finding.route) if span][-1:] in ([], [f"{name}.yaml"])
        for span in (finding.span, *finding.route):
            if span and "\ufffd" not in span.text:
                assert span.text == lines(span.file)[span.line - 1]
                assert (span.line, span.column) <= (span.end_line, span.end_column)


def lines(file: str) -> list[str]:
    """The lines of a case, or of a file that it uses."""
    return re.split(r"\r\n|\n", (FOLDER / file).read_text("utf-8", errors="replace").removeprefix("\ufeff"))


def test_every_code_of_a_spec_has_a_case() -> None:
    assert {finding.code for name in CASES for finding in found(name)} == SPEC_CODES


def test_every_code_is_shown_by_a_case_of_its_own_or_by_a_command() -> None:
    for name, code in CODES.items():
        assert [bool(code.example), bool(code.command), bool(code.seen)].count(True) == 1, name
        if code.example:
            assert {finding.code for finding in found(code.example)} == {name}, "one mistake, and this one"
        assert name in code.seen or not code.seen


def test_every_case_has_its_text_and_the_other_way_round() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.txt")) == CASES


def test_the_codes_in_the_source_are_those_in_the_table() -> None:
    table = PACKAGE / "compiler" / "codes.py"
    sources = [path.read_text("utf-8") for path in PACKAGE.rglob("*.py") if path != table]
    assert {code for source in sources for code in re.findall(r"GV\d{3}", source)} == set(CODES)
