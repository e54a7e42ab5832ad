"""label_behind_latent

Compiled by graphvae from label_behind_latent.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import (
    Categorical,
    ContinuousBernoulli,
    Draws,
    Mlp,
    Model,
    Normal,
    Variable,
    positive,
)


class Encoder(nn.Module):
    """q(code, label, style | image)"""

    def __init__(self):
        super().__init__()
        self.code = Mlp({"image": (6,)}, hidden=[32, 32], heads={"loc": (3,), "scale": (3,)})
        self.label = Mlp({"code": (3,)}, hidden=[32, 32], heads={"logits": (4,)})
        self.style = Mlp(
            {"code": (3,), "label": (4,)}, hidden=[32, 32], heads={"loc": (2,), "scale": (2,)}
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        image = draw.given("image")

        loc, scale = self.code(image=image)
        code = draw.sample("code", Normal(loc, positive(scale)))  # label_behind_latent.yaml:12

        logits = self.label(code=code)
        label = draw.enumerate("label", Categorical(logits), axis=0)  # label_behind_latent.yaml:13

        loc, scale = self.style(code=code, label=label)
        draw.sample("style", Normal(loc, positive(scale)))  # label_behind_latent.yaml:14

        return draw.made


class Decoder(nn.Module):
    """p(label, style, code, image)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("label_logits", torch.zeros(4), persistent=False)
        self.code = Mlp(
            {"style": (2,), "label": (4,)}, hidden=[32, 32], heads={"loc": (3,), "scale": (3,)}
        )
        self.image = Mlp(
            {"code": (3,)}, hidden=[16, 16], heads={"logits": (6,)}, activation="softplus"
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        label = draw.sample("label", Categorical(self.label_logits))  # label_behind_latent.yaml:4
        style = draw.sample("style", Normal(0.0, 1.0))  # label_behind_latent.yaml:6

        loc, scale = self.code(style=style, label=label)
        code = draw.sample("code", Normal(loc, positive(scale)))  # label_behind_latent.yaml:9

        logits = self.image(code=code)
        draw.sample("image", ContinuousBernoulli(logits))  # label_behind_latent.yaml:10

        return draw.made


class LabelBehindLatent(Model):
    """p(label, style, code, image), trained through q(code, label, style | image)"""

    variables = {
        "label": Variable("supervised", Categorical, (4,), enumerated=True),
        "style": Variable("latent", Normal, (2,)),
        "code": Variable("latent", Normal, (3,)),
        "image": Variable("observed", ContinuousBernoulli, (6,)),
    }
    label_term = "mean_log"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
