"""Descriptions and question-answer pairs of the sample world, in several wordings each."""

import random
from dataclasses import dataclass

from protein2text.data.sample_families import CATALYTIC, CONTEXT, FACT_KINDS

VALUES: dict[str, tuple[str, ...]] = {
    kind: tuple(family.facts[kind] for family in (*CATALYTIC, *CONTEXT) if kind in family.facts) for kind in FACT_KINDS
}
"""Every value a fact kind can take."""

_CLAUSES: dict[str, tuple[str, ...]] = {
    "binds": ("Binds {}.", "It binds {}.", "Interacts with {}."),
    "kind": ("Acts as {a} {}.", "This protein is {a} {}.", "Functions as {a} {}."),
    "location": ("Found in the {}.", "It is located in the {}.", "Localizes to the {}."),
    "process": ("Involved in {}.", "It takes part in {}.", "Required for {}."),
}

_QUESTIONS: dict[str, tuple[str, ...]] = {
    "binds": ("What does this protein bind?", "Which ligand does it bind?", "What is the ligand of this protein?"),
    "kind": ("What kind of protein is this?", "What does this protein act as?", "Which class of protein is it?"),
    "location": ("Where is this protein located?", "Where in the cell is it found?", "What is its location?"),
    "process": (
        "Which process is this protein involved in?",
        "What process does it take part in?",
        "What is it required for?",
    ),
}

_ANSWERS: dict[str, tuple[str, ...]] = {
    "binds": ("It binds {}.", "This protein binds {}."),
    "kind": ("It is {a} {}.", "It acts as {a} {}."),
    "location": ("It is located in the {}.", "It is found in the {}."),
    "process": ("It is involved in {}.", "It takes part in {}."),
}

_YES_NO: dict[str, str] = {
    "binds": "Does this protein bind {}?",
    "kind": "Is this protein {a} {}?",
    "location": "Is this protein located in the {}?",
    "process": "Is this protein involved in {}?",
}

_NO: dict[str, str] = {
    "binds": "No, it binds {}.",
    "kind": "No, it is {a} {}.",
    "location": "No, it is located in the {}.",
    "process": "No, it is involved in {}.",
}

_PAIR: dict[str, str] = {
    "binds": "Do these two proteins bind the same ligand?",
    "kind": "Are these two proteins of the same kind?",
    "location": "Are these two proteins found in the same place?",
    "process": "Are these two proteins involved in the same process?",
}


@dataclass(frozen=True)
class Question:
    """A question with its answer, the kind of question, and the gold facts it asks for as ``kind=value``."""

    question: str
    answer: str
    question_kind: str
    facts: tuple[str, ...]


def _fill(template: str, value: str) -> str:
    vowel_sound = value[0] in "aeiou" or value in {"NAD", "RNA"}
    return template.replace("{a}", "an" if vowel_sound else "a").replace("{}", value)


def describe(facts: dict[str, str], rng: random.Random) -> str:
    """A description that states every fact once, in random order and wording."""
    kinds = rng.sample(sorted(facts), len(facts))
    return " ".join(_fill(rng.choice(_CLAUSES[kind]), facts[kind]) for kind in kinds)


def open_question(facts: dict[str, str], kind: str, rng: random.Random) -> Question:
    """Asks for one fact."""
    value = facts[kind]
    answer = _fill(rng.choice(_ANSWERS[kind]), value)
    return Question(rng.choice(_QUESTIONS[kind]), answer, kind, (f"{kind}={value}",))


def yes_no_question(facts: dict[str, str], kind: str, rng: random.Random) -> Question:
    """Asks whether one fact holds; half of the time it does. The answer to a wrong guess names the right value."""
    value = facts[kind]
    if rng.random() < 0.5:
        statement = _fill(_NO[kind], value).removeprefix("No, ")
        return Question(_fill(_YES_NO[kind], value), f"Yes, {statement}", "yes_no", (f"{kind}={value}", "yes_no=yes"))
    wrong = rng.choice([other for other in VALUES[kind] if other != value])
    return Question(_fill(_YES_NO[kind], wrong), _fill(_NO[kind], value), "yes_no", (f"{kind}={value}", "yes_no=no"))


def pair_question(first: dict[str, str], second: dict[str, str], kind: str) -> Question:
    """Compares two proteins in one fact."""
    if first[kind] == second[kind]:
        return Question(_PAIR[kind], f"Yes, both: {first[kind]}.", "pair", (f"{kind}={first[kind]}", "yes_no=yes"))
    answer = f"No, the first: {first[kind]}, the second: {second[kind]}."
    return Question(_PAIR[kind], answer, "pair", (f"{kind}={first[kind]}", f"{kind}={second[kind]}", "yes_no=no"))
