"""faces_intrinsic: A face as its shape and its skin, lit from one side, after Lambert.

Compiled by graphvae from faces_intrinsic.yaml.
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
    normalise,
    positive,
)


class Encoder(nn.Module):
    """q(person, light, form, skin | image)"""

    def __init__(self):
        super().__init__()
        self.seen = Conv({"image": (1, 48, 42)}, channels=[16, 32, 64], hidden=[128], heads={})
        self.person = Mlp({"seen": (128,)}, hidden=[128, 128], heads={"logits": (38,)})
        self.light = Mlp(
            {"seen": (128,), "person": (38,)}, hidden=[256, 256], heads={"loc": (3,), "scale": (3,)}
        )
        self.form = Mlp(
            {"seen": (128,), "light": (3,), "person": (38,)},
            hidden=[256, 256],
            heads={"loc": (8,), "scale": (8,)},
        )
        self.skin = Mlp(
            {"seen": (128,), "light": (3,), "person": (38,), "form": (8,)},
            hidden=[256, 256],
            heads={"loc": (8,), "scale": (8,)},
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        image = draw.given("image")

        seen = self.seen(image=image)  # faces_intrinsic.yaml:18

        logits = self.person(seen=seen)
        person = draw.enumerate("person", Categorical(logits), axis=0)  # faces_intrinsic.yaml:19

        loc, scale = self.light(seen=seen, person=person)
        light = draw.sample(
            "light", Normal(loc, positive(scale, floor=0.01))
        )  # faces_intrinsic.yaml:20

        loc, scale = self.form(seen=seen, light=light, person=person)
        form = draw.sample("form", Normal(loc, positive(scale)))  # faces_intrinsic.yaml:21

        loc, scale = self.skin(seen=seen, light=light, person=person, form=form)
        draw.sample("skin", Normal(loc, positive(scale)))  # faces_intrinsic.yaml:22

        return draw.made


class Decoder(nn.Module):
    """p(form, light, person, skin, image)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("person_logits", torch.zeros(38), persistent=False)
        self.normals = Deconv(
            {"person": (38,), "form": (8,)},
            hidden=[256],
            channels=[16, 8, 4],
            heads={"value": (3, 48, 42)},
        )
        self.albedo = Deconv(
            {"person": (38,), "skin": (8,)},
            hidden=[256],
            channels=[16, 8, 4],
            heads={"value": (1, 48, 42)},
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        form = draw.sample("form", Normal(0.0, 1.0))  # faces_intrinsic.yaml:7
        light = draw.sample("light", Normal(0.0, 1.0))  # faces_intrinsic.yaml:6
        person = draw.sample("person", Categorical(self.person_logits))  # faces_intrinsic.yaml:5

        network = self.normals(person=person, form=form)
        normals = normalise(network, -3)  # faces_intrinsic.yaml:12

        shading = (
            torch.relu((normals * normalise(light, -1)[..., None, None]).sum(-3))
        )  # faces_intrinsic.yaml:14

        skin = draw.sample("skin", Normal(0.0, 1.0))  # faces_intrinsic.yaml:8

        network = self.albedo(person=person, skin=skin)
        albedo = torch.sigmoid(network)  # faces_intrinsic.yaml:13

        loc = albedo * shading.unsqueeze(-3)
        draw.sample("image", Normal(loc, 0.1, event=3))  # faces_intrinsic.yaml:15

        return draw.made


class FacesIntrinsic(Model):
    """p(form, light, person, skin, image), trained through q(person, light, form, skin | image)"""

    variables = {
        "form": Variable("latent", Normal, (8,)),
        "light": Variable("supervised", Normal, (3,)),
        "person": Variable("supervised", Categorical, (38,), enumerated=True),
        "skin": Variable("latent", Normal, (8,)),
        "image": Variable("observed", Normal, (1, 48, 42)),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
