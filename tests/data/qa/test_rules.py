"""`data.qa.rules`: codes are documented, each once, and limits that make no sense are refused."""

import re
from pathlib import Path

import pytest

from protein2text.data.qa.rules import FLAGS, REASONS, QaRules
from protein2text.errors import ConfigError


def test_every_code_has_a_row_in_the_documentation(repository: Path) -> None:
    rows = re.findall(
        r"^\| R\d+ \| `(\w+)` \|", (repository / "docs" / "data.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert rows == [*REASONS, *FLAGS]


@pytest.mark.parametrize(
    "values",
    [
        {"max_pairs": 0}, {"max_pairs": 11}, {"min_words": 0}, {"grounding_share": 1.1}, {"similarity": 0.7},
        {"max_proteins": 0}, {"length_ratio": 1.0}, {"mass_ratio": 0.5}, {"licences": "CC0"},
    ],
)  # fmt: skip
def test_limits_that_make_no_sense_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        QaRules.parse(values)


def test_an_unknown_rule_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="grounding_share"):
        QaRules.parse({"grounding": 0.5})
