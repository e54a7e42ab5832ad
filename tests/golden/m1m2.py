"""m1m2: Which digit it is, named on a hundred images, beside a deep latent variable; both make a
code, and it the image.

Compiled by graphvae from m1m2.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import Bernoulli, Categorical, Draws, Mlp, Model, Normal, Variable, positive


class Encoder(nn.Module):
    """q(digit, style, code | image)"""

    def __init__(self):
        super().__init__()
        self.digit = Mlp(
            {"image": (1, 28, 28)},
            hidden=[256, 256],
            heads={"logits": (10,)},
            dropout=0.3,
            normalisation="batch",
        )
        self.style = Mlp(
            {"image": (1, 28, 28), "digit": (10,)},
            hidden=[256],
            heads={"loc": (5,), "scale": (5,)},
            normalisation="batch",
        )
        self.code = Mlp(
            {"image": (1, 28, 28), "digit": (10,), "style": (5,)},
            hidden=[256],
            heads={"loc": (20,), "scale": (20,)},
            normalisation="batch",
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        image = draw.given("image")

        logits = self.digit(image=image)
        digit = draw.enumerate("digit", Categorical(logits), axis=0)  # m1m2.yaml:18

        loc, scale = self.style(image=image, digit=digit)
        style = draw.sample("style", Normal(loc, positive(scale)))  # m1m2.yaml:19

        loc, scale = self.code(image=image, digit=digit, style=style)
        draw.sample("code", Normal(loc, positive(scale)))  # m1m2.yaml:20

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
        digit = draw.sample("digit", Categorical(self.digit_logits))  # m1m2.yaml:8
        style = draw.sample("style", Normal(0.0, 1.0))  # m1m2.yaml:9

        loc, scale = self.code(digit=digit, style=style)
        code = draw.sample("code", Normal(loc, positive(scale)))  # m1m2.yaml:14

        logits = self.image(code=code)
        draw.sample("image", Bernoulli(logits, event=3))  # m1m2.yaml:15

        return draw.made


class M1m2(Model):
    """p(digit, style, code, image), trained through q(digit, style, code | image)"""

    variables = {
        "digit": Variable("supervised", Categorical, (10,), enumerated=True),
        "style": Variable("latent", Normal, (5,)),
        "code": Variable("latent", Normal, (20,)),
        "image": Variable("observed", Bernoulli, (1, 28, 28), soft=True),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
