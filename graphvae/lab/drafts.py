"""A first spec for a person's own data: look at its columns, choose a family for each, say why. The verb is `draft`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from graphvae.compiler.errors import DataError, InternalError, SpecError
from graphvae.compiler.names import Namespace
from graphvae.compiler.resolve import resolve
from graphvae.compiler.source import MAX_BYTES, is_text, read_text
from graphvae.compiler.spec import parse
from graphvae.lab.profiles import Column, Profile, profile
from graphvae.lab.sources import source_of

WIDTH = 120  # of a line
TEST = 0.2  # of the rows
BATCHES = (128, 64, 32, 16, 8)
STEPS = 10  # of an epoch, at least


@dataclass(frozen=True)
class Choice:
    """A variable for one column or for several of a kind, and what a comment says of it."""

    name: str
    columns: tuple[Column, ...]
    family: str
    comment: str
    supervised: bool = False
    transform: str = ""

    @property
    def elements(self) -> int:
        return sum(max(1, prod(column.shape)) for column in self.columns)

    @property
    def masked(self) -> bool:
        return not self.supervised and any(column.empty for column in self.columns)

    def declared(self) -> str:
        """What stands under `variables`."""
        first, parts = self.columns[0], [f"distribution: {self.family}"]
        if first.kind == "categories":
            parts.append(f"categories: {first.classes}")
        if len(self.columns) > 1 or len(first.shape) == 1:
            parts.append(f"size: {self.elements}")
        elif first.shape:
            parts.append(f"shape: {list(first.shape)}")
        parts.append(f"role: {'supervised' if self.supervised else 'observed'}")
        return f"{{{', '.join([*parts, 'missing: mask'] if self.masked else parts)}}}"


def draft(path: Path, output: Path | None = None) -> str:
    """The text of a spec for a table or a folder of pictures, which checks and trains.

    Args:
        path: The file or the folder.
        output: Where the spec will stand, from which it names the data; None for here.

    Raises:
        DataError: If the data cannot be read, or nothing in it varies from row to row.
    """
    source = source_of(path)
    found = profile(path, source)
    choices = _choices(found.columns, pictures=source == "images")
    if all(choice.supervised for choice in choices):
        hint = "\n".join(f"left out: {line}" for line in found.left_out[:12])
        raise DataError.of("GV304", f"nothing in {path} is a number that varies, or one of few classes", hint=hint)
    text = _written(path, source, output, found, choices)
    if len(text.encode()) > MAX_BYTES:
        hint = "numbers of a kind may stand in one array of an .npz file, or in lists of a .parquet file"
        raise DataError.of("GV304", f"{path} has more columns than fit into a spec of {MAX_BYTES:,} bytes", hint=hint)
    try:
        resolve(parse(read_text(text, str(output or "spec.yaml"))))
    except SpecError as error:
        raise InternalError(f"the spec that was drafted does not check:\n{error}") from error
    return text


def _choices(columns: Sequence[Column], pictures: bool) -> list[Choice]:
    """The variables: labels first, then each with classes, then the rest together by kind."""
    names, found = Namespace(["code"]), list[Choice]()
    for column in columns:
        if column.label or (pictures and column.kind in ("categories", "switch")):
            found.append(_label(column, names))
    seen = [column for column in columns if column.name not in {choice.columns[0].name for choice in found}]
    for column in seen:
        if column.kind in ("categories", "array", "picture"):
            found.append(_alone(column, names))
    together = (("switch", "bernoulli", "switches"), ("count", "poisson", "counts"), ("number", "normal", "numbers"))
    for kind, family, called in together:
        if same := tuple(column for column in seen if column.kind == kind):
            name = names.create_name(called if len(same) > 1 else same[0].name)
            found.append(Choice(name, same, family, _TOGETHER[family], transform="standardise" if family == "normal" else ""))
    return found


_TOGETHER = {
    "bernoulli": "0 or 1, true or false, yes or no",
    "poisson": "small whole numbers, about as spread as counts are; more spread ones are negative_binomial",
    "normal": "numbers; what is never negative may be gamma or log_normal, without 'standardise', as a variable of its own",
}


def _label(column: Column, names: Namespace) -> Choice:
    family = "categorical" if column.kind == "categories" else "bernoulli"
    comment = f"empty in {column.empty:.0%} of the rows, where it is inferred" if column.empty else "known in all rows"
    return Choice(names.create_name(column.name), (column,), family, comment, supervised=True)


def _alone(column: Column, names: Namespace) -> Choice:
    if column.kind == "categories":
        comment = f"{column.classes} classes; to infer it where it is empty, write role: supervised, and a draw in data.labels"
        return Choice(names.create_name(column.name), (column,), "categorical", comment)
    comments = {
        "bernoulli": "0 and 1 throughout",
        "continuous_bernoulli": "between 0 and 1; {distribution: bernoulli, soft: true} is usual too, and claims no density",
        "normal": "numbers of any size",
    }
    name = names.create_name(column.name)
    return Choice(name, (column,), column.family, comments[column.family], transform=column.transform)


def _written(path: Path, source: str, output: Path | None, found: Profile, choices: Sequence[Choice]) -> str:
    labels = [choice.name for choice in choices if choice.supervised]
    observed = [choice.name for choice in choices if not choice.supervised]
    size = min(16, max(2, sum(choice.elements for choice in choices) // 4))
    lines = [
        f"# Drafted by graphvae from {found.rows:,} rows. What follows is a beginning: change what you know better.",
        "",
        f"model: {Namespace().create_name(path.resolve().stem)}",
        f"description: {_quoted(f'What the rows of {path.name} have in common.')}",
        "",
        "variables:",
        *_paragraphs(choices, lambda choice: f"  {choice.name}: {choice.declared()}"),
        "  # latent: a few numbers that say what a row is like; more of them fit more",
        f"  code: {{distribution: normal, size: {size}}}",
        "",
        f"p:  # how a row comes about: p({', '.join([*observed, *labels, 'code'])})",
        *(f"  {choice.name}: {_factor(choice, [*labels, 'code'])}" for choice in choices if not choice.supervised),
        "",
        f"q:  # what is inferred from a row: q({', '.join([*labels, 'code'])} | {', '.join(observed)})",
        *(f"  {label}: {_flow(observed)}" for label in labels),
        f"  code: {_flow([*observed, *labels])}",
        "",
        *(["objective: {alpha: auto, supervision_rate: 0.5}  # half of a batch is labelled rows", ""] if labels else []),
        "data:",
        f"  source: {source}",
        f"  path: {_quoted(_from(output, path))}",
        *_columns(choices, found.left_out),
        "  # or by a column, {column: fold, test: [test]}, or by whole groups, {test: 0.2, by: person, seed: 0}",
        f"  split: {{test: {TEST}, seed: 0}}",
        "",
        *_training(found.rows, _unlabelled(choices)),
    ]
    return "\n".join(lines) + "\n"


def _training(rows: int, unlabelled: float) -> Iterator[str]:
    """The last block: batches so large that an epoch has its steps, and the smallest for a table that is smaller still.

    An epoch is a pass over the rows without a label, a share of all, which are half of a batch; or over all, if there are none.
    """
    shown = rows * (1 - TEST) * (2 * unlabelled or 1)
    size = next((size for size in BATCHES if shown >= STEPS * size), BATCHES[-1])
    over = f", a pass over the rows{' without a label' * bool(unlabelled)},"
    power = f"the largest power of two from {BATCHES[-1]} to {BATCHES[0]}"
    yield f"# batch_size: {power} with which an epoch{over} has {STEPS} steps"
    yield f"training: {{epochs: 100, batch_size: {size}, learning_rate: 1e-3}}"


def _unlabelled(choices: Sequence[Choice]) -> float:
    """The share of the rows that have no label, as far as one can tell from each column by itself."""
    return min((choice.columns[0].empty for choice in choices if choice.supervised), default=0.0)


def _paragraphs(choices: Sequence[Choice], line: Callable[[Choice], str]) -> Iterator[str]:
    for choice in choices:
        yield f"  # {choice.comment}"
        yield line(choice)


def _factor(choice: Choice, parents: Sequence[str]) -> str:
    if choice.family == "normal":
        return f"{{parents: [{', '.join(parents)}], parameters: {{scale: learned}}}}"
    return _flow(parents)


def _columns(choices: Sequence[Choice], left_out: Sequence[str]) -> Iterator[str]:
    """The rest of the data block: columns, names, transforms, labels."""
    for line in left_out:
        yield f"  # left out: {line}"
    yield "  columns:"
    for choice in choices:
        names = [column.name for column in choice.columns]
        yield f"    {choice.name}: {_flow(names) if len(names) > 1 else _quoted(names[0])}"
    if any(choice.columns[0].names for choice in choices):
        yield "  categories:"
        yield from (f"    {row.name}: {_flow(row.columns[0].names)}" for row in choices if row.columns[0].names)
    if any(choice.transform for choice in choices):
        yield "  transforms:"
        yield from (f"    {choice.name}: {choice.transform}" for choice in choices if choice.transform)
    labels = [choice.name for choice in choices if choice.supervised]
    if labels:
        yield "  labels:  # every row that has one; {rows: 100, balanced: true} reveals fewer, of each class as many"
        yield from (f"    {name}: {{fraction: 1.0}}" for name in labels)


def _flow(words: Sequence[str]) -> str:
    """A list, on as many lines as it needs."""
    lines = [""]
    for word in map(_quoted, words):
        if len(lines[-1]) + len(word) > WIDTH - 30:
            lines.append("      ")
        lines[-1] += f"{word}, "
    return f"[{chr(10).join(line.rstrip() for line in lines).removesuffix(',')}]"


def _quoted(text: str) -> str:
    """A text as YAML, in quotes unless it is a plain word."""
    plain = re.fullmatch(r"(\.\./)*[^\W\d]\w*([./-]\w+)*", text) and is_text(text)
    return text if plain else json.dumps(text, ensure_ascii=not text.isprintable())


def _from(output: Path | None, path: Path) -> str:
    """The path of the data from the folder of the spec."""
    folder = output.parent if output else Path()
    return Path(os.path.relpath(path, folder)).as_posix()
