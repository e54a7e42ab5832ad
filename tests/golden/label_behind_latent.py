"""label_behind_latent: Which digit it is, named on a hundred images, read off a code of the image.

Compiled by graphvae from label_behind_latent.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import Bernoulli, Categorical, Draws, Mlp, Model, Normal, Variable, positive


class Encoder(nn.Module):
    """q(code, digit, style | image)"""

    def __init__(self):
        super().__init__()
        self.code = Mlp(
            {"image": (1, 28, 28)},
            hidden=[256],
            heads={"loc": (20,), "scale": (20,)},
            normalisation="batch",
        )
        self.digit = Mlp(
            {"code": (20,)},
            hidden=[256, 256],
            heads={"logits": (10,)},
            dropout=0.3,
            normalisation="batch",
        )
        self.style = Mlp(
            {"code": (20,), "digit": (10,)},
            hidden=[256],
            heads={"loc": (5,), "scale": (5,)},
            normalisation="batch",
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        image = draw.given("image")

        loc, scale = self.code(image=image)
        code = draw.sample("code", Normal(loc, positive(scale)))  # label_behind_latent.yaml:17

        logits = self.digit(code=code)
        digit = draw.enumerate("digit", Categorical(logits), axis=0)  # label_behind_latent.yaml:18

        loc, scale = self.style(code=code, digit=digit)
        draw.sample("style", Normal(loc, positive(scale)))  # label_behind_latent.yaml:19

        return draw.made


class Decoder(nn.Module):
    """p(digit, style, code, image)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("digit_logits", torch.zeros(10), persistent=False)
        self.code = Mlp(
            {"digit": (10,), "style": (5,)},
            hidden=[256],
            heads={"loc": (20,), "scale": (20,)},
            normalisation="batch",
        )
        self.image = Mlp(
            {"code": (20,)}, hidden=[256], heads={"logits": (1, 28, 28)}, normalisation="batch"
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        digit = draw.sample("digit", Categorical(self.digit_logits))  # label_behind_latent.yaml:7
        style = draw.sample("style", Normal(0.0, 1.0))  # label_behind_latent.yaml:8

        loc, scale = self.code(digit=digit, style=style)
        code = draw.sample("code", Normal(loc, positive(scale)))  # label_behind_latent.yaml:13

        logits = self.image(code=code)
        draw.sample("image", Bernoulli(logits, event=3))  # label_behind_latent.yaml:14

        return draw.made


class LabelBehindLatent(Model):
    """p(digit, style, code, image), trained through q(code, digit, style | image)"""

    variables = {
        "digit": Variable("supervised", Categorical, (10,), enumerated=True),
        "style": Variable("latent", Normal, (5,)),
        "code": Variable("latent", Normal, (20,)),
        "image": Variable("observed", Bernoulli, (1, 28, 28), soft=True),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
