"""The specs that ship, mutated, and specs invented: whatever a person types, the answer is code or a message for them."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from inventions import texts

from graphvae.compiler.errors import UserError
from graphvae.compiler.explain import explain
from graphvae.compiler.pipeline import compile_text

ROOT = Path(__file__).parent.parent
TEXTS = [path.read_text("utf-8") for folder in ("specs", "tests/specs") for path in sorted((ROOT / folder).glob("*.yaml"))]
WORDS = ["", "learned", "auto", "a.b", "a.previous", "①", "größe", "🙂", "__class__", "self"]
SCALARS = [0, -1, 2, 7, 1e3, 0.5, 1e300, True, None, *WORDS]
MARKS = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ": ",
    ",",
    "- ",
    "? ",
    "#",
    "%",
    "|",
    ">",
    "'",
    '"',
    "\\",
    "!x ",
    "&a ",
    "*a",
    "<<: ",
    "(",
    ")",
]
SPACES = [
    "\n",
    "\r",
    "\r\n",
    "\t",
    " ",
    "  ",
    "\n---\n",
    "\x85",
    "\u2028",
    "\ufeff",
    "\x00",
    "\x1b",
    "\ud800",
    "\u200d",
    "\u0301",
]
ODDITIES = ["010", "0x1F", "1e999", "-0", "9" * 25, ".nan", ".inf", "~", "''", "[]", "{}", "漢字", "_source", "model_config"]
KEYS = ["x: {}", "p: {x: []}", "q: {}", "hidden: []", "shape: []", "size: 3", "categories: 2", "role: given", "self: 1"]
FRAGMENTS = [*MARKS, *SPACES, *ODDITIES, *KEYS, *WORDS]


@st.composite
def mutated_text(draw: st.DrawFn) -> str:
    """A spec after one to four accidents at the keyboard."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        text = draw(st.sampled_from(ACCIDENTS))(draw, text)
    return text


def insert(draw: st.DrawFn, text: str) -> str:
    place = draw(st.integers(0, len(text)))
    return text[:place] + draw(st.sampled_from(FRAGMENTS)) + text[place:]


def delete(draw: st.DrawFn, text: str) -> str:
    place = draw(st.integers(0, len(text)))
    return text[:place] + text[place + draw(st.integers(1, 6)) :]


def replace(draw: st.DrawFn, text: str) -> str:
    """A word becomes another word of the text."""
    words = list(re.finditer(r"[\w.]+", text))
    if not words:
        return text
    word, other = draw(st.sampled_from(words)), draw(st.sampled_from(words))
    return text[: word.start()] + other[0] + text[word.end() :]


def swap(draw: st.DrawFn, text: str) -> str:
    lines = text.split("\n")
    first, second = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
    lines[first], lines[second] = lines[second], lines[first]
    return "\n".join(lines)


def indent(draw: st.DrawFn, text: str) -> str:
    lines = text.split("\n")
    index = draw(st.integers(0, len(lines) - 1))
    lines[index] = draw(st.sampled_from(["  ", " ", "\t", "- "])) + lines[index]
    return "\n".join(lines)


def repeat(draw: st.DrawFn, text: str) -> str:
    start = draw(st.integers(0, len(text)))
    end = start + draw(st.integers(0, 12))
    return text[:end] + text[start:end] * draw(st.sampled_from([1, 2, 40])) + text[end:]


def nest(draw: st.DrawFn, text: str) -> str:
    start = draw(st.integers(0, len(text)))
    end = start + draw(st.integers(0, 20))
    opening, closing = draw(st.sampled_from(["[]", "{}", "''", '""', "()"]))
    depth = draw(st.sampled_from([1, 2, 50]))
    return text[:start] + opening * depth + text[start:end] + closing * depth + text[end:]


ACCIDENTS = (insert, delete, replace, swap, indent, repeat, nest)


@st.composite
def mutated_data(draw: st.DrawFn) -> str:
    """A spec in which one to three keys or values stand where they do not belong."""
    data = yaml.safe_load(draw(st.sampled_from(TEXTS)))
    for _ in range(draw(st.integers(1, 3))):
        holders = list(containers(data))
        holder = draw(st.sampled_from(holders))
        other = draw(st.sampled_from(holders))
        key = draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        fresh = draw(st.sampled_from([*SCALARS, *(other.values() if isinstance(other, dict) else other)]))
        change = draw(st.sampled_from(["value", "key", "remove"]))
        if change == "value" or (change == "key" and isinstance(holder, list)):
            holder[key] = json.loads(json.dumps(fresh))
        elif change == "key":
            holder[draw(st.sampled_from([*other, *map(str, SCALARS)]) if isinstance(other, dict) else st.just("x"))] = (
                holder.pop(key)
            )
        else:
            del holder[key]
    return json.dumps(data, ensure_ascii=False)


def containers(value: Any) -> list[Any]:
    """Every mapping and list inside a value that is not empty."""
    if not isinstance(value, dict | list) or not value:
        return []
    inner = value.values() if isinstance(value, dict) else value
    return [value, *(found for item in inner for found in containers(item))]


@settings(max_examples=400, deadline=1000, derandomize=True)
@given(st.one_of(mutated_text(), mutated_data()))
def test_a_mutated_spec_ends_in_code_or_a_message(text: str) -> None:
    check_answer(text, "mutated.yaml")


@settings(max_examples=400, deadline=1000, derandomize=True)
@given(texts())
def test_an_invented_spec_ends_in_code_or_a_message(text: str) -> None:
    check_answer(text, "invented.yaml")


def check_message(error: UserError, file: str) -> None:
    """A terminal can show it, and a program read it."""
    message = str(error)
    assert message.encode()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", message)
    assert all(len(line) < 600 for line in message.splitlines())
    assert json.dumps([finding.record(file) for finding in error.diagnostics])


def check_answer(text: str, file: str) -> None:
    """Every stage gives a form that can be, and prints as itself; or the answer is a message."""
    try:
        compilation = compile_text(text, file)
    except UserError as error:
        check_message(error, file)
        return
    compilation.source.check()
    compilation.graph.check()
    compilation.plan.check()
    compile(compilation.code, f"{file}.py", "exec")
    explanation = explain(compilation.graph)
    assert [finding.severity for finding in explanation.warnings] == ["warning"] * len(explanation.warnings)
    assert str(explanation)
    assert json.dumps(explanation.record(file))
    again = compile_text(str(compilation.graph.spec), file)
    assert str(again.graph.spec) == str(compilation.graph.spec)
    assert ast.dump(ast.parse(again.code)) == ast.dump(ast.parse(compilation.code)), "but for places in the spec"
