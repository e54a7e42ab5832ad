"""Names from the spec as names in Python."""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Iterable


class Namespace:
    """Unique, readable Python names, one for each name it is asked for.

    `glyph.digit` never meets `glyph_digit`, a keyword or a reserved name gets a number, and the order of asking decides who
    keeps the plain name.

    >>> names = Namespace(reserved=["forward"])
    >>> [names.create_name(name) for name in ("glyph_digit", "glyph.digit", "class", "forward", "_x", "_1")]
    ['glyph_digit', 'glyph_digit_2', 'class_2', 'forward_2', 'x', 'variable_1']
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._taken = {*keyword.kwlist, *reserved}

    def create_name(self, name: str) -> str:
        plain = _identifier(name)
        candidate, number = plain, 1
        while candidate in self._taken:
            number += 1
            candidate = f"{plain}_{number}"
        self._taken.add(candidate)
        return candidate


def local_name(name: str, path: str) -> str:
    """A name as the sub-model at a path knows it; "" is the path of the model itself.

    >>> local_name("glyph.digit", "glyph"), local_name("slot", "glyph"), local_name("glyph.digit", "")
    ('digit', 'slot', 'glyph.digit')
    """
    return name.removeprefix(f"{path}.") if path else name


def _identifier(name: str) -> str:
    """A name as an identifier in Python's normal form, without leading underscores, which mean something to Python."""
    normal = unicodedata.normalize("NFKC", name)
    plain = "".join(letter if f"x{letter}".isidentifier() else "_" for letter in normal).lstrip("_")
    return plain if plain.isidentifier() else f"variable_{plain}".rstrip("_")


# What every emitted file calls its own parts.
PARTS = ("Encoder", "Decoder", "Draws", "Model", "Variable", "positive", "unit", "torch", "nn")

# The names that an emitted `forward` uses for itself.
LOCALS = ("self", "draw", "evidence", "noise", "knobs", "torch", "nn", "super")

# The public attributes of torch's nn.Module; a test compares them, since the compiler never loads torch.
_MODULE_ATTRIBUTES = """
    T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda double dump_patches
    eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu load_state_dict
    modules mtia named_buffers named_children named_modules named_parameters parameters register_backward_hook
    register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_load_state_dict_post_hook register_load_state_dict_pre_hook
    register_module register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_
    set_extra_state set_submodule share_memory state_dict to to_empty train training type xpu zero_grad
"""
MODULE_ATTRIBUTES = frozenset(_MODULE_ATTRIBUTES.split())
