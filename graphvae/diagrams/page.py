r"""A page of equations: sections of mathematics, sentences and tables, as LaTeX and as Markdown.

The form is `Page`. Inside of text, mathematics stands between dollars, and what is written as in a spec between backticks. The
LaTeX needs amsmath alone, and the Markdown has the same mathematics.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from graphvae.diagrams.symbols import for_latex


@dataclass(frozen=True)
class Row:
    """A line of mathematics; without a left side it goes on with the line above. The right side begins with its relation."""

    left: str
    right: str


@dataclass(frozen=True)
class Maths:
    """Lines of mathematics, aligned at their relations."""

    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Sentences:
    """A paragraph."""

    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Cells in rows below a heading."""

    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Maths | Sentences | Table


@dataclass(frozen=True)
class Section:
    """A heading, and what stands below it."""

    heading: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """All that there is to say about a model in equations."""

    model: str
    sections: tuple[Section, ...]

    @property
    def latex(self) -> str:
        r"""To be read by `\input`."""
        head = f"% {self.model}: equations by graphvae, to \\input below \\usepackage{{amsmath}}."
        return for_latex("\n".join([head, *(line for section in self.sections for line in _in_latex(section))]) + "\n")

    @property
    def markdown(self) -> str:
        """For whatever shows mathematics between dollars, as GitHub and notebooks do."""
        parts = [part for section in self.sections for part in (f"## {section.heading}", *map(_in_markdown, section.blocks))]
        return "\n\n".join([f"# {self.model}", *parts]) + "\n"


def _in_latex(section: Section) -> Iterator[str]:
    yield f"\n\\paragraph{{{section.heading}.}}"
    for block in section.blocks:
        match block:
            case Maths():
                yield f"\\begin{{align*}}\n{_aligned(block)}\n\\end{{align*}}"
            case Sentences():
                yield "\n".join(map(_coded, block.sentences))
            case Table():
                yield "\n".join(_tabular(block))


def _aligned(maths: Maths) -> str:
    return " \\\\\n".join(f"  {row.left} &{row.right}" for row in maths.rows)


def _tabular(table: Table) -> Iterator[str]:
    yield f"\\leavevmode\\\\[1ex]\n{{\\small\\begin{{tabular}}{{@{{}}{'l' * len(table.heading)}@{{}}}}"
    yield f"  {' & '.join(table.heading)} \\\\ \\hline"
    yield from (f"  {' & '.join(map(_coded, row))} \\\\" for row in table.rows)
    yield "\\end{tabular}}"


def _coded(text: str) -> str:
    """Text in LaTeX, where what a spec says is in a typewriter's letters."""
    return re.sub("`(.*?)`", lambda found: f"\\texttt{{{found[1].replace('_', chr(92) + '_')}}}", text)


def _in_markdown(block: Block) -> str:
    match block:
        case Maths():
            return f"$$\n\\begin{{aligned}}\n{_aligned(block)}\n\\end{{aligned}}\n$$"
        case Sentences():
            return "\n".join(block.sentences)
        case Table():
            rows = [block.heading, ("---",) * len(block.heading), *block.rows]
            return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([*([", ".join(words[:-1])] if words[1:] else []), *words[-1:]])
