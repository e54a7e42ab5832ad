"""Functions of expressions that torch does not have by itself: reductions over slots, unit vectors, the spatial transformer.

A dimension is counted from the right, since the axes on the left come and go.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

LEAST_SCALE = 0.25  # a window is at most four times as long as the canvas
SHARPNESS = 20.0  # of the bend: half a unit above the least scale it adds less than 1e-5
LEAST_LENGTH = 1e-8  # of what has a direction


def sum_over(value: Tensor, dim: int, active: Tensor) -> Tensor:
    """The sum over the slots in a dimension; `active` are their weights, which broadcast against the value.

    What is in a slot of weight 0 has no influence, be it infinite.

    >>> sum_over(torch.tensor([1.0, 2.0, torch.nan]), -1, torch.tensor([1.0, 1.0, 0.0]))
    tensor(3.)
    """
    return (active * torch.where(active > 0, value, 0.0)).sum(dim)


def mean_over(value: Tensor, dim: int, active: Tensor) -> Tensor:
    """The mean over the active slots in a dimension; 0 where there are none."""
    weight = active.expand(torch.broadcast_shapes(active.shape, value.shape)).sum(dim)
    return sum_over(value, dim, active) / weight.clamp_min(torch.finfo(value.dtype).tiny)


def max_over(value: Tensor, dim: int, active: Tensor) -> Tensor:
    """The largest of the active slots in a dimension; 0 where there are none."""
    there = active > 0
    return torch.where(there.any(dim), torch.where(there, value, -torch.inf).amax(dim), 0.0)


def product_over(value: Tensor, dim: int, active: Tensor) -> Tensor:
    """The product of the active slots in a dimension; 1 where there are none, and a slot of weight w has 1 + w (value - 1)."""
    return (1 + active * (torch.where(active > 0, value, 1.0) - 1)).prod(dim)


def normalise(value: Tensor, dim: int) -> Tensor:
    """A value divided by its length along a dimension; 0 has no direction, and stays 0, with a gradient of 0.

    >>> normalise(torch.tensor([3.0, 4.0]), -1)
    tensor([0.6000, 0.8000])
    """
    length = torch.linalg.vector_norm(value, dim=dim, keepdim=True)
    return torch.where(length > LEAST_LENGTH, value / length.clamp_min(LEAST_LENGTH), 0.0)


def paste(window: Tensor, place: Tensor, height: int, width: int) -> Tensor:
    """A window on an empty canvas: the writing spatial transformer (Jaderberg et al. 2015; Eslami et al. 2016).

    With (s, a, b) = place, the canvas shows at (x, y) what the window has at (s x + a, s y + b), and 0 where that lies outside.
    Coordinates run from -1 to 1 between the outer edges of the first and the last pixel (`align_corners=False`), x to the right
    and y downwards; so the window is 1 / s of the canvas's length. A scale below 0.25 is bent above it.

    Args:
        window: [..., channel, height, width].
        place: [..., 3], whose leading axes broadcast against the window's.
        height: The canvas's, in pixels.
        width: The canvas's, in pixels.

    >>> paste(torch.ones(1, 2, 2), torch.tensor([2.0, 0.0, 0.0]), 4, 4)[0, 1]
    tensor([0., 1., 1., 0.])
    """
    scale, x, y = bent(place).unbind(-1)
    return sampled_at(window, scale, x, y, height, width)


def crop(canvas: Tensor, place: Tensor, height: int, width: int) -> Tensor:
    """The window of a canvas: the reading spatial transformer, which undoes `paste` up to interpolation.

    The window shows at (u, v) what the canvas has at ((u - a) / s, (v - b) / s), and 0 where that lies outside.

    Args:
        canvas: [..., channel, height, width].
        place: [..., 3], whose leading axes broadcast against the canvas's.
        height: The window's, in pixels.
        width: The window's, in pixels.

    >>> crop(torch.ones(1, 4, 4), torch.tensor([2.0, 0.0, 0.0]), 2, 2)[0, 0]
    tensor([1., 1.])
    """
    scale, x, y = bent(place).unbind(-1)
    return sampled_at(canvas, 1 / scale, -x / scale, -y / scale, height, width)


def bent(place: Tensor) -> Tensor:
    """A place whose scale lies above the least: it bends towards it from half a unit above, and has a gradient everywhere."""
    scale = LEAST_SCALE + functional.softplus(SHARPNESS * (place[..., :1] - LEAST_SCALE)) / SHARPNESS
    return torch.cat([scale, place[..., 1:]], -1)


def sampled_at(picture: Tensor, scale: Tensor, x: Tensor, y: Tensor, height: int, width: int) -> Tensor:
    """A picture [..., channel, height, width] seen at (scale * x' + x, scale * y' + y) by every pixel (x', y') of a new one."""
    columns, rows = centres(width, picture), centres(height, picture)
    u = (scale[..., None] * columns + x[..., None]).unsqueeze(-2)
    v = (scale[..., None] * rows + y[..., None]).unsqueeze(-1)
    grid = torch.stack(torch.broadcast_tensors(u, v), -1)
    leading = torch.broadcast_shapes(picture.shape[:-3], grid.shape[:-3])
    seen = functional.grid_sample(
        picture.expand(*leading, *picture.shape[-3:]).reshape(-1, *picture.shape[-3:]),
        grid.expand(*leading, *grid.shape[-3:]).reshape(-1, *grid.shape[-3:]),
        padding_mode="zeros",
        align_corners=False,
    )
    return seen.reshape(*leading, *seen.shape[1:])


def centres(pixels: int, like: Tensor) -> Tensor:
    """The coordinates of the centres of pixels, from edge to edge -1 to 1."""
    return (2 * torch.arange(pixels, dtype=like.dtype, device=like.device) + 1) / pixels - 1


def concatenated(*parts: Tensor, dim: int) -> Tensor:
    """Values joined along a dimension; all others broadcast.

    >>> concatenated(torch.zeros(5, 2), torch.zeros(3), dim=-1).shape
    torch.Size([5, 5])
    """
    moved = [part.movedim(dim, -1) for part in parts]
    leading = torch.broadcast_shapes(*(part.shape[:-1] for part in moved))
    return torch.cat([part.expand(*leading, part.shape[-1]) for part in moved], -1).movedim(-1, dim)


def as_channels(*parts: Tensor | float, dim: int) -> Tensor:
    """Values and numbers as one value, beside each other in a new dimension; all others broadcast.

    >>> as_channels(torch.tensor([1.0, 2.0]), 0.5, dim=-1)
    tensor([[1.0000, 0.5000],
            [2.0000, 0.5000]])
    """
    like = next(part for part in parts if isinstance(part, Tensor))
    tensors = [part if isinstance(part, Tensor) else like.new_tensor(part) for part in parts]
    return torch.stack(torch.broadcast_tensors(*tensors), dim)


def stretched(value: Tensor, event: Sequence[int]) -> Tensor:
    """A value [..., event...], with some axes of size 1, as one whose event has this shape.

    >>> stretched(torch.zeros(5, 1, 2), (3, 2)).shape
    torch.Size([5, 3, 2])
    """
    return value.expand(*value.shape[: value.dim() - len(event)], *event)
