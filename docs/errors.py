"""Print the page of the error codes from the compiler's table and the bad specs: python docs/errors.py > docs/errors.md.

A code is shown by a spec and what `graphvae check` says about it, which a test keeps true, or by a command, which is run here.
"""

from __future__ import annotations

import io
import os
import shlex
from collections.abc import Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

from graphvae.cli import app
from graphvae.compiler.codes import CODES, Code
from graphvae.compiler.errors import UserError

ROOT = Path(__file__).parent.parent
BAD_SPECS = ROOT / "tests" / "bad_specs"

INTRODUCTION = """# Errors and warnings

A mistake in a spec, in its data, in a run or in a flag ends in a message with its place, an excerpt, what was expected, and
mostly a hint. Mistakes in the shape of a spec (GV050 to GV058) are reported all at once; after that the first one ends it,
since the rest would be echoes. Warnings are about what is legal and probably wrong, and end nothing.

## Exit codes

| code | means |
|---|---|
| 0 | the command did what it should; `graphvae check` with warnings, too |
| 1 | a fault of graphvae itself, with a traceback: please report it |
| 2 | a mistake that a person can mend, with its message on the standard error |

## For editors and other programs

`graphvae check SPEC --format json` prints one object on the standard output, for a spec with or without mistakes and for a
file that cannot be read, with the same exit codes:

```json
{"diagnostics": [
  {"file": "mnist.yaml", "line": 10, "column": 28, "end_line": 10, "end_column": 33,
   "code": "GV104", "severity": "error", "message": "'image' has an unknown parent 'stile' in p",
   "hint": "did you mean 'style'? the variables are: digit, style, image", "via": []}
], "notes": []}
```

| key | is |
|---|---|
| `file` | the path as it was given, or `--set` for a setting on the command line |
| `line`, `column` | where it begins, both from 1, a column for every character; `null` where the whole file is meant |
| `end_line`, `end_column` | where it ends: the place behind its last character |
| `code` | one of those below, each of which keeps its meaning |
| `severity` | `error` or `warning` |
| `message`, `hint` | what is wrong, and how to mend it; a hint may be empty, or have several lines |
| `via` | the places through which a sub-model's file was reached, the innermost first, each with the five keys of a place |

`notes` are sentences about what is right and was not written: which conditionals of q are derived from p, and what was assumed.

A spec that begins with a line such as

```yaml
# yaml-language-server: $schema=graphvae.schema.json
```

is completed, explained and checked while one types, in every editor that speaks to `yaml-language-server` (the YAML extension
of VS Code, Neovim, Emacs and others). `graphvae schema -o graphvae.schema.json` writes the schema, which catches what the shape
of a text can show; the path counts from the spec's folder. `check-jsonschema --schemafile graphvae.schema.json SPEC` does the
same in CI, and `graphvae check` says more.

## All codes

| code | means |
|---|---|
"""

PARTS = {
    "GV0": "Reading and the shape of the text",
    "GV1": "The graph",
    "GV2": "Warnings",
    "GV3": "Data",
    "GV4": "Runs",
    "GV5": "Flags",
}


def page() -> str:
    """The page in Markdown."""
    parts = {title: {name: code for name, code in CODES.items() if name.startswith(start)} for start, title in PARTS.items()}
    contents = (f"| [{name}](#{name.lower()}) | {code.meaning} |\n" for name, code in CODES.items())
    return INTRODUCTION + "".join([*contents, *(f"\n## {title}\n{sections(codes)}" for title, codes in parts.items())])


def sections(codes: Mapping[str, Code]) -> str:
    return "".join(f"\n### {name}\n\n{prose(code)}\n\n{example(code)}" for name, code in codes.items())


def prose(code: Code) -> str:
    return f"**{code.meaning[:1].upper()}{code.meaning[1:]}.** {code.why} {code.mend}"


def example(code: Code) -> str:
    if code.example:
        spec = (BAD_SPECS / f"{code.example}.yaml").read_text("utf-8", errors="replace")
        said = (BAD_SPECS / f"{code.example}.txt").read_text("utf-8")
        return f"{block('yaml', spec)}\n{block('text', said)}"
    if code.command:
        return block("text", f"$ graphvae {code.command}\n{outcome(code.command)}")
    return block("text", code.seen)


def block(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"


def outcome(command: str) -> str:
    """The message in which a command ends."""
    with chdir(ROOT), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        try:
            app(shlex.split(command), standalone_mode=False)
        except UserError as error:
            return str(error)
    raise AssertionError(f"{command} should have failed")


if __name__ == "__main__":
    os.environ.pop("GRAPHVAE_DATA", None)
    print(page(), end="")
