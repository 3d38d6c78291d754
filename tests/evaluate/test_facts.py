import pytest

from protein2text.evaluate.facts import Vocabulary, names_exactly, parse_facts, polarity

VALUES = {
    "binds": ("ATP", "zinc", "iron", "iron-sulfur cluster", "DNA", "heme"),
    "family": ("ABC transporter", "zinc finger"),
    "location": ("nucleus", "membrane"),
    "ec": ("3.2.1.4", "3.2.1.41"),
    "kind": ("kinase",),
}
VOCABULARY = Vocabulary(parse_facts([f"{kind}={value}"]) for kind, values in VALUES.items() for value in values)


def asserted(text: str) -> set[str]:
    return {f"{kind}={value}" for kind, values in VOCABULARY.asserted(text).items() for value in values}


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("It binds ATP.", {"binds=atp"}),
        ("An atp-binding kinase.", {"binds=atp", "kind=kinase"}),
        ("The environment of the cDNA kinases", set()),
        ("Binds an iron-sulfur cluster.", {"binds=iron-sulfur cluster"}),
        ("Binds iron and an iron-sulfur cluster.", {"binds=iron", "binds=iron-sulfur cluster"}),
        ("A zinc finger protein.", {"family=zinc finger"}),
        ("EC 3.2.1.41", {"ec=3.2.1.41"}),
        ("EC 3.2.1.4.", {"ec=3.2.1.4"}),
        ("EC 3.2.1.4.5 and 13.2.1.4", set()),
        ("", set()),
    ],
)
def test_values_are_read_as_whole_words_longest_first(text: str, facts: set[str]) -> None:
    assert asserted(text) == facts


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("It does not bind ATP.", set()),
        ("It doesn't bind ATP, zinc or heme.", set()),
        ("It is not an ABC transporter.", set()),
        ("Neither ATP nor zinc is bound.", set()),
        ("It cannot bind DNA without zinc.", set()),
        ("A non-ATP ligand.", set()),
        ("ATP is not bound by it.", set()),
        ("It lacks heme.", set()),
        ("It binds zinc, not ATP, and is found in the nucleus.", {"binds=zinc", "location=nucleus"}),
        ("It binds zinc but not ATP.", {"binds=zinc"}),
        ("It does not bind ATP but zinc.", {"binds=zinc"}),
        ("It does not bind ATP and is located in the membrane.", {"location=membrane"}),
        ("It does not bind ATP. It binds zinc.", {"binds=zinc"}),
        ("It binds not only ATP but also zinc.", {"binds=atp", "binds=zinc"}),
        ("It binds zinc rather than ATP.", {"binds=zinc"}),
        ("No, it binds zinc.", {"binds=zinc"}),
        ("No. It binds zinc.", {"binds=zinc"}),
        ("No ATP is bound.", set()),
    ],
)
def test_a_negated_value_is_not_asserted(text: str, facts: set[str]) -> None:
    assert asserted(text) == facts


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [
        ("It binds ATP.", ["binds=ATP"], True),
        ("It binds ATP in the nucleus.", ["binds=ATP"], True),  # a fact of another kind is no answer to this question
        ("It binds ATP, zinc, iron, DNA or heme.", ["binds=ATP"], False),  # listing everything names the right one too
        ("It binds zinc.", ["binds=ATP"], False),
        ("It does not bind ATP.", ["binds=ATP"], False),
        ("It binds zinc, not ATP.", ["binds=zinc"], True),
        ("It binds ATP in the nucleus.", ["binds=ATP", "location=nucleus"], True),
        ("It binds ATP.", ["binds=ATP", "location=nucleus"], False),
        ("It binds ATP and zinc.", ["binds=ATP", "binds=zinc"], True),
        ("", ["binds=ATP"], False),
    ],
)
def test_every_asked_fact_and_no_other_value_must_be_named(answer: str, gold: list[str], right: bool) -> None:
    assert names_exactly(VOCABULARY.asserted(answer), parse_facts(gold)) is right


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Yes, it does.", "yes"), ("no", "no"), (" NO.", "no"), ("Not at all", None), ("Nobody knows", None), ("", None),
     ("Yes and no.", None), ("yes/no", None), ("Yes or no", None), ("It binds ATP. Yes.", None), ("No, no ATP.", "no")],
)  # fmt: skip
def test_polarity_is_the_word_that_opens_the_answer(text: str, expected: str | None) -> None:
    assert polarity(text) == expected


@pytest.mark.parametrize("fact", ["ATP", "=ATP", "binds=", " = "])
def test_a_fact_without_kind_or_value_is_refused(fact: str) -> None:
    with pytest.raises(ValueError, match="kind=value"):
        parse_facts([fact])


def test_an_empty_vocabulary_asserts_nothing() -> None:
    assert Vocabulary([]).asserted("It binds ATP.") == {}
