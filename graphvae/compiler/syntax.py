"""What PyYAML finds wrong with a text, in our words. The verb is `explain`."""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml


@dataclass(frozen=True)
class _Wording:
    """A pattern in PyYAML's sentence, and what to say in its place; `opening` points at where the broken thing begins.

    `{0}` is what the pattern's group found, and `{line}` the line in which the broken thing begins.
    """

    pattern: str
    message: str
    hint: str = ""
    opening: bool = False


_INDENT = "the keys of a mapping stand below each other, and a nested mapping stands further to the right"
_QUOTE = "quote it if it is meant as text"
_TEXT = "begin a new line for a new key; text is quoted as a whole, and a ' inside single quotes is written twice"
_COLON = "a space follows the ':' of a key, and text with ': ' in it is quoted"
_WORDINGS = (
    _Wording(r"found character '\\t'", "a tab cannot stand here", "indent and separate with spaces"),
    _Wording(r"found character '(.)' that cannot start", "a value cannot begin with '{0}'", _QUOTE),
    _Wording(r"mapping values are not allowed", "a ':' cannot stand here", f"{_COLON};\n{_INDENT}"),
    _Wording(r"sequence entries are not allowed", "a list cannot begin here", "begin it on the line below its key"),
    _Wording(r"could not find expected ':'", "a ':' is missing here", "write 'key: value', with the space", opening=True),
    _Wording(r"quoted scalar.*(?:end of stream|separator)", "this quote is not closed", opening=True),
    _Wording(r"escape character '(.*)'", "'\\{0}' is no escape", "write \\\\ for a backslash, or use single quotes"),
    _Wording(r"expected escape sequence", "an escape is cut short", "write \\\\ for a backslash, or use single quotes"),
    _Wording(r"undefined alias '(.*)'", "there is no anchor '&{0}' above", "quote the text if a '*' is meant"),
    _Wording(r"duplicate anchor '(.*)'; ", "the anchor '&{0}' stands twice", "it stands first in line {line}"),
    _Wording(r"scanning an (alias|anchor)", "this is no {0}", "quote the text if it is meant to begin so", opening=True),
    _Wording(r"scanning a block scalar", "text cannot begin on the line of its '|' or '>'", "quote it, or begin a new line"),
    _Wording(r"another document", "a second document begins here", "a spec is a single document"),
    _Wording(r"'<document start>'", "the document ended before this", "what begins with '{{' or '[' ends with its bracket"),
    _Wording(r"expected ',' or '.', but got '<stream end>'", "this bracket is not closed", opening=True),
    _Wording(r"expected ',' or '(.)', but got", "a ',' or '{0}' is missing before this", "the bracket opens in line {line}"),
    _Wording(r"block (?:mapping|collection), .* found '[\]}]'", "this bracket closes nothing", f"take it out, or {_QUOTE}"),
    _Wording(r"block (?:mapping|collection), .* found '<scalar>'", "this follows a value that is already complete", _TEXT),
    _Wording(r"expected the node content", "a value is missing before this", _QUOTE),
    _Wording(r"parsing a block (?:mapping|collection)", "this does not fit the lines above it", _INDENT),
    _Wording(r"\b(tag|directive|YAML document)\b", "tags and directives are not allowed", "a spec is plain data: leave it out"),
)


def explain(error: yaml.MarkedYAMLError) -> tuple[str, yaml.Mark | None, str]:
    """A message, the place that it is about, and a hint."""
    said = ", ".join(part for part in (error.context, error.problem) if part)
    end = error.problem_mark or error.context_mark
    start = error.context_mark or end
    for row in _WORDINGS:
        if found := re.search(row.pattern, said):
            line = start.line + 1 if start else 0
            hint = row.hint.format(*found.groups(), line=line)
            return row.message.format(*found.groups()), start if row.opening else end, hint
    return said, end, ""
