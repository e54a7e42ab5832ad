"""Grids over a spec's settings, `KEY=V1,V2,...`: their points, the settings of each, and readable names.

A value is kept as the text that a person wrote, so that a point is laid over a spec as `--set` lays it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from graphvae.compiler.errors import FlagError, visible
from graphvae.compiler.settings import override
from graphvae.compiler.source import Map, Source, read_value

Grid = Mapping[str, Sequence[str]]  # the texts of a key's values
Point = Mapping[str, str]

EXAMPLES = {"--grid": "--grid training.learning_rate=1e-3,1e-2", "--search": "--search training.learning_rate=1e-4..1e-2:log"}
SEEDED = ("training.seeds.init", "training.seeds.order", "training.seeds.noise")
RESERVED = ("seed", "trial")  # what names of runs use for themselves
LENGTH = 120  # of the part of a name that a point gives
_UNSAFE = re.compile(r"[^A-Za-z0-9.+-]+")


def parse_grid(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The texts of each key's values.

    >>> parse_grid(["q.digit.network.hidden=[256],[256, 256]"])
    {'q.digit.network.hidden': ('[256]', '[256, 256]')}

    Raises:
        FlagError: For what is not KEY=V1,V2,..., and for a key or a value that stands twice.
        SpecError: For values that are not YAML.
    """
    return {key: parse_values(key, values, "--grid") for key, values in split_flags(texts, "--grid").items()}


def split_flags(texts: Sequence[str], flag: str) -> dict[str, str]:
    """What stands behind each key's sign of equality.

    Raises:
        FlagError: For what is not KEY=VALUES, and for a key that stands twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, _, values = text.partition("=")
        if not all(key.split(".")) or not values.strip() or len(text.splitlines()) > 1:
            raise FlagError.of("GV501", f"'{visible(text)}' is not KEY=VALUES", hint=f"as in {EXAMPLES[flag]}")
        if key in found:
            raise FlagError.of("GV501", f"'{visible(key)}' stands in {flag} twice", hint="write all its values behind one key")
        found[key] = values
    return found


def parse_values(key: str, values: str, flag: str) -> tuple[str, ...]:
    """The texts of the values `V1,V2,...` of a key.

    Raises:
        FlagError: For a value that stands twice.
        SpecError: For values that are not YAML.
    """
    found, _ = read_value(f"[{values}]", flag, before=f"{key}=")
    texts = [span.text[span.column - 1 : span.end_column - 1] for span in found.spans]
    for index, value in enumerate(found):
        if value in found[:index]:
            raise FlagError.of("GV501", f"'{key}' has the value {visible(texts[index])} twice", found.spans[index])
    return tuple(texts)


def points(grid: Grid) -> list[Point]:
    """Every combination of the values, the last key running fastest.

    >>> points({"a": ["1", "2"], "b": ["x"]})
    [{'a': '1', 'b': 'x'}, {'a': '2', 'b': 'x'}]
    """
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def point_settings(point: Point) -> list[str]:
    """A point as `KEY=VALUE` settings."""
    return [f"{key}={value}" for key, value in point.items()]


def seed_settings(source: Source, settings: Sequence[str], seed: int) -> list[str]:
    """The settings that give one seed to every draw of labels, the initial weights, the order of rows and the noise.

    Args:
        source: The spec's text.
        settings: What is laid over it, and decides which draws there are.
        seed: The seed.
    """
    labels = override(source, settings).root.get("data", {}).get("labels")
    draws = [f"data.labels={json.dumps(_with_seed(labels, seed), ensure_ascii=False)}"] if labels else []
    return draws + [f"{key}={seed}" for key in SEEDED]


def is_seed(key: str) -> bool:
    """Whether a key is one that `seed_settings` sets."""
    return f"{key}.".startswith("training.seeds.") or (key.startswith("data.labels.") and key.endswith(".seed"))


def short_names(keys: Sequence[str]) -> list[str]:
    """The shortest ending of each key that no other key has.

    >>> short_names(["q.digit.network.hidden", "q.style.network.hidden", "data.labels.digit.rows"])
    ['digit.network.hidden', 'style.network.hidden', 'rows']
    """
    return [_short_name(key, keys) for key in keys]


def run_names(runs: Sequence[tuple[Point, int | None]]) -> list[str]:
    """A readable name for each point and seed, unique and safe in any file system.

    >>> run_names([({"q.digit.network.hidden": "[256, 256]"}, seed) for seed in (0, 1)])
    ['hidden=256_256,seed=0', 'hidden=256_256,seed=1']
    """
    names: list[str] = []
    for point, seed in runs:
        pairs = zip(short_names(list(point)), point.values(), strict=True)
        start = ",".join(f"{_safe(key)}={_safe(value)}" for key, value in pairs)[:LENGTH]
        end = "" if seed is None else f"{',' * bool(start)}seed={seed}"
        taken = {name.casefold() for name in names}
        numbered = (f"{start}{number}{end}" for number in ("", *(f"_{number}" for number in range(2, len(runs) + 2))))
        names.append(next(name for name in numbered if name.casefold() not in taken))
    return names


def _with_seed(labels: Any, seed: int) -> Any:
    """The draws of labels, by variable or as a list, with another seed each."""
    if isinstance(labels, Map):
        return {name: draw | {"seed": seed} for name, draw in labels.items()}
    return [draw | {"seed": seed} for draw in labels]


def _short_name(key: str, keys: Sequence[str]) -> str:
    parts = key.split(".")
    endings = [".".join(parts[start:]) for start in reversed(range(len(parts)))]
    own = (ending for ending in endings if sum(f".{other}".endswith(f".{ending}") for other in keys) == 1)
    return next((ending for ending in own if ending not in RESERVED), key)


def _safe(text: str) -> str:
    return _UNSAFE.sub("_", text).strip("_")
