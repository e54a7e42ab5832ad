"""Settings from the command line, `training.epochs=5`, laid over a spec's text. The verb is `override`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphvae.compiler.errors import FlagError, Span, visible
from graphvae.compiler.source import Map, Seq, Source, read_value


def override(source: Source, settings: Sequence[str]) -> Source:
    """A new Source in which each setting's value stands at its key; a message about it points into the setting.

    >>> from graphvae.compiler.source import read_text
    >>> override(read_text("model: m", "m.yaml"), ["training.epochs=5"]).root
    {'model': 'm', 'training': {'epochs': 5}}

    Raises:
        FlagError: For a setting that is not KEY=VALUE, or whose key leads into a list or a scalar.
        SpecError: For a value that is not YAML.
    """
    root = source.root
    for setting in settings:
        root = _put(root, _parsed(setting), 0)
    return Source(source.file, root)


@dataclass(frozen=True)
class _Setting:
    """The keys that lead to a value, where each stands in the setting, and the value."""

    text: str
    keys: tuple[str, ...]
    key_spans: tuple[Span, ...]
    value: Any
    span: Span


def _parsed(setting: str) -> _Setting:
    path, equals, text = setting.partition("=")
    keys = tuple(path.split("."))
    if not equals or not all(keys) or not text.strip():
        raise FlagError.of("GV501", f"'{visible(setting)}' is not KEY=VALUE", hint="as in --set training.epochs=5")
    value, span = read_value(text, "--set", before=path + equals)
    ends = [len(".".join(keys[: index + 1])) for index in range(len(keys))]
    spans = tuple(Span("--set", 1, end - len(key) + 1, 1, end + 1, span.text) for key, end in zip(keys, ends, strict=True))
    return _Setting(setting, keys, spans, value, span)


def _put(holder: Any, setting: _Setting, depth: int) -> Map:
    """A copy of the mapping in which the setting's value stands where its keys lead, from that depth on."""
    key, key_span = setting.keys[depth], setting.key_spans[depth]
    if not isinstance(holder, Map):
        kind = "a list" if isinstance(holder, Seq) else "a single value"
        outer = visible(".".join(setting.keys[:depth]))
        hint = f"set the whole: --set '{outer}=VALUE'"
        raise FlagError.of("GV501", f"'{outer}' is {kind} and has no key '{visible(key)}'", key_span, hint)
    copy = Map(holder.span)
    for name in holder:
        copy.put(name, holder[name], holder.key_spans[name], holder.spans[name])
    if depth + 1 == len(setting.keys):
        copy.put(key, setting.value, key_span, setting.span)
    else:
        inner = _put(holder.get(key, Map(key_span)), setting, depth + 1)
        copy.put(key, inner, holder.key_spans.get(key, key_span), holder.spans.get(key, key_span))
    return copy
