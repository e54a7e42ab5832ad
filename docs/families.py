"""Print the page of the families from the compiler's table: python docs/families.py > docs/families.md."""

from __future__ import annotations

from graphvae.compiler.families import FAMILIES, Family, Parameter

INTRODUCTION = """# Families

Every family is a row of one table in `graphvae/compiler/families.py`, and this page is printed from it. A variable names its
family as `distribution: NAME`. Without a conditional in p, a latent or supervised variable has the standard prior, whose
parameters stand in brackets. A parameter is a head of the network unless the conditional sets it; one marked *learned* is a
single value for all rows unless the conditional says `head`. In q a variable may have another family over the same support.

| family | support | parameters [standard] | a draw in q can be | closed KL against |
|---|---|---|---|---|"""

NOTES = """
*Reparameterised* draws are functions of noise that comes from outside; *implicitly* says that the gradient is that of the
distribution function (Figurnov, Mohamed and Mnih 2018). *Enumerated* draws are summed out exactly. *Concrete* and
*straight through* draws use a relaxation (Maddison et al. 2017; Jang et al. 2017). Every family can have the *score function*
gradient. [gradients.md](gradients.md) measures them.

A scale in q of a supervised variable has a floor of 0.01, and a concentration a ceiling to match, so that no labelled density
collapses onto its labels; training warns where most labelled rows have reached it.

`uniform` lies between two ends inside the unit interval. `ordinal` has proportional odds: with `loc` 0 its categories have
the probabilities softmax(`logits`). `multivariate_normal` has the Cholesky factor whose diagonal is `scale` and whose strictly
lower triangle is `below`; `low_rank_normal` the covariance `factor` `factor`' + diag(`scale`^2), of a rank up to its length.
`mixture_of_normals` has one component for a whole vector. `negative_binomial` counts the successes, of log-odds `logits`,
before `total_count` failures; `geometric` the failures before a success. The values of `discretised_logistic` are `levels`
numbers from 0 to 1."""

WAYS = {
    "reparameterised": "reparameterised",
    "enumerate": "enumerated",
    "concrete": "concrete",
    "straight_through": "straight through",
}


def page() -> str:
    """The page in Markdown."""
    return "\n".join([INTRODUCTION, *map(row, FAMILIES.values()), NOTES]) + "\n"


def row(family: Family) -> str:
    parameters = ", ".join(map(parameter, family.parameters))
    ways = ", ".join(WAYS[gradient] for gradient in family.gradients if gradient in WAYS) or "score function"
    ways += " (implicitly)" * family.implicit
    keys = [name for name in family.options if name != "soft"]
    name = f"`{family.name}`" + (f" with `{'`, `'.join(keys)}`" if keys else "")
    return f"| {name} | {family.support} | {parameters} | {ways} | {', '.join(family.closed_kl) or '-'} |"


def parameter(row: Parameter) -> str:
    return f"`{row.name}`{' learned' * (row.default == 'learned')} [{row.standard:g}]"


if __name__ == "__main__":
    print(page(), end="")
