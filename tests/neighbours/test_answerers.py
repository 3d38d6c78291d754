"""What a user may name in place of a model, and which options are refused with it."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from protein2text.answerers import AnswerConfig, index_folder, locate, open_answerer
from protein2text.cli_predict import answer_config
from protein2text.errors import AnsweringFailed, ConfigError, MissingFile

OPTIONS = {
    "compat": True, "greedy": True, "temperature": 0.0, "top_p": 1.0, "max_new_tokens": 64, "seed": 0,
    "batch_tokens": 8192, "batch_residues": 1, "base": "b", "encoder": "e", "context": "neighbours:i",
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_of_models_is_refused_by_name_even_at_its_default(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')}: is an option of models"):
        open_answerer(f"neighbours:{tmp_path}", AnswerConfig(**{name: OPTIONS[name]}))
    assert set(OPTIONS) | {"context_tokens"} == set(AnswerConfig.model_fields), "a new option belongs into this test"


def test_options_that_were_not_given_are_not_refused(tmp_path: Path) -> None:
    config = answer_config(compat=False, greedy=False, temperature=None, seed=None, context=None)
    with pytest.raises(MissingFile, match="index build"):
        open_answerer(f"neighbours:{tmp_path}", config)
    assert answer_config(seed=0, temperature=0.0).model_fields_set == {"seed", "temperature"}


def test_compatibility_mode_takes_no_facts_into_its_prompt() -> None:
    with pytest.raises(ConfigError, match="--context: changes the prompt"):
        answer_config(compat=True, context="neighbours:i")
    with pytest.raises(ConfigError, match="--context-tokens: bounds the facts"):
        answer_config(context_tokens=9)


def test_a_name_in_the_registry_needs_the_registry(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tracking_uri"):
        locate("models:/p@champion")
    assert locate(str(tmp_path)) == (tmp_path, tmp_path.name, None, str(tmp_path))
    assert index_folder("neighbours:~/x") == Path.home() / "x"
    assert index_folder(str(tmp_path)) is None
    with pytest.raises(MissingFile, match="no-model"):
        open_answerer(str(tmp_path / "no-model"))


def test_an_index_is_opened_without_torch_and_ray() -> None:
    """And so is everything between a file of questions and its answers."""
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('torch', 'ray', 'transformers', 'mlflow')))\n"
        "import protein2text.answerers, protein2text.generate.predict, protein2text.neighbours.index_answerer\n"
        "import protein2text.neighbours.context, protein2text_serve.card, protein2text_serve.gateway\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_failure_of_an_answerer_survives_its_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(AnsweringFailed("m", "out of memory")))
    assert str(error) == "m: out of memory. Lower --batch-tokens if memory ran out."
