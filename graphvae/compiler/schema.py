"""The language as a JSON Schema, for editors. The verb is `schema`.

It is made from the pydantic models of a spec, in draft 7, which every editor knows, and adds what a model says in code: short
forms, names, and keys that go together. It never refuses a spec that compiles; what depends on the meaning of a name is left to
`graphvae check`.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any, get_args

from pydantic import BeforeValidator, PlainValidator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from graphvae.compiler.block import Block
from graphvae.compiler.families import FAMILIES, INFINITY, Parameter
from graphvae.compiler.gradients import RELAXED
from graphvae.compiler.spec import (
    KINDS,
    Binarise,
    Conditional,
    Data,
    LabelDraw,
    Name,
    Network,
    Objective,
    Parent,
    Plates,
    Rescale,
    Schedule,
    Spec,
    Split,
    SubmodelDraw,
    SubmodelVariable,
    Variable,
    VariableName,
)

# Programs disagree about \w beyond ASCII: there every character may stand in a name, and in ASCII what Python allows.
_NAME = r"[^\u0000-@\[-`{-\u007f][^\u0000-/:-@\[-^`{-\u007f]*"
_NAMES: tuple[tuple[Any, str, JsonSchemaValue], ...] = (
    (
        Name,
        "Name",
        {
            "title": "Name",
            "description": "A letter followed by letters, digits and underscores.",
            "type": "string",
            "pattern": f"^{_NAME}$",
        },
    ),
    (
        VariableName,
        "VariableName",
        {
            "title": "Name of a variable",
            "description": "The name of a variable, or of one in a sub-model: submodel.name.",
            "type": "string",
            "pattern": rf"^(?!.*\.previous$){_NAME}(\.{_NAME})*$",
        },
    ),
    (
        Parent,
        "Reference",
        {
            "title": "Reference",
            "description": "A variable: name or submodel.name, either with .previous, in the slot before; or a plate's index.",
            "type": "string",
            "pattern": rf"^{_NAME}(\.{_NAME})*$",
        },
    ),
)


def schema() -> dict[str, Any]:
    """The JSON Schema of a spec.

    >>> schema()["definitions"]["Seeds"]["properties"]["init"]["description"]
    'The initial weights.'
    """
    made = Spec.model_json_schema(schema_generator=_Generator, ref_template="#/definitions/{model}")
    definitions = _with_short_forms(made.pop("$defs"))
    whole = _finished({"$schema": _Generator.schema_dialect, **made, "definitions": definitions})
    return {**whole, "definitions": {**whole["definitions"], **{key: name for _, key, name in _NAMES}}}


class _Generator(GenerateJsonSchema):
    """Pydantic's own generator, taught what our validators accept."""

    schema_dialect = "http://json-schema.org/draft-07/schema#"

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        """The order of the models."""
        return value

    def field_title_should_be_set(self, schema: Any) -> bool:
        """A key's name says as much as a title would."""
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """A block: a mapping whose keys are described by the docstrings below its fields."""
        block: type[Block] = schema["cls"]
        made = super().model_schema(schema)
        for key, text in _descriptions(block):
            made["properties"][key] = {**made["properties"][key], "description": text}
        title = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", block.__name__).capitalize()
        rules = {"allOf": list(_RULES[block])} if block in _RULES else {}
        said = {"title": title, "description": _joined(block.__doc__ or "")}
        return {**said, **made, **said, **rules}

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """A key without a value is an error in a spec: what may be left out is left out."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """A default that says something."""
        made = super().default_schema(schema)
        return {key: value for key, value in made.items() if key != "default" or value not in (None, [], "")}

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """A map from names: pydantic's patterns would let other keys pass."""
        made = super().dict_schema(schema)
        for values in made.pop("patternProperties", {}).values():
            made |= {"propertyNames": self.generate_inner(schema["keys_schema"]), "additionalProperties": values}
        return made

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """Alternatives without a `discriminator`, which JSON Schema does not know."""
        return {"anyOf": [self.generate_inner(choice) for choice in schema["choices"].values()]}

    def function_plain_schema(self, schema: core_schema.PlainValidatorFunctionSchema) -> JsonSchemaValue:
        """Names and references."""
        for annotation, _, made in _NAMES:
            if schema["function"]["function"] == _validator(get_args(annotation), PlainValidator):
                return made
        return super().function_plain_schema(schema)

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """The families, which a table lists, and lists of one without brackets; else lists only become tuples."""
        made, function = super().function_before_schema(schema), schema["function"]["function"]
        if function == _validator(Variable.model_fields["distribution"].metadata, BeforeValidator):
            return {**made, "enum": list(FAMILIES)}
        if function == _validator(get_args(Plates), BeforeValidator):
            return {"anyOf": [made["items"], {**made, "uniqueItems": True}]}
        return made


def _validator(metadata: Iterable[object], kind: type[PlainValidator] | type[BeforeValidator]) -> object:
    """The function by which an annotation decides about a value."""
    return next(row.func for row in metadata if isinstance(row, kind))


def _descriptions(block: type[Block]) -> Iterator[tuple[str, str]]:
    """The docstring below each field, by the key that a person writes; a block inherits some of them."""
    for owner in (each for each in block.__mro__ if issubclass(each, Block) and each is not Block):
        [definition] = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(definition, ast.ClassDef)
        for field, below in pairwise(definition.body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    yield block.model_fields[name].alias or name, _joined(text)


def _joined(text: str) -> str:
    return " ".join(text.split())


def _with_short_forms(definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Beside the long forms, the short ones that blocks write out (`Block.written_out`)."""
    parents, recognition = _lists_of_parents(definitions["Conditional"]), _recognition(definitions)
    return {**definitions, **parents, **recognition, **_labels_by_variable(definitions)}


def _lists_of_parents(conditional: JsonSchemaValue) -> dict[str, Any]:
    parents = {**conditional["properties"]["parents"], "description": "A list is short for the parents.", "uniqueItems": True}
    either = {key: conditional[key] for key in ("title", "description")}
    either["anyOf"] = [parents, {"$ref": "#/definitions/ConditionalInFull"}]
    return {"Conditional": either, "ConditionalInFull": {**conditional, "title": "Conditional in full"}}


def _recognition(definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The conditionals stand beside the key `derive`."""
    block = definitions["Recognition"]
    named = {key: block["properties"]["conditionals"][key] for key in ("propertyNames", "additionalProperties")}
    return {"Recognition": {**block, "properties": {"derive": block["properties"]["derive"]}, **named}}


def _labels_by_variable(definitions: Mapping[str, Any]) -> dict[str, Any]:
    data, draw = definitions["Data"], definitions["LabelDraw"]
    of_one = {
        **draw,
        "title": "Label draw of one variable",
        "description": "One draw of labelled rows, each of which reveals the variable under whose name it stands.",
        "properties": {key: value for key, value in draw["properties"].items() if key != "variables"},
        "required": [key for key in draw["required"] if key != "variables"],
    }
    by_variable = {
        "type": "object",
        "propertyNames": draw["properties"]["variables"]["items"],
        "additionalProperties": {"$ref": "#/definitions/LabelDrawOfOneVariable"},
    }
    listed = data["properties"]["labels"]
    draws = {key: value for key, value in listed.items() if key != "description"}
    labels = {"description": listed["description"], "anyOf": [by_variable, draws]}
    data = {**data, "properties": {**data["properties"], "labels": labels}}
    return {"Data": data, "LabelDrawOfOneVariable": of_one}


def _finished(value: Any) -> Any:
    """Names refer to their definition; and since a `$ref` silences what stands beside it in draft 7, it stands alone."""
    if isinstance(value, list):
        return [_finished(item) for item in value]
    if not isinstance(value, dict):
        return value
    for _, key, name in _NAMES:
        if value.get("pattern") == name["pattern"]:
            own = {k: v for k, v in value.items() if name.get(k) != v}
            return _finished({**own, "$ref": f"#/definitions/{key}"})
    made = {key: _finished(item) for key, item in value.items()}
    if "$ref" in made and len(made) > 1:
        return {"allOf": [{"$ref": made.pop("$ref")}], **made}
    return made


# What a model says in code: conditions on several keys. `_some` is what JSON Schema lacks for maps.


def _has(**words: Sequence[object]) -> JsonSchemaValue:
    """The keys are there, each with one of these words."""
    return {"properties": {key: {"enum": list(allowed)} for key, allowed in words.items()}, "required": list(words)}


def _only_with(key: str, **words: Sequence[object]) -> JsonSchemaValue:
    return {"dependencies": {key: _has(**words)}}


def _not_both(one: str, other: str) -> JsonSchemaValue:
    return {"not": {"required": [one, other]}}


def _some(value: JsonSchemaValue) -> JsonSchemaValue:
    return {"not": {"additionalProperties": {"not": value}}}


def _families(option: str) -> list[str]:
    return [family.name for family in FAMILIES.values() if option in family.options]


def _needs() -> Iterator[JsonSchemaValue]:
    """The whole number that a family cannot do without."""
    for key in sorted({row.number.name for row in FAMILIES.values() if row.number and row.number.default is None}):
        yield {"if": _has(distribution=_families(key)), "then": {"required": [key]}}


def _of_kinds() -> Iterator[JsonSchemaValue]:
    """The keys that some kinds of network have, of which the first is the one that is meant if none is written."""
    usual, *_ = KINDS
    for key in ("options", *dict.fromkeys(key for keys in KINDS.values() for key in keys)):
        owners = [kind for kind, keys in KINDS.items() if key in keys]
        kind = {"enum": owners} if owners else {"not": {"enum": list(KINDS)}}
        yield {"dependencies": {key: {"properties": {"kind": kind}, "required": ["kind"] * (usual not in owners)}}}
    yield {"dependencies": {"pool": {"properties": {"kind": {"enum": list(KINDS)}}}}}
    yield {"if": _has(kind=["gru"]), "then": {"required": ["size"]}}


def _scheduled(**bounds: float) -> JsonSchemaValue:
    """A schedule, or each of several by variable, begins and ends within bounds."""
    ends = {"properties": {"from": bounds, "to": bounds}}
    return {**ends, "additionalProperties": ends}


def _parameters() -> JsonSchemaValue:
    """Every parameter of every family, with the widest interval that it has in any; a spelling takes no words."""
    rows: dict[str, list[Parameter]] = {}
    spelled = [(row, head) for family in FAMILIES.values() for row, head in family.spellings]
    for row in [*(row for family in FAMILIES.values() for row in family.parameters), *(row for row, _ in spelled)]:
        rows.setdefault(row.name, []).append(row)
    names = {row.name for row, _ in spelled}
    wordless = {"not": {"enum": ["learned", "head"]}}
    made = {name: {**(wordless if name in names else {}), **_interval(each)} for name, each in rows.items()}
    twice = [_not_both(name, head) for name, head in sorted({(row.name, head) for row, head in spelled})]
    return {"propertyNames": {"enum": list(made)}, "properties": made, "allOf": twice}


def _interval(rows: Sequence[Parameter]) -> JsonSchemaValue:
    low, high = min(row.low for row in rows), max(row.high for row in rows)
    closed = any(row.closed for row in rows)
    bounds = {"minimum" if closed else "exclusiveMinimum": low, "maximum" if closed else "exclusiveMaximum": high}
    return {key: bound for key, bound in bounds.items() if abs(bound) != INFINITY}


def _conditionals(side: str, **keys: JsonSchemaValue | bool) -> JsonSchemaValue:
    """What holds of every conditional of p or q that is written in full."""
    return {"properties": {side: {"additionalProperties": {"properties": keys}}}}


def _under(objective: JsonSchemaValue, **keys: JsonSchemaValue | bool) -> JsonSchemaValue:
    """What an objective asks of every conditional of q."""
    condition = {"properties": {"objective": objective}, "required": ["objective"]}
    return {"if": condition, "then": _conditionals("q", **keys)}


_PARENTS = {"required": ["parents"], "properties": {"parents": {"minItems": 1}}}
_COMPUTED = {"distribution": False, "gradient": False, "temperature": False, "parameters": {"maxProperties": 0}}
_GRU = {"properties": {"network": _has(kind=["gru"])}, "required": ["network"]}
_RELAXED = {"properties": {"gradient": {"enum": list(RELAXED)}}}
_INFERRED = {"properties": {"role": {"enum": ["latent", "supervised"]}}}
_LIST = {"minItems": 1, "uniqueItems": True}
_SIMPLEX = [family.name for family in FAMILIES.values() if family.simplex]
_VECTOR = [family.name for family in FAMILIES.values() if family.vector]

_RULES: Mapping[type[Block], Sequence[JsonSchemaValue]] = {
    Spec: (
        {
            "anyOf": [
                {"properties": {"variables": _some(_has(role=["observed"]))}},
                {"properties": {"submodels": {"minProperties": 1}}, "required": ["submodels"]},
            ]
        },
        {"properties": {block: {"properties": {"derive": False}} for block in ("variables", "p")}},
        _conditionals("p", distribution=False, gradient=False, temperature=False),
        _under(_has(samples=[1]), gradient={"not": {"const": "score_function"}}),
        _under(_has(bound=["importance", "importance_dreg"]), gradient={"not": {"const": "straight_through"}}),
        _under(
            _has(bound=["importance_dreg"]),
            gradient={"enum": ["reparameterised", "enumerate"]},
            network={"properties": {"dropout": {"const": 0}}},
        ),
    ),
    Variable: (
        _not_both("size", "shape"),
        *(_only_with(key, distribution=_families(key)) for key in Variable.words() if _families(key)),
        *_needs(),
        _not_both("categories", "values"),
        _only_with("values", distribution=["categorical"]),
        {"properties": {"values": {"uniqueItems": True}}},
        {"if": _has(distribution=_SIMPLEX), "then": {"anyOf": [{"required": ["categories"]}, {"required": ["values"]}]}},
        {"if": _has(distribution=_VECTOR), "then": {"anyOf": [{"required": ["size"]}, {"required": ["shape"]}]}},
        {"if": _has(role=["supervised", "observed", "given"]), "then": {"required": ["distribution"]}},
        _only_with("missing", role=["observed"]),
        {"dependencies": {"collapse": _INFERRED}},
    ),
    SubmodelVariable: ({"dependencies": {"collapse": _INFERRED}},),
    SubmodelDraw: ({"dependencies": {"temperature": _RELAXED}},),
    Conditional: (
        _not_both("size", "shape"),
        *(_only_with(key, distribution=_families(key)) for key in Conditional.words() if _families(key)),
        *_needs(),
        {"properties": {"parents": {"uniqueItems": True}, "parameters": _parameters()}},
        {"if": {"properties": {"parameters": _some({"const": "head"})}, "required": ["parameters"]}, "then": _PARENTS},
        {"dependencies": {"network": _PARENTS, "temperature": _RELAXED}},
        {"dependencies": {"value": {"properties": _COMPUTED}}},
        {"if": _GRU, "then": {"properties": {**_COMPUTED, "value": False, "parents": {"minItems": 2}}}},
        {"properties": {"temperature": _scheduled(exclusiveMinimum=0)}},
    ),
    Network: tuple(_of_kinds()),
    Schedule: (
        {
            "if": _has(schedule=["constant"]),
            "then": {"properties": {"to": False, "steps": False}},
            "else": {"required": ["to", "steps"]},
        },
    ),
    Objective: (
        _not_both("gamma", "supervision_rate"),
        {"properties": {key: _scheduled(minimum=0) for key in ("alpha", "beta")}},
        {"properties": {"supervision_rate": _scheduled(minimum=0, maximum=1)}},
        {"if": _has(bound=["importance_dreg"]), "then": {"properties": {"beta": {"required": ["schedule"]}}}},  # or a number
    ),
    Data: (
        {"if": _has(source=["digits"]), "then": {"properties": {"path": False}}},
        {"dependencies": {"scenes": _has(source=["multi_mnist"])}},
        {"properties": {key: {"additionalProperties": _LIST} for key in ("columns", "categories", "transforms")}},
    ),
    Rescale: ({"oneOf": [{"required": ["scale"]}, {"required": ["binarise"]}]}, {"dependencies": {"to": ["scale"]}}),
    Binarise: (_not_both("threshold", "seed"),),
    Split: (
        *(_not_both(one, other) for one, other in combinations(("column", "within", "by", "blocks"), 2)),
        {"properties": {"test": _LIST, "blocks": {"minItems": 2, "maxItems": 2}}},
        {"if": {"properties": {"test": {"type": "array"}}, "required": ["test"]}, "then": {"required": ["column"]}},
        {"dependencies": {"column": {"required": ["test"], "properties": {"test": {"type": "array"}, "seed": False}}}},
        {"dependencies": {"blocks": {"properties": {"test": False, "seed": False}}}},
    ),
    LabelDraw: (
        {"oneOf": [{"required": [key]} for key in ("rows", "fraction", "rows_per")]},
        {"properties": {"variables": {"uniqueItems": True}}},
        {"dependencies": {"rows_per": {"properties": {"balanced": {"const": False}}}}},
    ),
}
