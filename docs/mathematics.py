"""A hook of MkDocs: formulas become MathML when the site is built, so that reading them loads no script and no font."""

from __future__ import annotations

import re
from html import unescape

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL)


def on_page_content(html: str, **_: object) -> str:
    """A page with `$inline$` and `$$display$$` formulas as MathML; `pymdownx.arithmatex` has marked them."""
    return FORMULA.sub(_mathml, html)


def _mathml(found: re.Match[str]) -> str:
    display = "inline" if found["tag"] == "span" else "block"
    return convert(unescape(found["tex"]).strip(), display=display)
