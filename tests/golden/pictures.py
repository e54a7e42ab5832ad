"""pictures

Compiled by graphvae from pictures.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import (
    Categorical,
    Conv,
    Deconv,
    Draws,
    Model,
    Normal,
    Residual,
    Variable,
    positive,
)


class Encoder(nn.Module):
    """q(kind, sketch, light | depth, dose, photo)"""

    def __init__(self):
        super().__init__()
        self.trunk = Conv(
            {"photo": (2, 7, 5), "depth": (1, 5, 5), "depth_known": (1, 5, 5), "dose": ()},
            channels=[3, 4],
            hidden=[7],
            heads={},
            dropout=0.1,
            normalisation="batch",
        )
        self.kind = Conv(
            {"trunk": (7,), "photo": (2, 7, 5)}, channels=[16], hidden=[128], heads={"logits": (3,)}
        )
        self.sketch = Residual(
            {"photo": (2, 7, 5), "kind": (3,)},
            hidden=[6, 6, 6],
            heads={"loc": (1, 4, 3), "scale": (1, 4, 3)},
            activation="gelu",
            normalisation="layer",
        )
        self.light = Conv(
            {"sketch": (1, 4, 3), "trunk": (7,), "kind": (3,), "photo": (2, 7, 5)},
            channels=[3],
            hidden=[],
            heads={"loc": (3,), "scale": (3,)},
            normalisation="layer",
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        depth, depth_known = draw.masked("depth")
        dose = draw.given("dose")
        photo = draw.given("photo")

        trunk = self.trunk(
            photo=photo, depth=depth, depth_known=depth_known, dose=dose
        )  # pictures.yaml:18

        logits = self.kind(trunk=trunk, photo=photo)
        kind = draw.enumerate("kind", Categorical(logits), axis=0)  # pictures.yaml:19

        loc, scale = self.sketch(photo=photo, kind=kind)
        sketch = draw.sample("sketch", Normal(loc, positive(scale), event=3))  # pictures.yaml:20

        loc, scale = self.light(sketch=sketch, trunk=trunk, kind=kind, photo=photo)
        draw.sample("light", Normal(loc, positive(scale)))  # pictures.yaml:21

        return draw.made


class Decoder(nn.Module):
    """p(kind, light, sketch, depth, photo | dose)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("kind_logits", torch.zeros(3), persistent=False)
        self.sketch = Deconv(
            {"kind": (3,)},
            hidden=[6],
            channels=[4],
            heads={"loc": (1, 4, 3), "scale": (1, 4, 3)},
            normalisation="layer",
        )
        self.albedo = Deconv(
            {"light": (3,), "sketch": (1, 4, 3)},
            hidden=[],
            channels=[3, 4],
            heads={"value": (2, 5, 5)},
            activation="tanh",
            dropout=0.1,
        )
        self.depth = Deconv(
            {"albedo": (2, 5, 5), "dose": ()}, hidden=[64], channels=[16], heads={"loc": (1, 5, 5)}
        )
        self.depth_scale = nn.Parameter(torch.zeros(1, 5, 5))
        self.photo = Deconv(
            {"light": (3,), "sketch": (1, 4, 3), "kind": (3,)},
            hidden=[8],
            channels=[4, 3],
            heads={"loc": (2, 7, 5), "scale": (2, 7, 5)},
            normalisation="batch",
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        dose = draw.given("dose")

        kind = draw.sample("kind", Categorical(self.kind_logits))  # pictures.yaml:5
        light = draw.sample("light", Normal(0.0, 1.0))  # pictures.yaml:6

        loc, scale = self.sketch(kind=kind)
        sketch = draw.sample("sketch", Normal(loc, positive(scale), event=3))  # pictures.yaml:13

        albedo = self.albedo(light=light, sketch=sketch)  # pictures.yaml:14

        loc = self.depth(albedo=albedo, dose=dose)
        draw.sample("depth", Normal(loc, positive(self.depth_scale), event=3))  # pictures.yaml:16

        loc, scale = self.photo(light=light, sketch=sketch, kind=kind)
        draw.sample("photo", Normal(loc, positive(scale), event=3))  # pictures.yaml:15

        return draw.made


class Pictures(Model):
    """p(kind, light, sketch, depth, photo | dose),
    trained through q(kind, sketch, light | depth, dose, photo)
    """

    variables = {
        "dose": Variable("given", Normal, ()),
        "kind": Variable("supervised", Categorical, (3,), enumerated=True),
        "light": Variable("latent", Normal, (3,)),
        "sketch": Variable("latent", Normal, (1, 4, 3)),
        "depth": Variable("observed", Normal, (1, 5, 5), masked=True),
        "photo": Variable("observed", Normal, (2, 7, 5)),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
