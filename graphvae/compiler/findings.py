"""What pydantic finds wrong with the shape of a text, in our words and at its place. The verb is `diagnose`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import ErrorDetails

from graphvae.compiler.block import Block, Seen
from graphvae.compiler.errors import Diagnostic, Span, closest, did_you_mean, visible
from graphvae.compiler.source import Map, Seq

KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_CLASSES = {
    "Conditional": "a list of parents, or a mapping",
    "LabelDraw": "a mapping that says how many rows, such as {rows: 100}",
    "Network": "a mapping, such as {hidden: [500]}",
    "Schedule": "a schedule, such as {schedule: linear, from: 0, to: 1, steps: 1000}",
}
_MISSING = {
    "Spec.model": "a spec begins with 'model: NAME'",
    "Spec.variables": "write which ones there are, as in variables: {image: {distribution: normal, role: observed}}",
    "Spec.p": "write the generative model, as in p: {image: [digit, style]}",
    "Data.source": "write where the rows come from, as in source: mnist",
    "Data.columns": "write which column holds each variable, as in columns: {image: image, digit: label}",
    "Submodel.spec": "write its file, as in spec: mnist.yaml",
    "Slots.order": "write what the number of a slot means, as in order: as_stored",
    "Plate.size": "write how many slots there are, as in size: 3",
    "LabelDraw.variables": "write what a drawn row reveals, as in variables: [digit]",
    "Schedule.from": "write the number that it begins at, as in from: 1",
    "Validation.rows": "write how many there are, as in rows: 500",
    "Validation.labels": "write labels: true, as the admission that these labels are read",
}
_NUMBER = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?")
_ITEM = r"(?:[^\W\d_]\w*|[0-9]+)"
_ITEMS = re.compile(f"{_ITEM}(, *{_ITEM})*")


def diagnose(errors: Sequence[ErrorDetails], root: Map, seen: Mapping[int, Seen]) -> list[Diagnostic]:
    """Every finding once, in the order of the text, with the keys that have no value; `seen` are the blocks by their text."""
    unknown = [details["loc"] for details in errors if details["type"] == "extra_forbidden"]
    misspelt = {(loc[:-1], closest(str(loc[-1]), _locate(loc, root, seen).block.words())) for loc in unknown}
    found = [_nothing(f"'{name}'", span, "") for name, span in _empty(seen)]
    for details in errors:
        if details["type"] != "missing" or (details["loc"][:-1], details["loc"][-1]) not in misspelt:
            found.append(_diagnostic(details, _locate(details["loc"], root, seen)))
    return sorted(dict.fromkeys(found), key=lambda finding: finding.place)


def _empty(seen: Mapping[int, Seen]) -> Iterator[tuple[str, Span]]:
    for row in seen.values():
        if isinstance(row.longer, Map):
            yield from ((k, row.longer.spans[k]) for k, v in row.longer.items() if v is None and k in row.block.words())


@dataclass(frozen=True)
class _Place:
    """Where a finding is: the last key on its path, the spans of that key and of the value, and the block they stand in.

    `subject` is what a message calls the value: the key, or an item of it.
    """

    name: str
    subject: str
    key: Span | None
    span: Span | None
    block: type[Block]


def _locate(loc: tuple[str | int, ...], root: Map, seen: Mapping[int, Seen]) -> _Place:
    """Follow a finding's path through the text, past the tags of unions, which stand in no text."""
    value: Any = root
    place = _Place("spec", "the spec", root.span, root.span, seen[id(root)].block)
    for step in loc:
        if id(value) in seen:
            place = replace(place, block=seen[id(value)].block)
            value = seen[id(value)].longer
        if isinstance(value, Map) and step in value:
            name = str(step)
            place = _Place(name, f"'{name}'", value.key_spans[name], value.spans[name], place.block)
            value = value[name]
        elif isinstance(value, Seq) and isinstance(step, int) and step < len(value):
            place = replace(place, subject=f"an item of '{place.name}'", key=value.spans[step], span=value.spans[step])
            value = value[step]
    return place


def _diagnostic(details: ErrorDetails, place: _Place) -> Diagnostic:
    kind, context, given = details["type"], details.get("ctx", {}), details["input"]
    if kind == "extra_forbidden":
        colon = "write a space behind the ':'" if ":" in place.name else ""
        hint = colon or did_you_mean(place.name, place.block.words(), "keys here")
        return Diagnostic("GV050", f"unknown key {_shown(place.name)}", place.key, hint)
    if kind == "missing":
        name = str(details["loc"][-1])
        hint = _MISSING[f"{place.block.__name__}.{name}"]
        return Diagnostic("GV051", f"the key '{name}' is missing here", place.key, hint)
    if kind == "reference":
        span = place.key if "[key]" in details["loc"] else place.span
        return Diagnostic("GV055", f"{_shown(given)} is not {context['what']}", span, details["msg"])
    if kind == "latex":
        return Diagnostic("GV058", f"{_shown(given)} is no symbol in LaTeX", place.span, details["msg"])
    if given is None:
        hint = f"write {place.name}: [] if it has no parents" if context.get("class_name") == "Conditional" else ""
        return _nothing(place.subject, place.span, hint)
    if kind == "too_short":
        return Diagnostic("GV053", f"{place.subject} should not be empty", place.span, "write at least one")
    if kind in BOUNDS:
        bound, words = BOUNDS[kind]
        return Diagnostic("GV053", f"{place.subject} should be {words} {context[bound]:g}, and not {_shown(given)}", place.span)
    if kind in ("literal_error", "family"):
        return _word(given, context, place)
    name = str(context.get("class_name", ""))
    message = f"{place.subject} should be {context.get('what') or _CLASSES.get(name) or KINDS[kind]}, and not {_shown(given)}"
    return Diagnostic("GV052", message, place.span, _mend(kind, name, given))


def _nothing(subject: str, span: Span | None, hint: str) -> Diagnostic:
    return Diagnostic("GV052", f"{subject} has no value", span, hint or "give it one, or leave it out")


def _word(given: object, context: Mapping[str, Any], place: _Place) -> Diagnostic:
    choices = context.get("words") or re.findall(r"'(.*?)'", context["expected"]) or [context["expected"].lower()]
    noun = "families" if "words" in context else f"words for '{place.name}'"
    hint = did_you_mean(given if isinstance(given, str) else "", choices, noun)
    return Diagnostic("GV054", f"{_shown(given)} is not one of the {noun}", place.span, hint)


def _mend(kind: str, name: str, given: object) -> str:
    """How to turn what stands there into what was expected, where that is plain."""
    if kind == "tuple_type" or name == "Conditional":
        return f"write [{given}]" if _ITEMS.fullmatch(str(given)) else ""
    if kind == "string_type" and isinstance(given, bool | int | float):
        return "put it in quotes"
    if kind == "bool_type" and isinstance(given, str) and given.lower() in ("yes", "no", "on", "off", "true", "false"):
        return f"write {_shown(given.lower() in ('yes', 'on', 'true'))}"
    if kind in ("int_type", "int_from_float") and isinstance(given, float) and given.is_integer() and abs(given) < 1e18:
        return f"write {given:.0f}"
    if kind in ("int_type", "float_type") and isinstance(given, str) and _NUMBER.fullmatch(given):
        return f"write {given.replace('_', '')}, without quotes or underscores"
    return ""


def _shown(value: object) -> str:
    if isinstance(value, Map | Seq):
        return "a mapping" if isinstance(value, Map) else "a list"
    if value is None or isinstance(value, bool):
        return "nothing" if value is None else str(value).lower()
    return f"'{visible(value)}'" if isinstance(value, str) else str(value)
