"""Block: a mapping of the spec as a pydantic model that refuses unknown keys and knows where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, PrivateAttr, ValidationInfo, model_validator

from graphvae.compiler.errors import Span
from graphvae.compiler.source import Map, Seq


class Block(BaseModel):
    """Frozen, strict, and aware of its place: it keeps the `Map` that it was read from."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)

    _source: Map | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _remember(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        longer = cls.written_out(data)
        if info.context is not None:
            info.context[id(data)] = Seen(cls, longer)
        block = handler(longer)
        if isinstance(longer, Map):
            block._source = longer
        return block

    @classmethod
    def written_out(cls, data: Any) -> Any:
        """The long form of what a person may write short."""
        return data

    @classmethod
    def words(cls) -> list[str]:
        """The keys that a person may write; one that Python keeps for itself has another name in here."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    def span(self, *path: str | int) -> Span | None:
        """Where the value at this path of the block stands; the block itself for no path; None for a default."""
        if not path:
            return self._source.span if self._source is not None else None
        holder, last = _follow(self._source, path[:-1]), path[-1]
        if isinstance(holder, Map):
            return holder.spans.get(str(last))
        inside = isinstance(holder, Seq) and isinstance(last, int) and last < len(holder)
        return holder.spans[last] if inside else None

    def key(self, *path: str | int) -> Span | None:
        """Where the key at this path of the block stands."""
        value = _follow(self._source, path[:-1])
        return value.key_spans.get(str(path[-1])) if isinstance(value, Map) else None


@dataclass(frozen=True)
class Seen:
    """What a block was read as: its class, and its text in the long form."""

    block: type[Block]
    longer: Any


def _follow(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        if isinstance(value, Map) and step in value:
            value = value[str(step)]
        elif isinstance(value, Seq) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value
