"""The codes of what can go wrong, a row each; `docs/errors` is printed from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """What a code means, why it is a mistake, how to mend it, and where one sees it.

    `example` is a spec under `tests/bad_specs`. What no text of a spec can show has a `command` in its place, which ends with
    the message, or the message itself, as it was `seen`.
    """

    meaning: str
    why: str
    mend: str
    example: str = ""
    command: str = ""
    seen: str = ""


_READING = {
    "GV001": Code(
        "the file cannot be read",
        "The file is not there, may not be opened, or is not text in UTF-8.",
        "Check the path; save the file as UTF-8.",
        example="not_utf8",
    ),
    "GV002": Code(
        "this is not YAML",
        "The text breaks a rule of YAML: a bracket or quote that does not close, a tab that indents, a ':' inside plain text.",
        "The message points at where reading stopped; the mistake stands there or shortly before it.",
        example="colon_in_text",
    ),
    "GV003": Code(
        "a key stands twice in one mapping",
        "Most readers of YAML keep the last of two equal keys without a word, and half of what was written is lost.",
        "Take one of them out, or give it the name that was meant.",
        example="duplicate_key",
    ),
    "GV004": Code(
        "tags are not allowed",
        "A tag such as !!python/name makes some readers of YAML run code. A spec is plain data.",
        "Leave the tag out.",
        example="tag",
    ),
    "GV005": Code(
        "merge keys are not allowed",
        "YAML 1.2 has no '<<', and readers disagree about which of two values it keeps.",
        "Write the keys out.",
        example="merge_key",
    ),
    "GV006": Code(
        "the document is too large, too deep, or grows too far through its aliases",
        "A few lines of aliases can stand for billions of values, so a spec is bounded in size, in depth and in what its "
        "aliases repeat.",
        "Repeat less; a model of this size is better generated from several specs.",
        example="billion_laughs",
    ),
    "GV007": Code(
        "a number with a leading zero",
        "Some readers take 010 for 8, others for 10.",
        "Leave the zero out for the number, or put quotes around the text.",
        example="octal",
    ),
    "GV008": Code(
        "an expression that fell apart at its commas",
        "Inside brackets YAML cuts unquoted text at every comma, parentheses or not.",
        "Put quotes around the whole expression.",
        example="expression_fell_apart",
    ),
    "GV009": Code(
        "a key is not a name",
        "A key of a spec is text. Numbers and lists as keys are mostly values whose brackets are missing.",
        "Write 'name: value', and a list in brackets.",
        example="shape_without_brackets",
    ),
}

_SHAPE = {
    "GV050": Code(
        "an unknown key",
        "A key that nobody reads is a setting that has no effect, so every one must be known.",
        "Take the closest key of the list in the message, or leave it out.",
        example="unknown_key_of_objective",
    ),
    "GV051": Code(
        "a missing key",
        "Something has no default: the name of the model, its variables, the number of categories.",
        "Write the key; the hint shows how.",
        example="categories_missing",
    ),
    "GV052": Code(
        "a value of the wrong kind",
        "A number stands where a list should, a text where a number should, or nothing at all. Numbers and booleans are those "
        "of YAML 1.2: 1e-3 is a number, no is text, 100.0 is not a whole number.",
        "Write what the message expects.",
        example="parents_without_brackets",
    ),
    "GV053": Code(
        "a value out of its bounds",
        "It is of the right kind, and cannot be: a negative size, a share above one, an empty list.",
        "Choose a value within the bounds that the message names.",
        example="alpha_negative",
    ),
    "GV054": Code(
        "not one of the words that are allowed",
        "Families, roles, gradients, bounds and the like are words of a fixed list, in small letters.",
        "Take one from the list in the message.",
        example="unknown_family",
    ),
    "GV055": Code(
        "not a reference to a variable",
        "A name is a letter followed by letters, digits and underscores, so that it can be a name in Python too; a parent is a "
        "name, submodel.name, or either with .previous.",
        "Rename the variable, or separate the parents by commas.",
        example="parents_without_comma",
    ),
    "GV056": Code(
        "keys that exclude each other",
        "Two keys say the same thing, and could disagree; or one of several is needed and none is there.",
        "Keep one of them.",
        example="gamma_and_rate",
    ),
    "GV057": Code(
        "a key that does not apply to this family",
        "Some keys belong to a family or a role alone: categories to categorical and ordinal, missing to observed variables.",
        "Leave the key out, or give the variable the family or the role that it belongs to.",
        example="categories_of_normal",
    ),
    "GV058": Code(
        "a symbol that no formula can have",
        "A symbol is a piece of LaTeX's mathematics that needs no package and changes nothing around it: letters, digits and "
        "signs, \\alpha and its like, fonts and accents with their braces, and what stands below (_) or above (^).",
        "Follow the hint: close the braces, take a command that is known, or write plain letters.",
        example="symbol_with_a_brace_open",
    ),
}

_GRAPH = {
    "GV101": Code(
        "a conditional for an unknown variable, or a place in pictures for an unknown name",
        "A name in p or q that is not under 'variables' is a deterministic variable, and such a one is defined by a network. "
        "What has a place under 'layout' is a variable, a plate or a sub-model.",
        "Correct the name, or define the variable by a network.",
        example="unknown_conditional",
    ),
    "GV102": Code(
        "a variable is among its own ancestors",
        "p and q are directed acyclic graphs, each for itself: ancestral sampling needs a first variable. An arrow of p may be "
        "turned round in q.",
        "Break the cycle that the message shows at one of its arrows.",
        example="cycle_in_q",
    ),
    "GV103": Code(
        "a parent is named twice",
        "The second one adds nothing, and was probably meant to be another variable.",
        "Leave one of them out.",
        example="parent_twice",
    ),
    "GV104": Code(
        "an unknown parent",
        "A parent is a variable under 'variables', or a deterministic one that the same side defines.",
        "Correct the name, or declare the variable.",
        example="unknown_parent",
    ),
    "GV105": Code(
        "a parent that is not available here",
        "Each side computes its own deterministic variables, and p cannot condition on a value that may be missing.",
        "Define the variable on this side as well, name its parents in its place, or make what may be missing supervised.",
        example="only_in_q",
    ),
    "GV106": Code(
        "a conditional, or a key of one, that may not stand here",
        "p does not score what is given, q does not infer what is observed, and family and shape of a random variable stand "
        "under 'variables'.",
        "Leave it out, or write it where the message says.",
        example="observed_in_q",
    ),
    "GV107": Code(
        "a definition is missing: a conditional, a network, a shape or a column",
        "Everything that is observed is scored by p, a deterministic variable is computed by a network, and what the data "
        "knows has a column.",
        "Write what is missing; the hint shows how.",
        example="observed_without_conditional",
    ),
    "GV108": Code(
        "p and q disagree about a variable",
        "A variable has one shape, and its families in p and q have the same support: where q draws what p cannot have, the "
        "bound is minus infinity.",
        "Give both the same shape, and q a family of the list in the message.",
        example="support_of_q",
    ),
    "GV109": Code(
        "a parameter that the family does not have, or a value it cannot take",
        "The parameters of each family, and their intervals, are in [families.md](families.md). A network needs parents, "
        "and parents a parameter that depends on them.",
        "Take a parameter of the family and a value in its interval.",
        example="unknown_parameter",
    ),
    "GV110": Code(
        "a gradient that does not fit the variable",
        "Not every family can be drawn in every way, and not every way fits the bound, the number of samples, or what stands "
        "behind the draw. [gradients.md](gradients.md) has the rules.",
        "Leave the gradient out, for the rule to choose, or take one that the message names.",
        example="gradient_of_another_family",
    ),
    "GV111": Code(
        "a name in the objective or the data that is not a variable of the right role, or stands there twice",
        "alpha weighs supervised variables, beta latent ones; a column holds what is known in some row; labels are drawn for "
        "supervised variables.",
        "Correct the name, or the role of the variable.",
        example="alpha_of_latent",
    ),
    "GV112": Code(
        "too many enumerated cells",
        "Everything that depends on enumerated variables is computed for all their joint values, whose number is a product.",
        "Leave a gradient to the rule, which enumerates what fits, or raise objective.max_cells if you mean it.",
        example="max_cells",
    ),
    "GV114": Code(
        "nothing is observed",
        "A model of which the data shows nothing learns nothing.",
        "Give what every row shows the role observed.",
        example="nothing_observed",
    ),
    "GV115": Code(
        "nothing is learned",
        "No network and no learned parameter: there is nothing to train.",
        "Give a variable parents, or write 'learned' in place of a number.",
        example="nothing_learned",
    ),
    "GV116": Code(
        "a network that does not fit its place, or a key that its kind does not have",
        "A conv network needs a parent that is an image, a deconv network makes nothing but images, the layers of a residual "
        "network have one width, and a class of one's own takes the options that its __init__ names, and gives heads of the "
        "shapes that it is asked for.",
        "Follow the hint: another kind, another shape, or the key left out.",
        example="deconv_of_a_vector",
    ),
    "GV117": Code(
        "a plate, or a count of its slots, that does not fit",
        "A variable in plates repeats in every slot; what is outside of a plate can read all its slots only through something "
        "that gathers them: the pool of a network, or a reduction in an expression. What counts active slots is a single whole "
        "number outside of the plate. A label in a slot says nothing as long as nobody knows which slot it is, nor whether the "
        "count leaves room for it.",
        "Put the variable into the plate, gather its parents, correct the plate, or say what the order of the slots is.",
        example="ungathered_parent",
    ),
    "GV118": Code(
        "a slot before that cannot be had",
        "NAME.previous is the variable in the slot before, for variables in one plate, which must be the innermost; "
        "what lies on the way from slot to slot is in that plate, too. An initial value belongs to a variable that is read so.",
        "Write the variable into the plate, or name another parent.",
        example="previous_outside_of_a_plate",
    ),
    "GV119": Code(
        "a sub-model that cannot be had, or not in this way",
        "A sub-model is a file of its own, which does not lead back to itself, under a name of its own. It keeps its "
        "conditionals: the model around it infers what it observes, defines what it is given, and changes roles and draws, "
        "as far as there are conditionals that carry them.",
        "Correct the path or the name, or write the conditional or the override that the message names.",
        example="submodel_missing",
    ),
    "GV120": Code(
        "an expression that cannot be computed",
        "An expression has numbers, names of parents, arithmetic and the functions of the language. Axes meet by their names: "
        "channel, height and width of an event, and the plates.",
        "Follow the hint: name a parent, an axis or a function that is there, or reduce what is too much.",
        example="expression_of_a_stranger",
    ),
    "GV121": Code(
        "a written conditional of q that needs one that is left out",
        "What q leaves out is derived from p given all that is written, and so it is sampled after that.",
        "Write the other conditional as well, or leave both out.",
        example="derived_parent",
    ),
    "GV122": Code(
        "a conditional of q that cannot be derived from p",
        "Slots of a plate may depend on each other given what is known: a conditional in a plate, which is the same for every "
        "slot, cannot say so, and p alone does not tell in which order they should be sampled, nor what should gather them.",
        "Take the other order, or write the conditional by hand, as the hint says.",
        example="derived_slots",
    ),
}

_LINTS = {
    "GV201": Code(
        "labels that can never train q",
        "A supervised variable that no draw of labels reveals is trained as a latent one. One that no draw names is known "
        "wherever it has a value, if its column has empty cells; where there may be such, this warning keeps silent.",
        "Draw labels for it in data.labels, or make it latent.",
        example="lint_labels_never_drawn",
    ),
    "GV202": Code(
        "alpha is zero",
        "Where no draw stands before a label, log q(label | row) cancels out of the bound, and alpha alone trains it.",
        "Write alpha: auto, or a number above 0.",
        example="lint_alpha_zero",
    ),
    "GV203": Code(
        "fewer labels than classes",
        "A class without a labelled row has no name: q may call it anything.",
        "Draw as many rows as there are classes, or more.",
        example="lint_few_labels",
    ),
    "GV204": Code(
        "one sample where the importance weights vary",
        "A label behind a draw is inferred by importance sampling over samples; with a single one its normalised weight is 1, "
        "and the estimate of log q(label | row) a lower bound.",
        "Write samples: 8, or leave the key out.",
        example="lint_one_sample",
    ),
    "GV205": Code(
        "a variable that nothing uses",
        "No data bears on it, directly or through others, so that its posterior stays its prior.",
        "Leave it out, or make it a parent.",
        example="lint_unused",
    ),
    "GV206": Code(
        "an observed variable that q never looks at",
        "p learns to explain it, and q infers the latent variables without it.",
        "Make it a parent in q, unless it is to be predicted.",
        example="lint_never_looked_at",
    ),
    "GV207": Code(
        "a weight of labelled rows where there are none",
        "supervision_rate and gamma share a batch between labelled and unlabelled rows.",
        "Leave it out, or draw labels.",
        example="lint_rate_without_labels",
    ),
    "GV208": Code(
        "a closed form that no draw can have",
        "kl: closed replaces log q - log p by its mean where that leaves the expectation of the objective as it is, and no "
        "draw of this model allows it.",
        "Leave it out, or take families with a closed KL divergence.",
        example="lint_nothing_closed",
    ),
}

_DATA = {
    "GV301": Code(
        "the data cannot be found or read",
        "The files of the source are missing, truncated, or not what their checksum says.",
        "Pass --data PATH, or name the folder in $GRAPHVAE_DATA.",
        command="train specs/mnist.yaml --data specs",
    ),
    "GV302": Code(
        "a column that the data does not have",
        "data.columns names the column of every variable that the data knows.",
        "Take a column of the list in the message.",
        command="train specs/digits.yaml --set data.columns.digit=label",
    ),
    "GV303": Code(
        "values outside the support of their likelihood",
        "A grey pixel has no probability under a Bernoulli, a negative number none under a gamma: a log-likelihood would be "
        "wrong without a word, or minus infinity.",
        "Choose a family over the values that there are, transform them, or accept them with soft: true.",
        command="train specs/digits.yaml --set variables.image.soft=false",
    ),
    "GV304": Code(
        "values of the wrong shape or type",
        "A column has another number of values a row than its variable, or holds no numbers.",
        "Correct the size or shape of the variable, or the column.",
        command="train specs/digits.yaml --set 'variables.image.shape=[1, 16, 16]'",
    ),
    "GV305": Code(
        "labels that cannot be drawn as asked",
        "A draw is balanced over the classes of one variable, and cannot have more rows of a class than there are.",
        "Ask for fewer rows, or balance another variable.",
        example="balanced_continuous",
    ),
    "GV306": Code(
        "labels in slots that disagree with their count",
        "A slot is active while its number, from 0, is below the count, so that a label in it says something of the count: it "
        "cannot lie beyond the count of its row, nor stand in a row whose count has no label.",
        "Correct the label or the count; leave the slots beyond it empty, -1 or NaN; reveal both by one draw.",
        seen="specs/scenes.yaml:24:19: error[GV306]: 'digit' has a label in slot 2 of row 17, and 'count' is 2\n"
        "  24 |   columns: {digit: digit, count: count, canvas: image}\n"
        "     |                    ^^^^^\n"
        "  slots count from 0: where the count is 2, the slots 0 and 1 may have labels, and none where it has no label",
    ),
    "GV307": Code(
        "rows that cannot be split as asked",
        "A split has rows on both sides, takes groups whole, stays within the rows that there are, and every row says which "
        "group or part it belongs to.",
        "Ask for another share, correct the blocks or the values, or fill in the column that it looks at.",
        command="train specs/digits.yaml --set 'data.split.blocks=[0-1399, 1400-1799]'",
    ),
    "GV308": Code(
        "values that a transform cannot be made for",
        "A number that never varies has no deviation to divide by, and one beyond all bounds none that is finite.",
        "Leave the transform out, or scale by bounds that you know.",
        command="train specs/digits.yaml --set 'variables.image={distribution: normal, shape: [1, 8, 8], role: observed}' "
        "--set data.transforms.image=standardise",
    ),
}

_RUNS = {
    "GV401": Code(
        "a run folder that cannot be used",
        "It is no run, has no checkpoint, is damaged, or belongs to other data.",
        "Name a folder that 'graphvae train' made.",
        command="evaluate specs",
    ),
    "GV402": Code(
        "the training left the real numbers",
        "A term of the objective is infinite or no number; the message names the terms and the rows.",
        "Lower training.learning_rate, or write a normalisation into the network; the last checkpoint is kept.",
        seen="error[GV402]: the objective left the real numbers at step 1: kl.style, reconstruction.image, in rows [7, 12]\n"
        "  the last checkpoint is kept; a smaller training.learning_rate, or normalisation in the network, may help",
    ),
    "GV403": Code(
        "a labelled density that has reached the floor of its scale",
        "With few labels q can predict them all the more exactly the narrower its density is, without end: the floor ends it, "
        "and the model has learned its labels by heart.",
        "State the scale, lower alpha, or label more rows.",
        seen="specs/angles.yaml:12:3: warning[GV403]: the scale of 'angle' in q has reached its bound of 0.01 in 93% of the "
        "labelled rows\n"
        "  12 |   angle: {parents: [image], network: {hidden: [256]}}\n"
        "     |   ^^^^^\n"
        "  its density would collapse onto its labels: state the scale, lower alpha, or label more rows",
    ),
}

_FLAGS = {
    "GV501": Code(
        "a flag that cannot be followed",
        "A setting that is not KEY=VALUE, a file that cannot be written, a run that exists.",
        "The message says what was expected; graphvae COMMAND --help lists the flags.",
        command="check specs/digits.yaml --set training.epochs",
    ),
}

CODES = {**_READING, **_SHAPE, **_GRAPH, **_LINTS, **_DATA, **_RUNS, **_FLAGS}
