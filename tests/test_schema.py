"""The JSON Schema: it takes what compiles, refuses what a schema can know to be wrong, and says what an editor needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inventions import SCHEMA, texts
from jsonschema import Draft7Validator
from models import NAMES, ROOT, SPECS
from pydantic_core import PydanticCustomError
from test_bad_specs import CASES, FOLDER, found
from test_spec import LEGAL, TEXT

from graphvae.compiler.errors import UserError
from graphvae.compiler.pipeline import compile_text
from graphvae.compiler.source import Map, read, read_text
from graphvae.compiler.spec import Reference

VALIDATOR = Draft7Validator(SCHEMA)
SHAPE = {f"GV05{digit}" for digit in range(8)}
BEYOND = {
    "fraction_for_a_count": "a whole number may be written 100.0 in JSON",
    "network_of_a_kind_in_capitals": "another kind may be a class of a plugin",
    "network_of_unknown_kind": "another kind may be a class of a plugin",
    "categories_of_values": "it depends on the variable that the names are for",
    "values_that_do_not_rise": "no schema compares the numbers of a list",
    "invisible_character": "beyond ASCII every character may stand in a name",
    "not_a_number": "JSON cannot write it",
    "rank_above_size": "one number is compared with another",
    "blocks_backwards": "one number of a text is compared with another",
    "blocks_overlap": "one number of a text is compared with another",
    "columns_too_few": "the length of a list is compared with a shape",
    "names_too_few": "the length of a list is compared with a number",
    "names_of_numbers": "a name in one block decides what another may say",
    "picture_without_height": "a shape is compared with what the source gives",
    "scale_the_wrong_way": "one number is compared with another",
    "transform_binarises_numbers": "a name in one block decides what another may say",
    "transform_each_time_first": "the order of a list means something",
    "transform_each_time_of_label": "a name in one block decides what another may say",
    "transform_of_categories": "a name in one block decides what another may say",
}
CAUGHT_TOO = [
    "deterministic_without_parents",
    "dreg_with_betas",
    "dreg_with_dropout",
    "dreg_with_score_function",
    "family_in_p",
    "gradient_in_p",
    "head_for_a_spelling",
    "head_without_parents",
    "label_twice",
    "network_channels_of_mlp",
    "network_without_parents",
    "nothing_observed",
    "parent_twice",
    "probs_learned",
    "probs_one",
    "scale_zero",
    "score_function_with_one_sample",
    "straight_through_under_importance",
    "temperature_in_p",
    "temperature_without_relaxation",
    "uniform_beyond_one",
    "unknown_parameter",
]


def read_bad(name: str) -> Map | None:
    """The data of a bad spec, if it is YAML at all."""
    try:
        return read(FOLDER / f"{name}.yaml").root
    except UserError:
        return None


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a schema."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(item)


def test_it_is_a_schema_of_draft_7() -> None:
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"
    Draft7Validator.check_schema(SCHEMA)


def test_titles_are_words_of_a_person() -> None:
    titles = {node["title"] for node in nodes(SCHEMA) if isinstance(node.get("title"), str)}
    assert "Label draw of one variable" in titles
    assert [title for title in titles if not re.fullmatch(r"[A-Z][a-z]+( [a-z]+)*", title)] == []
    assert [name for name, node in SCHEMA["definitions"].items() if "title" not in node] == []


@pytest.mark.parametrize("path", SPECS, ids=NAMES)
def test_every_spec_validates(path: Path) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(read(path).root)] == []


@pytest.mark.parametrize(("old", "new", "more"), [row[1:] for row in LEGAL], ids=[row[0] for row in LEGAL])
def test_what_is_legal_validates(old: str, new: str, more: str) -> None:
    assert VALIDATOR.is_valid(read_text((TEXT.replace(old, new, 1) if old else TEXT) + more, "m.yaml").root)


@pytest.mark.parametrize("name", CASES)
def test_of_bad_specs_the_shape_is_caught_and_no_warning_is(name: str) -> None:
    data, codes = read_bad(name), {finding.code for finding in found(name)}
    if data is None:
        return
    valid = VALIDATOR.is_valid(data)
    if codes & SHAPE:
        assert valid == (name in BEYOND), "a schema can catch it, or tests/test_schema.py says why not"
    elif name in CAUGHT_TOO:
        assert not valid
    elif not any(finding.severity == "error" for finding in found(name)):
        assert valid


@settings(max_examples=300, deadline=None, derandomize=True)
@given(texts())
def test_what_compiles_validates(text: str) -> None:
    try:
        compile_text(text, "invented.yaml")
    except UserError:
        return
    assert VALIDATOR.is_valid(read_text(text, "invented.yaml").root)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.one_of(st.text(st.characters(codec="ascii")), st.from_regex(r"[\w.]{1,9}(\.previous)?", fullmatch=True)))
def test_references_are_known_by_their_pattern(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except PydanticCustomError:
        assert not text.isascii() or not matches("Reference", text)
        return
    assert matches("Reference", text)
    assert matches("VariableName", text) == (not reference.previous)
    assert matches("Name", text) == ("." not in text)


def matches(definition: str, text: str) -> bool:
    return bool(re.fullmatch(SCHEMA["definitions"][definition]["pattern"].removesuffix("$"), text))


def test_every_key_is_explained_and_every_definition_named() -> None:
    for name, definition in SCHEMA["definitions"].items():
        assert definition["title"][0].isupper()
        assert definition["description"].endswith(".")
        for key, value in definition.get("properties", {}).items():
            assert value.get("description", "").endswith("."), f"{name}.{key}"
    assert SCHEMA["properties"]["model"]["description"] == "The name of the model, and of its class and run folders."
    assert SCHEMA["definitions"]["Schedule"]["properties"]["from"]["description"] == "The number at the first step."


def test_no_mapping_is_open() -> None:
    """A block knows its keys, and a map of names what it holds; what a class of one's own is given can be anything."""
    for node in nodes(SCHEMA):
        if node is SCHEMA["definitions"]["Recognition"]:
            assert node["additionalProperties"] == {"$ref": "#/definitions/Conditional"}
        elif node.get("type") == "object" and "properties" in node:
            assert node["additionalProperties"] is False
        elif node.get("type") == "object":
            assert node["additionalProperties"] or node is SCHEMA["definitions"]["Network"]["properties"]["options"]


def test_every_reference_leads_somewhere_and_stands_alone() -> None:
    references = [node for node in nodes(SCHEMA) if "$ref" in node]
    assert {node["$ref"].removeprefix("#/definitions/") for node in references} == SCHEMA["definitions"].keys()
    assert all(len(node) == 1 for node in references)


def test_it_says_nothing_that_draft_7_does_not_know() -> None:
    later = {"$defs", "discriminator", "prefixItems", "dependentRequired", "dependentSchemas", "unevaluatedProperties"}
    assert not any(later & node.keys() for node in nodes(SCHEMA))
    assert not any(node.get("type") == "null" for node in nodes(SCHEMA)), "a key without a value is an error"


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("q: {digit: [image], style: []}", True),
        ("q: {digit: {parents: [image]}, style: {}}", True),
        ("q: {digit: image}", False),
        ("q: {derive: reverse, digit: [image]}", True),
        ("q: {derive: }", False),
        ("q: {derive: leaves}", False),
        ("q: {derive: [image]}", False),
        ("derive: reverse", False),
        ("q: {digit: [image, 7]}", False),
        ("q: {digit: [image, image]}", False),
        ("data: {source: digits, columns: {}, labels: {digit: {rows: 5}}}", True),
        ("data: {source: digits, columns: {}, labels: [{variables: [digit], rows: 5}]}", True),
        ("data: {source: digits, columns: {}, labels: [{rows: 5}]}", False),
        ("data: {source: digits, columns: {}, labels: {digit: {variables: [digit], rows: 5}}}", False),
        ("data: {source: digits, columns: {}, labels: {digit: 5}}", False),
        ("data: {source: digits, columns: {}, labels: {digit: {seed: 5}}}", False),
    ],
)
def test_short_forms_and_long_ones(text: str, valid: bool) -> None:
    assert VALIDATOR.is_valid(read_text(TEXT[: TEXT.index("q:\n")] + text, "m.yaml").root) == valid


def test_the_commands_of_the_documentation_work(tmp_path: Path) -> None:
    """`graphvae schema -o FILE`, and check-jsonschema with it: of itself, of specs, and of what we read in them."""
    file = tmp_path / "graphvae.schema.json"
    checker = [sys.executable, "-m", "check_jsonschema"]
    subprocess.run([sys.executable, "-m", "graphvae", "schema", "-o", file], check=True, cwd=ROOT)
    assert json.loads(file.read_text()) == SCHEMA
    subprocess.run([*checker, "--check-metaschema", file], check=True, capture_output=True)
    dumps = [tmp_path / f"{path.stem}.json" for path in SPECS]
    for path, dump in zip(SPECS, dumps, strict=True):
        dump.write_text(json.dumps(read(path).root))
    done = subprocess.run([*checker, "--schemafile", file, *SPECS, *dumps], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    bad = FOLDER / "unknown_key_of_objective.yaml"
    done = subprocess.run([*checker, "--schemafile", file, bad], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "'Alpha' was unexpected" in done.stdout
