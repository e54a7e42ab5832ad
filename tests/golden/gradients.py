"""gradients

Compiled by graphvae from gradients.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import (
    Bernoulli,
    Categorical,
    Draws,
    Mlp,
    Model,
    Normal,
    Poisson,
    Variable,
    positive,
)


class Encoder(nn.Module):
    """q(style, topic, count, tags | text)"""

    def __init__(self):
        super().__init__()
        self.style = Mlp({"text": (6,)}, hidden=[8], heads={"logits": (4,)})
        self.topic = Mlp({"text": (6,)}, hidden=[8], heads={"logits": (3,)})
        self.count = Mlp({"text": (6,), "topic": (3,)}, hidden=[8], heads={"rate": ()})
        self.tags = Mlp({"text": (6,), "topic": (3,)}, hidden=[8], heads={"logits": (8,)})

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        text = draw.given("text")

        logits = self.style(text=text)
        draw.straight_through("style", Categorical(logits))  # gradients.yaml:15

        logits = self.topic(text=text)
        topic = draw.enumerate("topic", Categorical(logits), axis=0)  # gradients.yaml:12

        rate = self.count(text=text, topic=topic)
        draw.score_function("count", Poisson(positive(rate), event=0), axes=1)  # gradients.yaml:13

        logits = self.tags(text=text, topic=topic)
        draw.concrete("tags", Bernoulli(logits))  # gradients.yaml:14

        return draw.made


class Decoder(nn.Module):
    """p(count, style, tags, topic, text)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("style_logits", torch.zeros(4), persistent=False)
        self.register_buffer("tags_logits", torch.zeros(8), persistent=False)
        self.register_buffer("topic_logits", torch.zeros(3), persistent=False)
        self.text = Mlp(
            {"topic": (3,), "count": (), "tags": (8,), "style": (4,)},
            hidden=[8],
            heads={"loc": (6,), "scale": (6,)},
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        count = draw.sample("count", Poisson(1.0, event=0))  # gradients.yaml:5
        style = draw.sample("style", Categorical(self.style_logits))  # gradients.yaml:7
        tags = draw.sample("tags", Bernoulli(self.tags_logits))  # gradients.yaml:6
        topic = draw.sample("topic", Categorical(self.topic_logits))  # gradients.yaml:4

        loc, scale = self.text(topic=topic, count=count, tags=tags, style=style)
        draw.sample("text", Normal(loc, positive(scale)))  # gradients.yaml:10

        return draw.made


class Gradients(Model):
    """p(count, style, tags, topic, text), trained through q(style, topic, count, tags | text)"""

    variables = {
        "count": Variable("latent", Poisson, (), cells=(3,)),
        "style": Variable("latent", Categorical, (4,)),
        "tags": Variable("latent", Bernoulli, (8,)),
        "topic": Variable("supervised", Categorical, (3,), enumerated=True),
        "text": Variable("observed", Normal, (6,)),
    }
    label_term = "log_mean"
    closed_kl = {"style": (), "tags": ()}

    def __init__(self):
        super().__init__(Encoder(), Decoder())
