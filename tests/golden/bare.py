"""bare

Compiled by graphvae from bare.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import (
    Bernoulli,
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
    """q(kind, level, share, flag)"""

    def __init__(self):
        super().__init__()
        self.kind_logits = nn.Parameter(torch.zeros(3))
        self.share_logits = nn.Parameter(torch.zeros(2))
        self.flag = Mlp({"share": (2,)}, hidden=[32, 32], heads={"logits": ()})

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        draw.enumerate("kind", Categorical(self.kind_logits), axis=0)  # bare.yaml:21
        draw.sample("level", Normal(0.0, 1.5, event=0))  # bare.yaml:20
        share = draw.sample("share", ContinuousBernoulli(self.share_logits))  # bare.yaml:18

        logits = self.flag(share=share)
        draw.enumerate("flag", Bernoulli(logits, event=0), axis=1)  # bare.yaml:19

        return draw.made


class Decoder(nn.Module):
    """p(board, flag, kind, level, share, weight)"""

    def __init__(self):
        super().__init__()
        self.board_logits = nn.Parameter(torch.zeros(2, 2))
        self.register_buffer("flag_logits", torch.zeros(()), persistent=False)
        self.kind_logits = nn.Parameter(torch.zeros(3))
        self.level_scale = nn.Parameter(torch.zeros(()))
        self.weight = Mlp(
            {"share": (2,), "flag": (), "level": (), "kind": (3,)},
            hidden=[32, 32],
            heads={"loc": ()},
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        draw.sample("board", Bernoulli(self.board_logits, event=2))  # bare.yaml:15
        flag = draw.sample("flag", Bernoulli(self.flag_logits, event=0))  # bare.yaml:6
        kind = draw.sample("kind", Categorical(self.kind_logits))  # bare.yaml:14
        level = draw.sample(
            "level", Normal(0.1, positive(self.level_scale), event=0)
        )  # bare.yaml:13
        share = draw.sample("share", ContinuousBernoulli(0.3))  # bare.yaml:12

        loc = self.weight(share=share, flag=flag, level=level, kind=kind)
        draw.sample("weight", Normal(loc, 0.3, event=0))  # bare.yaml:16

        return draw.made


class Bare(Model):
    """p(board, flag, kind, level, share, weight), trained through q(kind, level, share, flag)"""

    variables = {
        "board": Variable("observed", Bernoulli, (2, 2)),
        "flag": Variable("supervised", Bernoulli, (), enumerated=True),
        "kind": Variable("latent", Categorical, (3,), enumerated=True),
        "level": Variable("supervised", Normal, ()),
        "share": Variable("latent", ContinuousBernoulli, (2,)),
        "weight": Variable("observed", Normal, ()),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
