"""Source: YAML text as plain data in which every key and value knows where it stands.

The verb is `read`. PyYAML's composer finds the structure and the positions; what a scalar means is decided here, by the
core schema of YAML 1.2: `1e-3` is a number, `no` is a string, and `010`, which readers take for 8 or for 10, is refused.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from math import isinf
from pathlib import Path
from typing import Any

import yaml

from graphvae.compiler.errors import Span, SpecError, visible
from graphvae.compiler.syntax import explain

MAX_BYTES = 64 * 1024
MAX_DEPTH = 32
MAX_DIGITS = 18
MAX_NODES = 20_000  # after the aliases are followed

_BREAK = re.compile(r"\r\n|\r|\n")
# What no YAML text may hold, and what some readers take for the end of a line or do not show at all.
_REFUSED = re.compile("[^\t\n\r -~\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u2028\u2029\ufeff]")

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_ODD_INDENT = re.compile(r"^ *([^\S \t\r\n])", re.MULTILINE)
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_BEGINNING = "a spec begins with 'model: NAME'"
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
_WORDS |= {sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")}
_WORDS |= {word: float("nan") for word in (".nan", ".NaN", ".NAN")}


class Map(dict[str, Any]):
    """A mapping that knows its own span and those of its keys and values."""

    def __init__(self, span: Span) -> None:
        super().__init__()
        self.span = span
        self.key_spans: dict[str, Span] = {}
        self.spans: dict[str, Span] = {}

    def put(self, key: str, value: Any, key_span: Span, span: Span) -> None:
        self[key] = value
        self.key_spans[key], self.spans[key] = key_span, span


class Seq(list[Any]):
    """A list that knows its own span and those of its items."""

    def __init__(self, span: Span) -> None:
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


def read(path: str | Path, via: Span | None = None) -> Source:
    """Read a spec file; `via` is the place in another spec that names it, which every place in this one then remembers.

    Raises SpecError for a file that cannot be read and for anything `read_text` refuses.
    """
    file = str(path)
    try:
        with Path(path).open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise SpecError.of("GV001", f"cannot read {file}: {reason}", via) from None
    try:
        return read_text(raw.decode(), file, via)
    except UnicodeDecodeError as error:
        if len(raw) > MAX_BYTES:
            raise _too_large(file, via) from None
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"{file} is not UTF-8: byte {raw[error.start]:#04x} in line {line}"
        raise SpecError.of("GV001", message, via, "save the file as UTF-8") from None


def read_text(text: str, file: str, via: Span | None = None) -> Source:
    r"""Read the text of a spec.

    >>> source = read_text("model: m2\nobjective: {alpha: 1e1}", "m2.yaml")
    >>> source.root["objective"]["alpha"], str(source.root["objective"].spans["alpha"])
    (10.0, 'm2.yaml:2:20')

    Raises SpecError for text that is not YAML, for duplicate keys, tags, merge keys, keys that are not names, numbers with
    a leading zero, and documents beyond the bounds on size, depth and aliases.
    """
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise _too_large(file, via)
    value, span = _Reader(text, file, via=via).document()
    if value is None:
        raise SpecError.of("GV002", f"{file} is empty", via, _BEGINNING)
    if not isinstance(value, Map):
        raise SpecError.of("GV052", "a spec is a mapping of keys to values", span, _BEGINNING)
    return Source(file, value)


def read_value(text: str, file: str, before: str = "") -> tuple[Any, Span]:
    """Read one value by the same rules; `before` is what stands before it on its line, as in `--set KEY=VALUE`."""
    return _Reader(text, file, before).document()


def is_text(scalar: str) -> bool:
    """Whether a scalar reads as text without quotes."""
    return scalar not in _WORDS and not any(row.fullmatch(scalar) for row in (_INTEGER, _FLOAT)) and _is_balanced(scalar)


def _too_large(file: str, via: Span | None) -> SpecError:
    return SpecError.of("GV006", f"{file} is too large: a spec has at most {MAX_BYTES:,} bytes", via)


class _Composer(yaml.BaseLoader):
    """PyYAML's composer, with the bound on depth, the refusal of tags, and exact ends: a block ends with its last value."""

    depth = 0
    latest: Any

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise _refusal(
                "GV004", f"the tag '{visible(event.tag)}' is not allowed", event, "a spec is plain data: leave it out"
            )
        if self.depth == MAX_DEPTH:
            raise _refusal("GV006", f"nested more than {MAX_DEPTH} deep", event)
        self.depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        if not isinstance(event, yaml.CollectionStartEvent):
            self.latest = event.end_mark
        elif isinstance(node, yaml.CollectionNode) and node.flow_style:
            self.latest = node.end_mark
        elif node is not None:
            node.end_mark = self.latest
        return node


class _RefusalError(Exception):
    """A finding at a stretch of the text, before it has become a span."""

    def __init__(self, code: str, message: str, start: int, end: int, hint: str) -> None:
        super().__init__(message)
        self.code, self.message, self.start, self.end, self.hint = code, message, start, end, hint


def _refusal(code: str, message: str, at: Any, hint: str = "") -> _RefusalError:
    return _RefusalError(code, message, at.start_mark.index, at.end_mark.index, hint)


class _Reader:
    """One document's walk from nodes to data.

    Places are counted here, from the index of a character: an editor knows fewer ends of a line than PyYAML does. `before`
    belongs to the first line, and is not read.
    """

    def __init__(self, text: str, file: str, before: str = "", via: Span | None = None) -> None:
        self.text, self.file, self.before, self.via = text.removeprefix("\ufeff"), file, before, via
        self.lines = _BREAK.split(before + _REFUSED.sub("\ufffd", self.text))
        self.starts = [0, *(found.end() for found in _BREAK.finditer(self.text))]
        self.nodes = 0
        self.open: list[yaml.Node] = []  # the nodes around the one that is read

    def document(self) -> tuple[Any, Span]:
        """The value of the whole text and its place; None for a text without any."""
        try:
            node = self.compose()
            return (self.value(node, flow=False), self.node_span(node)) if node else (None, self.span(0, len(self.text)))
        except _RefusalError as error:
            raise SpecError.of(error.code, error.message, self.span(error.start, error.end), error.hint) from None

    def compose(self) -> yaml.Node | None:
        if found := _REFUSED.search(self.text):
            raise _RefusalError("GV002", f"the character {_code_point(found[0])} is not allowed", *found.span(), "take it out")
        if found := _ODD_INDENT.search(self.text):
            message = f"the character {_code_point(found[1])} cannot indent"
            raise _RefusalError("GV002", message, *found.span(1), "indent with spaces")
        composer = _Composer(self.text)
        try:
            node: yaml.Node | None = composer.get_single_node()
        except yaml.MarkedYAMLError as error:
            message, mark, hint = explain(error)
            index = mark.index if mark else 0
            raise _RefusalError("GV002", message, index, index, hint) from None
        except (ValueError, OverflowError):  # a number in an escape or a directive, far beyond any that means something
            index = composer.get_mark().index
            raise _RefusalError("GV002", "this number is too large", index, index, r"an escape goes up to \U0010FFFF") from None
        return node

    def span(self, start: int, end: int) -> Span:
        end = start + len(self.text[start:end].rstrip())
        (line, column), (end_line, end_column) = self.place(start), self.place(end)
        return Span(self.file, line, column, end_line, end_column, self.lines[line - 1], self.via)

    def place(self, index: int) -> tuple[int, int]:
        line = bisect_right(self.starts, index)
        return line, index - self.starts[line - 1] + 1 + (len(self.before) if line == 1 else 0)

    def value(self, node: yaml.Node, flow: bool) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self.refused_growth(f"more than {MAX_NODES:,} values once the aliases are followed")
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, flow)
        if node in self.open:
            raise _refusal("GV006", "an alias inside the very thing that it repeats", node)
        if len(self.open) == MAX_DEPTH:
            raise self.refused_growth(f"nested more than {MAX_DEPTH} deep once the aliases are followed")
        self.open.append(node)
        made = self.mapping(node) if isinstance(node, yaml.MappingNode) else self.sequence(node)
        self.open.pop()
        return made

    def refused_growth(self, message: str) -> _RefusalError:
        """Aliases look back: the last of the open nodes is the one that grows."""
        return _refusal("GV006", message, max(self.open, key=lambda node: node.start_mark.index), "repeat less of it")

    def mapping(self, node: yaml.MappingNode) -> Map:
        made = Map(self.node_span(node))
        flow = bool(node.flow_style)
        for key_node, value_node in node.value:
            key = self.key(key_node, flow)
            if key in made:
                first = made.key_spans[key].line
                message = f"'{visible(key)}' stands twice in this mapping"
                raise _refusal("GV003", message, key_node, f"it stands first in line {first}")
            value = self.value(value_node, flow)
            made.put(key, value, self.node_span(key_node), self.node_span(value_node))
        return made

    def sequence(self, node: yaml.Node) -> Seq:
        made = Seq(self.node_span(node))
        for item in node.value:
            made.put(self.value(item, bool(node.flow_style)), self.node_span(item))  # type: ignore[attr-defined]
        return made

    def node_span(self, node: yaml.Node) -> Span:
        return self.span(node.start_mark.index, node.end_mark.index)

    def key(self, node: yaml.Node, flow: bool) -> str:
        if isinstance(node, yaml.ScalarNode) and node.value == "<<" and node.style is None:
            raise _refusal("GV005", "merge keys are not allowed", node, "write the keys out")
        value = self.value(node, flow)
        if not isinstance(value, str):
            raise _refusal("GV009", "a key must be a name", node, "write 'name: value'; a list stands in brackets: [1, 2]")
        return value

    def scalar(self, node: yaml.ScalarNode, flow: bool) -> Any:
        text = unicodedata.normalize("NFC", node.value)  # so that names which look alike are alike
        if found := _REFUSED.search(text):
            hint = "take its escape out, or use single quotes if the backslash is meant"
            raise _refusal("GV002", f"the character {_code_point(found[0])} is not allowed", node, hint)
        if node.style is not None:
            return text
        if flow and not _is_balanced(text):
            raise self.fell_apart(node)
        if text in _WORDS:
            return _WORDS[text]
        if _LEADING_ZERO.fullmatch(text):
            number = "-" * text.startswith("-") + (text.lstrip("+-0") or "0")
            hint = f"write {visible(number)} for the number, or '{visible(text)}' in quotes for the text"
            message = f"{visible(text)} has a leading zero, which some readers take for an octal number"
            raise _refusal("GV007", message, node, hint)
        if _INTEGER.fullmatch(text):
            return self.integer(node)
        return self.decimal(node) if _FLOAT.fullmatch(text) else text

    def decimal(self, node: yaml.ScalarNode) -> float:
        number = float(node.value)
        if isinf(number):
            raise _refusal("GV053", "a number cannot be so large", node, "the largest are about 1.8e308")
        return number

    def integer(self, node: yaml.ScalarNode) -> int:
        if len(node.value.lstrip("+-")) > MAX_DIGITS:
            raise _refusal("GV053", f"a whole number has at most {MAX_DIGITS} digits", node)
        return int(node.value, 0)

    def fell_apart(self, node: yaml.ScalarNode) -> _RefusalError:
        whole = _balanced(self.text[node.start_mark.index :])
        hint = f'quote it: "{visible(whole)}"' if whole else "quote it, with a ')' for every '('"
        return _refusal("GV008", f"'{visible(node.value)}' was cut at a comma: its parentheses do not match", node, hint)


def _is_balanced(text: str) -> bool:
    return text.count("(") == text.count(")")


def _code_point(character: str) -> str:
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}" + f" ({name})" * bool(name)


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
