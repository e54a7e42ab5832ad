"""importance

Compiled by graphvae from importance.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import Categorical, Draws, Laplace, Mlp, Model, Normal, Variable, positive


class Encoder(nn.Module):
    """q(kind, code, top | signal)"""

    def __init__(self):
        super().__init__()
        self.kind = Mlp({"signal": (5,)}, hidden=[6], heads={"logits": (3,)})
        self.code = Mlp(
            {"signal": (5,), "kind": (3,)}, hidden=[6], heads={"loc": (3,), "scale": (3,)}
        )
        self.top = Mlp({"code": (3,)}, hidden=[6], heads={"loc": (2,), "scale": (2,)})

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        signal = draw.given("signal")

        logits = self.kind(signal=signal)
        kind = draw.enumerate("kind", Categorical(logits), axis=0)  # importance.yaml:12

        loc, scale = self.code(signal=signal, kind=kind)
        code = draw.sample("code", Normal(loc, positive(scale)))  # importance.yaml:13

        loc, scale = self.top(code=code)
        draw.sample("top", Normal(loc, positive(scale)))  # importance.yaml:14

        return draw.made


class Decoder(nn.Module):
    """p(kind, top, code, signal)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("kind_logits", torch.zeros(3), persistent=False)
        self.code = Mlp({"top": (2,), "kind": (3,)}, hidden=[6], heads={"loc": (3,), "scale": (3,)})
        self.signal = Mlp({"code": (3,)}, hidden=[6], heads={"loc": (5,), "scale": (5,)})

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        kind = draw.sample("kind", Categorical(self.kind_logits))  # importance.yaml:4
        top = draw.sample("top", Normal(0.0, 1.0))  # importance.yaml:5

        loc, scale = self.code(top=top, kind=kind)
        code = draw.sample("code", Normal(loc, positive(scale)))  # importance.yaml:9

        loc, scale = self.signal(code=code)
        draw.sample("signal", Laplace(loc, positive(scale)))  # importance.yaml:10

        return draw.made


class Importance(Model):
    """p(kind, top, code, signal), trained through q(kind, code, top | signal)"""

    variables = {
        "kind": Variable("supervised", Categorical, (3,), enumerated=True),
        "top": Variable("latent", Normal, (2,)),
        "code": Variable("latent", Normal, (3,)),
        "signal": Variable("observed", Laplace, (5,)),
    }
    bound = "importance_dreg"
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
