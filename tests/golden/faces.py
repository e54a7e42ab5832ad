"""faces: Who it is and where the light comes from, named on a few photographs of each person.

Compiled by graphvae from faces.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import (
    Categorical,
    Conv,
    Deconv,
    Draws,
    Mlp,
    Model,
    Normal,
    Variable,
    positive,
)


class Encoder(nn.Module):
    """q(person, light, reflectance, shading | image)"""

    def __init__(self):
        super().__init__()
        self.seen = Conv({"image": (1, 48, 42)}, channels=[16, 32, 64], hidden=[128], heads={})
        self.person = Mlp({"seen": (128,)}, hidden=[128, 128], heads={"logits": (38,)})
        self.light = Mlp(
            {"seen": (128,), "person": (38,)}, hidden=[256, 256], heads={"loc": (3,), "scale": (3,)}
        )
        self.reflectance = Mlp(
            {"seen": (128,), "light": (3,), "person": (38,)},
            hidden=[256, 256],
            heads={"loc": (16,), "scale": (16,)},
        )
        self.shading = Mlp(
            {"seen": (128,), "light": (3,), "person": (38,), "reflectance": (16,)},
            hidden=[256, 256],
            heads={"loc": (16,), "scale": (16,)},
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        image = draw.given("image")

        seen = self.seen(image=image)  # faces.yaml:18

        logits = self.person(seen=seen)
        person = draw.enumerate("person", Categorical(logits), axis=0)  # faces.yaml:19

        loc, scale = self.light(seen=seen, person=person)
        light = draw.sample("light", Normal(loc, positive(scale, floor=0.01)))  # faces.yaml:20

        loc, scale = self.reflectance(seen=seen, light=light, person=person)
        reflectance = draw.sample("reflectance", Normal(loc, positive(scale)))  # faces.yaml:21

        loc, scale = self.shading(seen=seen, light=light, person=person, reflectance=reflectance)
        draw.sample("shading", Normal(loc, positive(scale)))  # faces.yaml:22

        return draw.made


class Decoder(nn.Module):
    """p(light, person, reflectance, shading, image)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("person_logits", torch.zeros(38), persistent=False)
        self.image = Deconv(
            {"person": (38,), "light": (3,), "shading": (16,), "reflectance": (16,)},
            hidden=[256],
            channels=[16, 8, 4],
            heads={"loc": (1, 48, 42)},
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        light = draw.sample("light", Normal(0.0, 1.0))  # faces.yaml:6
        person = draw.sample("person", Categorical(self.person_logits))  # faces.yaml:5
        reflectance = draw.sample("reflectance", Normal(0.0, 1.0))  # faces.yaml:8
        shading = draw.sample("shading", Normal(0.0, 1.0))  # faces.yaml:7

        loc = self.image(person=person, light=light, shading=shading, reflectance=reflectance)
        draw.sample("image", Normal(loc, 0.1, event=3))  # faces.yaml:12

        return draw.made


class Faces(Model):
    """p(light, person, reflectance, shading, image),
    trained through q(person, light, reflectance, shading | image)
    """

    variables = {
        "light": Variable("supervised", Normal, (3,)),
        "person": Variable("supervised", Categorical, (38,), enumerated=True),
        "reflectance": Variable("latent", Normal, (16,)),
        "shading": Variable("latent", Normal, (16,)),
        "image": Variable("observed", Normal, (1, 48, 42)),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
