"""Settings from the command line, `training.epochs=5`, laid over a spec's text. The verb is `override`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphvae.compiler.errors import FlagError, Span
from graphvae.compiler.source import Map, Seq, Source, read_value


def override(source: Source, settings: Sequence[str]) -> Source:
    """A new Source in which each setting's value stands at its key; a message about it points at the setting.

    >>> from graphvae.compiler.source import read_text
    >>> override(read_text("model: m", "m.yaml"), ["training.epochs=5"]).root
    {'model': 'm', 'training': {'epochs': 5}}

    Raises:
        FlagError: For a setting that is not KEY=VALUE, or whose key leads into a list or a scalar.
        SpecError: For a value that is not YAML.
    """
    root = source.root
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not all(key.split(".")):
            raise FlagError.of("GV501", f"'{setting}' is not KEY=VALUE", hint="as in --set training.epochs=5")
        value, span = read_value(text, f"--set {key}")
        root = _put(root, key.split("."), value, span, setting)
    return Source(source.file, root)


def _put(holder: Any, path: Sequence[str], value: Any, span: Span, setting: str) -> Map:
    if not isinstance(holder, Map):
        kind = "a list" if isinstance(holder, Seq) else f"'{holder}'"
        raise FlagError.of("GV501", f"'{setting}' leads into {kind}", hint=f"'{path[0]}' must be a key of a mapping")
    key, *rest = path
    copy = Map(holder.span)
    for name in holder:
        copy.put(name, holder[name], holder.key_spans[name], holder.spans[name])
    inner = _put(holder.get(key, Map(span)), rest, value, span, setting) if rest else value
    copy.put(key, inner, holder.key_spans.get(key, span), span)
    return copy
