"""Plates: named axes of like slots, which of their slots are active, and where among them a value is made.

In a tensor [enumerations..., sample, row, plate..., event...] the plates stand in one order, and a variable has a dimension for
each of its own. In a loop, which makes one slot after the other, the plate of the loop has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from types import MappingProxyType

import torch
from torch import Tensor

NO_PLATES = MappingProxyType[str, int]({})


@dataclass(frozen=True)
class Plate:
    """A plate as a value meets it: with all its slots at once or, in a loop, with one of them.

    `looped` says that the slots were made one after the other, each with those before it in view.
    """

    name: str
    size: int
    slot: int | None = None
    looped: bool = False


@dataclass(frozen=True)
class Weights:
    """How far each slot is active: numbers from 0 to 1, [..., row, plate...] with the plates in the order of their names."""

    plates: tuple[str, ...]
    value: Tensor

    def over(self, plates: Sequence[str]) -> Tensor:
        """The same with a dimension for each of these plates, in their order."""
        own = [plate for plate in plates if plate in self.plates]
        assert len(own) == len(self.plates), (plates, self.plates)
        value = self.value.movedim([self.plates.index(plate) - len(own) for plate in own], list(range(-len(own), 0)))
        for place in reversed(range(len(plates))):
            if plates[place] not in own:
                value = value.unsqueeze(place - len(plates))
        return value

    def at(self, plate: str, slot: int) -> Weights:
        """Those of one slot of a plate."""
        place = self.plates.index(plate)
        rest = (*self.plates[:place], *self.plates[place + 1 :])
        return Weights(rest, self.value.select(place - len(self.plates), slot))


@dataclass(frozen=True)
class Scope:
    """Where a pass stands among the plates, and in which sub-model.

    The `path` of a sub-model ends with a dot. A variable's plates are the `outer` ones, its own and the `inner` ones. The
    `weights` hold for every variable, and `given` are the values that the sub-model is called with. Enumeration axes are
    counted from `axis`; of each that came up in the pass, `cells` has the known cell [row], or None where the axis is there.
    `kept` are computed values that are read elsewhere, each with the number of its dimensions behind a slot.
    """

    path: str = ""
    outer: tuple[Plate, ...] = ()
    inner: tuple[Plate, ...] = ()
    weights: tuple[Weights, ...] = ()
    given: Mapping[str, Tensor] = field(default_factory=dict)
    axis: int = 0
    cells: dict[int, Tensor | None] = field(default_factory=dict)
    kept: dict[str, tuple[Tensor, int]] = field(default_factory=dict)

    def place(self, own: Mapping[str, int]) -> tuple[Plate, ...]:
        """All plates of a variable with these plates of its own."""
        return (*self.outer, *(Plate(self.path + name, size) for name, size in own.items()), *self.inner)


def spanned(place: Iterable[Plate]) -> tuple[Plate, ...]:
    """The plates for which a value has a dimension."""
    return tuple(plate for plate in place if plate.slot is None)


def pick_slots(tensor: Tensor, place: Sequence[Plate], dimensions: int) -> Tensor:
    """The slots in which loops stand, out of a tensor [..., plate..., and so many dimensions]."""
    for number, plate in enumerate(place):
        if plate.slot is not None:
            tensor = tensor.select(number - len(place) - dimensions, plate.slot)
    return tensor


def stack_slots(slots: Sequence[Tensor], dimensions: int) -> Tensor:
    """Tensors of one slot each as one tensor, with a dimension for the slots in front of so many."""
    padded = [slot.reshape((*(1,) * (dimensions - slot.dim()), *slot.shape)) for slot in slots]
    return torch.stack(torch.broadcast_tensors(*padded), -1 - dimensions)


def active_weights(count: Tensor, values: Sequence[int] | None, size: int) -> Tensor:
    """The weights [..., slot] of slots that are active while their number is below a count.

    The count is a number [...], or a vector [..., category] on the simplex with the number that each category stands for. Of a
    relaxed one, a slot's weight is the sum of those of the categories above it.
    """
    slots = torch.arange(size, device=count.device)
    if values is None:
        return (slots < count.unsqueeze(-1)).to(count.dtype)
    above = torch.tensor(values, device=count.device).unsqueeze(-1) > slots
    return count @ above.to(count.dtype)


def joint_weights(weights: Iterable[Weights], place: Iterable[Plate]) -> Tensor | None:
    """The weights of the slots of all these plates, [..., row, plate...]; nothing where all slots are always active."""
    names = [plate.name for plate in spanned(place)]
    parts = [each.over(names) for each in weights]
    return reduce(torch.mul, parts) if parts else None


def somewhere(mask: Tensor, shape: Sequence[int]) -> Tensor:
    """Whether a mask holds anywhere along the axes that a tensor of this shape does not have, broadcast from the right."""
    for axis in range(1, mask.dim() + 1):
        if axis > len(shape) or shape[-axis] == 1:
            mask = mask.any(-axis, keepdim=True)
    return mask.reshape(mask.shape[max(0, mask.dim() - len(shape)) :])
