"""missing

Compiled by graphvae from missing.yaml.
"""

from torch import nn

from graphvae.runtime import Categorical, Draws, LogNormal, Mlp, Model, Normal, Variable, positive


class Encoder(nn.Module):
    """q(extra, group, health | age, answer, blood)"""

    def __init__(self):
        super().__init__()
        self.extra = Mlp(
            {"blood": (4,), "blood_known": (4,), "answer": (2, 3), "answer_known": (2,), "age": ()},
            hidden=[6],
            heads={"loc": (2,), "scale": (2,)},
        )
        self.group = Mlp(
            {
                "blood": (4,),
                "blood_known": (4,),
                "answer": (2, 3),
                "answer_known": (2,),
                "extra": (2,),
            },
            hidden=[6],
            heads={"logits": (3,)},
        )
        self.health = Mlp(
            {
                "blood": (4,),
                "blood_known": (4,),
                "answer": (2, 3),
                "answer_known": (2,),
                "extra": (2,),
                "group": (3,),
                "age": (),
            },
            hidden=[6],
            heads={"loc": (2,), "scale": (2,)},
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        age = draw.given("age")
        answer, answer_known = draw.masked("answer")
        blood, blood_known = draw.masked("blood")

        loc, scale = self.extra(
            blood=blood, blood_known=blood_known, answer=answer, answer_known=answer_known, age=age
        )
        extra = draw.sample("extra", Normal(loc, positive(scale)))  # missing.yaml:16

        logits = self.group(
            blood=blood,
            blood_known=blood_known,
            answer=answer,
            answer_known=answer_known,
            extra=extra,
        )
        group = draw.enumerate("group", Categorical(logits), axis=0)  # missing.yaml:17

        loc, scale = self.health(
            blood=blood,
            blood_known=blood_known,
            answer=answer,
            answer_known=answer_known,
            extra=extra,
            group=group,
            age=age,
        )
        draw.sample("health", Normal(loc, positive(scale)))  # missing.yaml:18

        return draw.made


class Decoder(nn.Module):
    """p(group, health, answer, blood, extra | age)"""

    def __init__(self):
        super().__init__()
        self.group = Mlp({"age": ()}, hidden=[], heads={"logits": (3,)})
        self.answer = Mlp({"group": (3,), "health": (2,)}, hidden=[6], heads={"logits": (2, 3)})
        self.blood = Mlp(
            {"group": (3,), "health": (2,), "age": ()},
            hidden=[6],
            heads={"loc": (4,), "scale": (4,)},
        )
        self.extra = Mlp(
            {"group": (3,), "health": (2,)}, hidden=[6], heads={"loc": (2,), "scale": (2,)}
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        age = draw.given("age")

        logits = self.group(age=age)
        group = draw.sample("group", Categorical(logits))  # missing.yaml:11

        health = draw.sample("health", Normal(0.0, 1.0))  # missing.yaml:6

        logits = self.answer(group=group, health=health)
        draw.sample("answer", Categorical(logits, event=2))  # missing.yaml:13

        loc, scale = self.blood(group=group, health=health, age=age)
        draw.sample("blood", LogNormal(loc, positive(scale)))  # missing.yaml:12

        loc, scale = self.extra(group=group, health=health)
        draw.sample("extra", Normal(loc, positive(scale)))  # missing.yaml:14

        return draw.made


class Missing(Model):
    """p(group, health, answer, blood, extra | age),
    trained through q(extra, group, health | age, answer, blood)
    """

    variables = {
        "age": Variable("given", Normal, ()),
        "group": Variable("supervised", Categorical, (3,), enumerated=True),
        "health": Variable("latent", Normal, (2,)),
        "answer": Variable("observed", Categorical, (2, 3), masked=True),
        "blood": Variable("observed", LogNormal, (4,), masked=True),
        "extra": Variable("latent", Normal, (2,)),
    }
    label_term = "log_mean"
    closed_kl = {"health": ()}

    def __init__(self):
        super().__init__(Encoder(), Decoder())
