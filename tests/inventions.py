"""Specs that nobody wrote, invented from the vocabulary of the language: mostly plausible, sometimes right, often wrong.

The keys and the kinds of their values come from the JSON Schema, so that what the language gains is invented too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml
from hypothesis import strategies as st

from graphvae.compiler.families import FAMILIES
from graphvae.compiler.schema import schema

SCHEMA = schema()
NAMES = ["digit", "style", "image", "x", "größe", "trunk"]
ODD = [*NAMES, "a.b", "x.previous", "learned", "auto", "", "self", "0-9", "image.png"]
SCALARS = st.sampled_from([0, 1, -1, 2, 0.5, 1e3, 1e300, True, False, None, *ODD])

Draw = Callable[[st.SearchStrategy[Any]], Any]


def like(part: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a part of the schema describes, whatever its conditions on several keys say."""
    if "$ref" in part:
        return st.deferred(lambda: like(SCHEMA["definitions"][part["$ref"].rsplit("/", 1)[1]]))
    if "anyOf" in part:
        return st.one_of(*map(like, part["anyOf"]))
    if "enum" in part or "const" in part:
        return st.sampled_from(part.get("enum") or [part["const"]])
    if "type" not in part:
        return like(part["allOf"][0]) if "allOf" in part else SCALARS
    kinds = [part["type"]] if isinstance(part["type"], str) else part["type"]
    return st.one_of(*(KINDS[kind](part) for kind in kinds))


def numbers(part: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    low, high = part.get("minimum", part.get("exclusiveMinimum", -1)), part.get("maximum", part.get("exclusiveMaximum", 3))
    return st.sampled_from([low, high, (low + high) / 2, low + 1])


def integers(part: Mapping[str, Any]) -> st.SearchStrategy[int]:
    low = part.get("minimum", part.get("exclusiveMinimum", -1) + 1)
    return st.sampled_from([low, low + 1, low + 2, low + 7])


def objects(part: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    if "properties" not in part:
        values = part["additionalProperties"]
        return st.dictionaries(st.sampled_from(NAMES), like(values if isinstance(values, dict) else {}), max_size=3)
    keys = {key: like(value) for key, value in part["properties"].items()}
    needed = {key: value for key, value in keys.items() if key in part.get("required", ())}
    spare = sorted(keys.keys() - needed)
    chosen = st.lists(st.sampled_from(spare), max_size=3, unique=True) if spare else st.just([])
    return chosen.flatmap(lambda more: st.fixed_dictionaries(needed | {key: keys[key] for key in more}))


KINDS: Mapping[str, Callable[[Mapping[str, Any]], st.SearchStrategy[Any]]] = {
    "integer": integers,
    "number": numbers,
    "boolean": lambda _: st.booleans(),
    "string": lambda part: st.sampled_from(NAMES if "pattern" in part else ODD),
    "array": lambda part: st.lists(like(part.get("items", {})), min_size=part.get("minItems", 0), max_size=3),
    "object": objects,
}


def definition(name: str) -> st.SearchStrategy[dict[str, Any]]:
    return like(SCHEMA["definitions"][name])


@st.composite
def variables(draw: Draw) -> dict[str, Any]:
    """Variables, most of which have what their family needs, and the last of which is observed."""
    made = {}
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=4, unique=True)):
        family = draw(st.sampled_from(list(FAMILIES.values())))
        made[name] = {"distribution": family.name, "role": draw(st.sampled_from(["latent", "supervised", "observed", "given"]))}
        made[name] |= {"categories": 3} if family.simplex else {}
        made[name] |= {family.number.name: 2} if family.number else {}
        made[name] |= {"size": 2} if family.vector else draw(st.sampled_from([{}, {"size": 2}, {"shape": [1, 4, 4]}]))
        made[name] |= draw(definition("Variable")) if rarely(draw) else {}
    made[name]["role"] = "observed"
    return made


@st.composite
def side(draw: Draw, names: Sequence[str]) -> dict[str, Any]:
    """Conditionals, most of whose parents stand before them."""
    made: dict[str, Any] = {}
    for index, name in enumerate(names):
        before = NAMES if rarely(draw) else [*names[:index], *(["image"] if "image" not in names[index:] else [])]
        parents = draw(st.lists(st.sampled_from(before), max_size=2, unique=True)) if before else []
        made[name] = parents if draw(st.booleans()) else {"parents": parents}
        made[name] = {"parents": parents, **draw(definition("ConditionalInFull"))} if rarely(draw) else made[name]
    return made


def rarely(draw: Draw) -> bool:
    return bool(draw(st.integers(0, 7)) == 7)


@st.composite
def specs(draw: Draw) -> dict[str, Any]:
    """A whole spec, as data."""
    made: dict[str, Any] = {"model": "invented", "variables": draw(variables())}
    inferred = [name for name, row in made["variables"].items() if row.get("role") in ("latent", "supervised")]
    scored = [name for name, row in made["variables"].items() if row.get("role") != "given"]
    made["p"] = draw(side(draw(st.permutations(scored))))
    made["q"] = draw(side(draw(st.permutations(inferred))))
    for block in ("Objective", "Data", "Training"):
        if rarely(draw):
            made[block.lower()] = draw(definition(block))
    if rarely(draw):
        made[draw(st.sampled_from(["p", "q", "objective", "data", "model", "variables", "x"]))] = draw(SCALARS)
    return made


@st.composite
def texts(draw: Draw) -> str:
    """A spec as text: in blocks, in flow, or as JSON."""
    made = draw(specs())
    if draw(st.booleans()):
        return json.dumps(made, ensure_ascii=False)
    return yaml.safe_dump(
        made, sort_keys=False, allow_unicode=True, default_flow_style=draw(st.sampled_from([True, False, None]))
    )
