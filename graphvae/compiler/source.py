"""Source: YAML text as plain data in which every key and value knows where it stands.

The verb is `read`. PyYAML's composer finds the structure and the positions; what a scalar means is decided here, by the
core schema of YAML 1.2: `1e-3` is a number, `no` is a string, and `010`, which readers take for 8 or for 10, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from graphvae.compiler.errors import Span, SpecError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_DIGITS = 18
MAX_NODES = 50_000  # after the aliases are followed

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
_WORDS |= {sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")}
_WORDS |= {word: float("nan") for word in (".nan", ".NaN", ".NAN")}


class Map(dict[str, Any]):
    """A mapping that knows its own span and those of its keys and values."""

    def __init__(self, span: Span | None = None) -> None:
        super().__init__()
        self.span = span
        self.key_spans: dict[str, Span] = {}
        self.spans: dict[str, Span] = {}

    def put(self, key: str, value: Any, key_span: Span, span: Span) -> None:
        self[key] = value
        self.key_spans[key], self.spans[key] = key_span, span


class Seq(list[Any]):
    """A list that knows its own span and those of its items."""

    def __init__(self, span: Span | None = None) -> None:
        super().__init__()
        self.span = span
        self.spans: list[Span] = []

    def put(self, value: Any, span: Span) -> None:
        self.append(value)
        self.spans.append(span)


@dataclass(frozen=True)
class Source:
    """A file's name and what its text says: nested `Map` and `Seq`, with plain scalars at the leaves."""

    file: str
    root: Map

    def __str__(self) -> str:
        return "\n".join(f"{span}: {'.'.join(path)}" for path, span in _walk(self.root, ()))

    def check(self) -> None:
        """Every key and item has a span."""
        assert all(span.line > 0 for _, span in _walk(self.root, ()))


def read(path: str | Path) -> Source:
    """Read a spec file.

    Raises SpecError for a file that cannot be read and for anything `read_text` refuses.
    """
    file = str(path)
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise SpecError.of("GV001", f"cannot read {file}: {(error.strerror or str(error)).lower()}") from None
    if len(raw) > MAX_BYTES:
        raise SpecError.of("GV006", f"{file} has {len(raw):,} bytes; a spec has at most {MAX_BYTES:,}")
    try:
        return read_text(raw.decode("utf-8-sig"), file)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"{file} is not UTF-8: byte {raw[error.start]:#04x} in line {line}"
        raise SpecError.of("GV001", message, hint="save the file as UTF-8") from None


def read_text(text: str, file: str) -> Source:
    r"""Read the text of a spec.

    >>> source = read_text("model: m2\\nobjective: {alpha: 1e1}", "m2.yaml")
    >>> source.root["objective"]["alpha"], str(source.root["objective"].spans["alpha"])
    (10.0, 'm2.yaml:2:20')

    Raises SpecError for text that is not YAML, for duplicate keys, tags, merge keys, keys that are not names, numbers with
    a leading zero, and documents beyond the bounds on size, depth and aliases.
    """
    reader = _Reader(text, file)
    value, span = reader.document()
    if not isinstance(value, Map):
        raise SpecError.of("GV052", "a spec is a mapping of keys to values", span, "it begins with 'model: NAME'")
    return Source(file, value)


def read_value(text: str, file: str) -> tuple[Any, Span]:
    """Read one value by the same rules, as `--set KEY=VALUE` does."""
    return _Reader(text, file).document()


class _Composer(yaml.BaseLoader):
    """PyYAML's composer, with the bound on depth and the refusal of tags."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        if getattr(event, "tag", None) is not None:
            raise _refusal("GV004", f"the tag '{event.tag}' is not allowed", event, "a spec is plain data: leave the tag out")
        if self.depth == MAX_DEPTH:
            raise _refusal("GV006", f"nested more than {MAX_DEPTH} deep", event)
        self.depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _RefusalError(Exception):
    """A finding at a PyYAML event or node, before it has become a span."""

    def __init__(self, code: str, message: str, start: yaml.Mark, end: yaml.Mark, hint: str) -> None:
        super().__init__(message)
        self.code, self.message, self.start, self.end, self.hint = code, message, start, end, hint


def _refusal(code: str, message: str, at: Any, hint: str = "") -> _RefusalError:
    return _RefusalError(code, message, at.start_mark, at.end_mark, hint)


class _Reader:
    """One document's walk from nodes to data."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self.lines = [line.rstrip("\r") for line in text.split("\n")]
        self.nodes = 0
        self.open: set[int] = set()

    def document(self) -> tuple[Any, Span]:
        try:
            node = _Composer(self.text).get_single_node()
            if node is None:
                raise SpecError.of("GV002", f"{self.file} is empty", hint="a spec begins with 'model: NAME'")
            return self.value(node, flow=False), self.span(node.start_mark, node.end_mark)
        except _RefusalError as error:
            raise SpecError.of(error.code, error.message, self.span(error.start, error.end), error.hint) from None
        except yaml.MarkedYAMLError as error:
            raise self.not_yaml(error) from None
        except yaml.reader.ReaderError as error:
            line = self.text.count("\n", 0, error.position) + 1
            raise SpecError.of("GV002", f"{self.file}:{line}: the character {error.character!r} is not allowed") from None

    def not_yaml(self, error: yaml.MarkedYAMLError) -> SpecError:
        mark = error.problem_mark or error.context_mark
        said = ", ".join(part for part in (error.context, error.problem) if part)
        hint = "indent with spaces" if "\\t" in said else ""
        return SpecError.of("GV002", said, self.span(mark, mark) if mark else None, hint)

    def span(self, start: yaml.Mark, end: yaml.Mark) -> Span:
        line = min(start.line, len(self.lines) - 1)
        text = self.lines[line]
        column = min(start.column, len(text))
        return Span(self.file, line + 1, column + 1, end.line + 1, end.column + 1, text)

    def value(self, node: yaml.Node, flow: bool) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _refusal("GV006", f"more than {MAX_NODES:,} values once the aliases are followed", node)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, flow)
        if id(node) in self.open:
            raise _refusal("GV006", "an alias inside the very thing that it repeats", node)
        self.open.add(id(node))
        made = self.mapping(node) if isinstance(node, yaml.MappingNode) else self.sequence(node)
        self.open.remove(id(node))
        return made

    def mapping(self, node: yaml.MappingNode) -> Map:
        made = Map(self.span(node.start_mark, node.end_mark))
        flow = bool(node.flow_style)
        for key_node, value_node in node.value:
            key = self.key(key_node, flow)
            if key in made:
                first = made.key_spans[key].line
                raise _refusal("GV003", f"'{key}' stands twice in this mapping", key_node, f"it stands first in line {first}")
            value = self.value(value_node, flow)
            made.put(key, value, self.node_span(key_node), self.node_span(value_node))
        return made

    def sequence(self, node: yaml.Node) -> Seq:
        made = Seq(self.span(node.start_mark, node.end_mark))
        for item in node.value:
            made.put(self.value(item, bool(node.flow_style)), self.node_span(item))  # type: ignore[attr-defined]
        return made

    def node_span(self, node: yaml.Node) -> Span:
        return self.span(node.start_mark, node.end_mark)

    def key(self, node: yaml.Node, flow: bool) -> str:
        if isinstance(node, yaml.ScalarNode) and node.value == "<<" and node.style is None:
            raise _refusal("GV005", "merge keys are not allowed", node, "write the keys out")
        value = self.value(node, flow)
        if not isinstance(value, str):
            raise _refusal("GV009", "a key must be a name", node, "quote it if it is meant as text")
        return value

    def scalar(self, node: yaml.ScalarNode, flow: bool) -> Any:
        text: str = node.value
        if node.style is not None:
            return text
        if flow and text.count("(") != text.count(")"):
            raise self.fell_apart(node)
        if text in _WORDS:
            return _WORDS[text]
        if _LEADING_ZERO.fullmatch(text):
            hint = f"write {text.lstrip('+-0') or '0'} for the number, or '{text}' in quotes for the text"
            raise _refusal("GV007", f"{text} has a leading zero, which some readers take for an octal number", node, hint)
        if _INTEGER.fullmatch(text):
            return self.integer(node)
        return float(text) if _FLOAT.fullmatch(text) else text

    def integer(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > MAX_DIGITS:
            raise _refusal("GV053", f"a whole number has at most {MAX_DIGITS} digits", node)
        return int(node.value, 0)

    def fell_apart(self, node: yaml.ScalarNode) -> _RefusalError:
        whole = _balanced(self.text[node.start_mark.index :])
        hint = f'quote it: "{whole}"' if whole else "quote it, with a ')' for every '('"
        return _refusal("GV008", f"'{node.value}' was cut at a comma: its parentheses do not match", node, hint)


def _balanced(text: str) -> str:
    """The shortest beginning of the text in which every parenthesis is closed, or nothing."""
    depth = 0
    for index, character in enumerate(text.split("\n", 1)[0]):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0 and character == ")":
            return text[: index + 1]
    return ""


def _walk(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Span]]:
    if isinstance(value, Map):
        for key in value:
            yield (*path, key), value.key_spans[key]
            yield from _walk(value[key], (*path, key))
    elif isinstance(value, Seq):
        for index, item in enumerate(value):
            yield (*path, str(index)), value.spans[index]
            yield from _walk(item, (*path, str(index)))
