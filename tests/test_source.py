"""Reading: what scalars mean, where everything stands, and what is refused."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphvae.compiler.errors import Span, SpecError
from graphvae.compiler.source import MAX_BYTES, MAX_DEPTH, MAX_DIGITS, Map, Seq, is_text, read, read_text, read_value

SCALARS = [
    ("1", 1),
    ("+1", 1),
    ("-0", 0),
    ("0", 0),
    ("0x1F", 31),
    ("0o17", 15),
    ("1e-3", 0.001),
    ("1.5e3", 1500.0),
    (".5", 0.5),
    ("5.", 5.0),
    ("-.5E+1", -5.0),
    ("1e3", 1000.0),
    (".inf", math.inf),
    ("-.INF", -math.inf),
    ("true", True),
    ("True", True),
    ("FALSE", False),
    ("~", None),
    ("null", None),
    ("Null", None),
    ("", None),
]
TEXTS = [
    "no",
    "yes",
    "on",
    "off",
    "y",
    "n",
    "No",
    "tRUE",
    "nULL",
    "none",
    "1_000",
    "1,5",
    "1:30",
    "2024-01-01",
    "0b11",
    "1e",
    "e1",
]
TEXTS += ["0x", "0o8", "+0x1", ".", "-", "inf", "nan", "NaN", "1.2.3", "größe", "漢字", "a b", "=", "x*y", "f(x)", "C:\\data"]


def refusal(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        read_text(text, "m.yaml")
    return str(caught.value)


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_scalars_by_the_core_schema(text: str, value: object) -> None:
    block, flow = read_text(f"x: {text}", "m.yaml").root["x"], read_text(f"{{x: {text}}}", "m.yaml").root["x"]
    assert block == flow == value
    assert type(block) is type(value)


def test_not_a_number_is_a_number() -> None:
    assert math.isnan(read_text("x: .nan", "m.yaml").root["x"])


@pytest.mark.parametrize("text", TEXTS)
def test_everything_else_is_text(text: str) -> None:
    if text not in ("-", "."):
        assert read_text(f"x: {text}", "m.yaml").root["x"] == text
    assert read_text(f"x: '{text}'", "m.yaml").root["x"] == text


@pytest.mark.parametrize("text", [text for text, _ in SCALARS if text] + ["010"])
def test_quotes_make_text(text: str) -> None:
    assert read_text(f'x: "{text}"', "m.yaml").root["x"] == text
    assert not is_text(text)


@pytest.mark.parametrize("text", ["010", "-010", "+007", "00", "01"])
def test_a_leading_zero_is_refused(text: str) -> None:
    assert "GV007" in refusal(f"x: {text}")


def test_bounds_on_numbers() -> None:
    assert read_text(f"x: {'9' * MAX_DIGITS}", "m.yaml").root["x"] == 10**MAX_DIGITS - 1
    assert "GV053" in refusal(f"x: {'9' * (MAX_DIGITS + 1)}")
    assert "GV053" in refusal(f"x: {'9' * 5000}")
    assert "GV053" in refusal("x: -1e999")


def test_bounds_on_size_and_depth() -> None:
    assert read_text("x: 1 #" + " " * (MAX_BYTES - 6), "m.yaml").root == {"x": 1}
    assert "GV006" in refusal("x: 1 #" + " " * (MAX_BYTES - 5))
    assert "GV006" in refusal("x: 1 #" + "ä" * (MAX_BYTES // 2))
    deep = MAX_DEPTH - 2
    assert read_text("x: " + "[" * deep + "1" + "]" * deep, "m.yaml")
    assert "nested more than" in refusal("x: " + "[" * (deep + 1) + "1" + "]" * (deep + 1))
    assert "nested more than" in refusal("x: " + "[" * 20_000)


def test_aliases_in_moderation() -> None:
    root = read_text("a: &a [1, 2]\nb: *a\nc: {d: *a}", "m.yaml").root
    assert root["b"] == root["c"]["d"] == [1, 2]
    assert root.spans["b"] == root.spans["a"]


def test_aliases_cannot_explode_or_turn_back() -> None:
    wide = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9))
    assert "once the aliases are followed" in refusal(f"a0: &a0 [1, 1]\n{wide}")
    deep = "\n".join(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 900))
    assert "once the aliases are followed" in refusal(f"a0: &a0 [1]\n{deep}")
    assert "inside the very thing" in refusal("a: &a {b: [*a]}")


def test_keys_are_text() -> None:
    assert read_text('"1": a\nno: c\n"": d', "m.yaml").root == {"1": "a", "no": "c", "": "d"}
    for key in ("1", "true", "~", "[a]", "{a: b}", "1.5"):
        assert "GV009" in refusal(f"? {key}\n: x")


def test_names_that_look_alike_are_alike() -> None:
    assert read_text("gro\u0308ße: 1", "m.yaml").root == {"größe": 1}
    assert "GV003" in refusal("gro\u0308ße: 1\ngröße: 2")


@pytest.mark.parametrize(
    "character", ["\x00", "\x07", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ufeff", "\ud800", "\ufffe"]
)
def test_characters_that_are_refused(character: str) -> None:
    for text in (f"x: a{character}b", f"x{character}: a", f"x: '{character}'", f"x: 1 # {character}"):
        assert f"U+{ord(character):04X}" in refusal(text)
    escape = f'x: "\\u{ord(character):04x}"'
    assert f"m.yaml:1:4: error[GV002]: the character U+{ord(character):04X}" in refusal(escape)


def test_escapes_that_name_no_character() -> None:
    assert "GV002" in refusal('x: "\\UFFFFFFFF"')
    assert "GV002" in refusal('x: "\\U00110000"')
    assert "GV002" in refusal('x: "\\xZZ"')


def meant(span: Span, text: str) -> str:
    """The part of a text that a span covers."""
    lines = re.split(r"(?<=\n)|(?<=\r)(?!\n)", text)
    starts = [sum(map(len, lines[:index])) for index in range(len(lines) + 1)]
    assert span.text == lines[span.line - 1].rstrip("\r\n")
    return text[starts[span.line - 1] + span.column - 1 : starts[span.end_line - 1] + span.end_column - 1]


SPANS = [
    ("x: abc  # comment", "x", "abc"),
    ("x:   'a b'  ", "x", "'a b'"),
    ('"x": "a\\tb"', '"x"', '"a\\tb"'),
    ("x: {a: [1, 2]}  # c", "x", "{a: [1, 2]}"),
    ("x: [a,\n   b]\n", "x", "[a,\n   b]"),
    ("x: a b\n  c\n  d\n\ny: 1", "x", "a b\n  c\n  d"),
    ("x: 'a\n  b'\ny: 1", "x", "'a\n  b'"),
    ("x: |\n  a\n  b\n\n\ny: 1", "x", "|\n  a\n  b"),
    ("x: >-\n  a\n# c\ny: 1", "x", ">-\n  a"),
    ("x:\n  a: 1\n  b: [2,\n   3]  # c\n\n# d\ny: 1", "x", "a: 1\n  b: [2,\n   3]"),
    ("x:\n  - a\n  - b: 1\n    c: d\n\ny: 1", "x", "- a\n  - b: 1\n    c: d"),
    ("x:\n- a\ny: 1", "x", "- a"),
    ("x:\ny: 1", "x", ""),
    ("x:\r\n  a: 1\r\n  b: 2\r\ny: 1\r\n", "x", "a: 1\r\n  b: 2"),
    ("y: 1\rx: 2\rz: 3", "x", "2"),
    ("größe: 1\nx: 漢字", "x", "漢字"),
    ("? x\n: abc", "x", "abc"),
    ("{y: 1, x: 2}", "x", "2"),
    ("x: &a 1", "x", "&a 1"),
]


@pytest.mark.parametrize(("text", "key", "value"), SPANS)
def test_spans_cover_exactly_what_is_meant(text: str, key: str, value: str) -> None:
    root = read_text(text, "m.yaml").root
    assert meant(root.key_spans["x"], text) == key
    assert meant(root.spans["x"], text) == value


def test_spans_inside() -> None:
    text = "a:\n  b: [x, {c: y}]\n  d:\n    - e\n    -   f: g\n"
    root = read_text(text, "m.yaml").root
    assert [meant(span, text) for span in root["a"]["b"].spans] == ["x", "{c: y}"]
    assert meant(root["a"]["b"].span, text) == "[x, {c: y}]"
    assert meant(root["a"]["b"][1].spans["c"], text) == "y"
    assert [meant(span, text) for span in root["a"]["d"].spans] == ["e", "f: g"]
    assert meant(root["a"]["d"].span, text) == "- e\n    -   f: g"
    assert meant(root.span, text) == text.rstrip()


def test_a_byte_order_mark_takes_no_column(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_bytes("\ufeffx: 010".encode())
    with pytest.raises(SpecError, match=r"m\.yaml:1:4: error\[GV007\]"):
        read(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_bytes(b"x: " + "ä".encode() * MAX_BYTES)
    (tmp_path / "latin.yaml").write_bytes(b"x: 1\ny: gr\xf6\xdfe")
    for name, said in [
        ("nope.yaml", "no such file"),
        ("", "is a directory"),
        ("a\0b", "null"),
        ("large.yaml", "too large"),
        ("latin.yaml", "byte 0xf6 in line 2"),
    ]:
        with pytest.raises(SpecError, match=said):
            read(tmp_path / name)


def test_values_of_settings() -> None:
    value, span = read_value("[1, a]", "--set", before="x.y=")
    assert (value, str(span), span.text) == ([1, "a"], "--set:1:5", "x.y=[1, a]")
    assert isinstance(value, Seq)
    assert read_value("{a: 1}", "--set")[0] == {"a": 1}
    assert isinstance(read_value("{a: 1}", "--set")[0], Map)
    assert read_value("", "--set")[0] is None


def test_a_source_prints_where_everything_stands() -> None:
    source = read_text("a: [b]\nc: {d: 1}", "m.yaml")
    source.check()
    assert str(source).split("\n") == ["m.yaml:1:1: a", "m.yaml:1:5: a.0", "m.yaml:2:1: c", "m.yaml:2:5: c.d"]


NUMBERS = st.integers(-(10**16), 10**16) | st.floats(allow_nan=False, allow_infinity=False)
LETTERS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp"], exclude_characters="\ufeff"))
DATA = st.recursive(
    st.none() | st.booleans() | NUMBERS | LETTERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(LETTERS, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=1000, derandomize=True)
@given(st.dictionaries(LETTERS, DATA, max_size=4))
def test_json_reads_as_itself(data: dict[str, Any]) -> None:
    data = normal(data)
    source = read_text(json.dumps(data, ensure_ascii=False), "m.yaml")
    source.check()
    assert source.root == data


def normal(value: Any) -> Any:
    """The same with every text in the normal form that reading gives it."""
    if isinstance(value, dict):
        return {normal(key): normal(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [normal(inner) for inner in value]
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value
