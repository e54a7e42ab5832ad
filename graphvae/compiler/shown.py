"""What shows itself in a notebook: a model's picture, and what there is to say of it in a few lines.

Pictures are made by another part of the package, which `graphvae` names here when it is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

from graphvae.compiler.errors import UserError

if TYPE_CHECKING:
    from graphvae.compiler.graph import ModelGraph


class Shown:
    """Something with a graph. In a notebook it is its picture over its summary, and elsewhere the summary alone."""

    picture: ClassVar[Callable[[ModelGraph], str]]

    def _shown(self) -> tuple[ModelGraph, list[str]]:
        """The graph, and lines of text that are said of it."""
        raise NotImplementedError

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What Jupyter asks for; a mistake of a person is said, since a display raises nothing."""
        try:
            graph, lines = self._shown()
        except UserError as error:
            return {"text/plain": str(error)}
        said = "\n".join([graph.spec.model, *filter(None, [graph.spec.description]), *lines])
        picture = Shown.picture(graph)
        return {"text/plain": said, "text/html": f"<div>{picture}</div>\n<pre>{escape(said)}</pre>"}
