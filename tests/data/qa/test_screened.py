"""A look at words first must never hide what a pattern finds."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protein2text.data.qa import hygiene, wording
from protein2text.data.qa.screened import Screened

RULES = [
    *hygiene._ANYWHERE,
    Screened(hygiene._COMMAND, (hygiene._COMMANDS,)),
    wording._SOURCE,
    wording._PMC,
    wording._UNKNOWN,
]
AROUND = [
    *("{}", "{}.", "the {}", "these {}", "et {}", "is {}", "{} to be", "{} be known", "{} information", "i am {}"),
    *(
        "{} to print",
        "{} only",
        "the answer {} to",
        "the {} will",
        "correct {} is",
        "in each {}",
        "ignore the {}",
        "ai {}",
    ),
    *("{} model", "{} prompt", "{} for llm", "prompt {} llm", "{} answer is", "in {} answer", "the answer {}", "{}: a"),
]
BETWEEN = [
    "to",
    "is",
    "be",
    "the",
    "this",
    "i",
    "am",
    "et",
    "llm",
    "12",
    "-",
    "_",
    ":",
    ".",
    "'",
    "’",
    "/",
    "\n",
    "é",
    "ſ",
]


def words_of(pattern: re.Pattern[str]) -> list[str]:
    """Letters that a pattern names, with some of the endings that it allows."""
    stems = re.findall(r"[a-z]{2,}", pattern.pattern.replace(r"\b", " ").replace(r"\s", " ").replace(r"\w", " "))
    return [stem + ending for stem in stems for ending in ("", "s", "es", "y", "ies", "ing", "'t", "n't")]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.pattern.pattern[:30])
@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_nothing_is_hidden(rule: Screened, data: st.DataObject) -> None:
    words = st.sampled_from([*words_of(rule.pattern), *BETWEEN])
    text = data.draw(st.lists(words, min_size=1, max_size=8).map(" ".join))
    if rule.pattern.flags & re.IGNORECASE:
        text = data.draw(st.sampled_from([text, text.upper(), text.title()]))
    found, plain = rule.search(text), rule.pattern.search(text)
    assert (found and found.span()) == (plain and plain.span())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.pattern.pattern[:30])
def test_no_word_is_forgotten(rule: Screened) -> None:
    texts = [around.format(word) for around in AROUND for word in words_of(rule.pattern)]
    found = [text for text in texts if rule.pattern.search(text)]
    assert found
    assert [text for text in texts if rule.search(text)] == found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.pattern.pattern[:30])
def test_most_texts_are_spared(rule: Screened) -> None:
    assert not rule.may_be_in("This protein binds calcium with high affinity and opens in low light.")


SIGNED = [
    "a@b-c.d",
    "at /10.1234/x",
    "10.1000/j.1",
    "see x.org",
    "<b>",
    "</a:b>",
    '<i x="1">',
    "<!--",
    "-->",
    "<![",
    "<?x",
    "<|",
]
SIGNED += [
    "&amp;",
    "&#x1f;",
    "```",
    "**bold**",
    "__init",
    "[inst]",
    "[/inst]",
    "{{x",
    "{% x",
    r"\textbf{",
    "$$",
    "# title",
    "a\n## b",
]


@pytest.mark.parametrize("text", SIGNED)
def test_signs_stand_in_all_that_is_found(text: str) -> None:
    rules = [*hygiene._ADDRESSES, *hygiene._MARKUP]
    found = [rule for rule in rules if rule.pattern.search(text)]
    assert found
    assert all(rule.search(text) for rule in found)


@pytest.mark.parametrize(
    "code", ["QUJDREVGRw==", "%41%42%43", r"\x41\u0042", "aGVsbG8gd29ybGQ9MT", "0123456789abcdef" * 2]
)
def test_every_way_to_encode_is_seen(code: str) -> None:
    words = f"binds {code} tightly"
    assert bool(hygiene._ENCODED.search(words)) == bool(hygiene._ENCODED.search(code))
    assert hygiene._is_encoded(words) == (code != "aGVsbG8gd29ybGQ9MT")
