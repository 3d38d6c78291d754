import json
import sqlite3
from pathlib import Path

import mlflow
import pytest

from protein2text.answerers import AnswerConfig, Query, open_answerer
from protein2text.config import load_run
from protein2text.errors import ConfigError, CorruptCheckpoint, MissingFile
from protein2text.models.checkpoints import sha256_of, write_manifest
from protein2text.models.generation import Decoding
from protein2text.models.protein_to_text import ProteinToText
from protein2text.proteins import Protein
from protein2text.registry import AGENT, ModelVersion, RunLog, connect, register, resolve, start_run
from tests.evaluate.random_model import write_random_bases, write_random_model

NAME = "protein2text-test"
QUESTION = "What does this protein bind?"
SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQ"


@pytest.fixture(scope="module")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database of its own; making MLflow's tables takes seconds, so the module shares one."""
    return f"sqlite:///{tmp_path_factory.mktemp('registry') / 'store' / 'mlflow.db'}"


@pytest.fixture(scope="module")
def model_dirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models of equal shape and different weights."""
    root = tmp_path_factory.mktemp("models")
    config = load_run("tiny", {"model": write_random_bases(root / "bases")}).model
    return write_random_model(root / "first", config), write_random_model(root / "second", config, seed=1)


@pytest.fixture(scope="module")
def versions(
    tracking_uri: str, model_dirs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[ModelVersion, ModelVersion]:
    """Both registered in turn from an empty working directory; the alias ends at the second."""
    with pytest.MonkeyPatch.context() as patch:
        workdir = tmp_path_factory.mktemp("workdir")
        patch.chdir(workdir)
        report = workdir.parent / "report.json"
        estimate = {"mean": 0.5, "low": 0.4, "high": 0.6}
        rows = [{"name": "true", "estimates": {"facts": estimate, "yes_no": {**estimate, "mean": None}}}]
        report.write_text(json.dumps({"verdict": {"outcome": "cannot tell"}, "rows": rows}))
        found = []
        for folder in model_dirs:
            version = register(folder, name=NAME, alias="champion", tracking_uri=tracking_uri, report_json=report)
            found.append(resolve(f"models:/{NAME}@champion", tracking_uri))
            assert found[-1].version == version
        assert list(workdir.iterdir()) == [], "MLflow wrote into the working directory"
    return found[0], found[1]


def test_the_alias_follows_the_newest_version_and_numbers_stay(
    versions: tuple[ModelVersion, ModelVersion], tracking_uri: str
) -> None:
    first, second = versions
    assert (first.version, second.version) == ("1", "2")
    assert resolve(f"models:/{NAME}@champion", tracking_uri) == second
    assert resolve(first.uri, tracking_uri) == first


def test_the_stored_folder_is_the_registered_model(
    versions: tuple[ModelVersion, ModelVersion], model_dirs: tuple[Path, Path], tracking_uri: str
) -> None:
    store = Path(tracking_uri.removeprefix("sqlite:///")).parent
    for version, folder in zip(versions, model_dirs, strict=True):
        assert version.folder.is_relative_to(store)
        for path in folder.iterdir():
            assert (version.folder / path.name).read_bytes() == path.read_bytes()


def test_the_version_is_code_and_safetensors_never_a_pickle(versions: tuple[ModelVersion, ModelVersion]) -> None:
    packed = versions[0].folder.parents[1]
    files = {path.name for path in packed.rglob("*") if path.is_file()}
    assert AGENT.name in files
    assert "report.json" in files
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pt", ".bin"))]


def test_pyfunc_loads_the_version_and_answers_as_the_model_does(
    versions: tuple[ModelVersion, ModelVersion], model_dirs: tuple[Path, Path]
) -> None:
    mlflow.tracing.disable()
    try:
        agent = mlflow.pyfunc.load_model(str(versions[1].folder.parents[1]))
        request = {
            "input": [{"role": "user", "content": QUESTION}],
            "custom_inputs": {"proteins": [{"sequence": SEQUENCE.lower()}]},
        }
        answer = agent.predict(request)["output"][0]["content"][0]["text"]
        assert answer == ProteinToText.from_pretrained(model_dirs[1]).ask(SEQUENCE, QUESTION).text
        with pytest.raises(Exception, match="no protein"):
            agent.predict({**request, "custom_inputs": {}})
        with pytest.raises(Exception, match="residue 3: '1'"):
            agent.predict({**request, "custom_inputs": {"proteins": [{"sequence": "MK1"}]}})
    finally:
        mlflow.tracing.reset()


def test_an_answerer_opened_by_an_alias_names_its_version(
    versions: tuple[ModelVersion, ModelVersion], model_dirs: tuple[Path, Path], tracking_uri: str
) -> None:
    answerer = open_answerer(f"models:/{NAME}@champion", AnswerConfig(max_new_tokens=8), tracking_uri=tracking_uri)
    manifest = sha256_of(model_dirs[1] / "manifest.json")
    assert answerer.identity == {"name": NAME, "version": "2", "manifest_sha256": manifest}
    query = Query("0", "0", QUESTION, (Protein("P1", SEQUENCE),))
    (reply,) = (reply for replies in answerer.answer([query]) for reply in replies)
    expected = ProteinToText.from_pretrained(model_dirs[1]).ask(SEQUENCE, QUESTION, Decoding(max_new_tokens=8))
    assert reply.text == expected.text


def test_verdict_and_scores_stand_beside_the_version(
    versions: tuple[ModelVersion, ModelVersion], tracking_uri: str
) -> None:
    client = connect(tracking_uri)
    stored = client.get_model_version(NAME, "1")
    assert stored.tags["verdict"] == "cannot tell"
    assert len(stored.tags["manifest_sha256"]) == 64
    assert client.get_run(stored.run_id).data.metrics == {"evaluation.true.facts": 0.5}


def test_a_changed_byte_in_the_store_is_found(versions: tuple[ModelVersion, ModelVersion], tracking_uri: str) -> None:
    path = versions[0].folder / "bridge.safetensors"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    try:
        with pytest.raises(CorruptCheckpoint, match=r"bridge\.safetensors"):
            resolve(versions[0].uri, tracking_uri)
    finally:
        path.write_bytes(good)


def test_a_damaged_model_is_never_registered(
    versions: tuple[ModelVersion, ModelVersion], model_dirs: tuple[Path, Path], tracking_uri: str, tmp_path: Path
) -> None:
    for path in model_dirs[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "bridge.safetensors").write_bytes(b"")
    with pytest.raises(CorruptCheckpoint):
        register(tmp_path, name=NAME, alias="champion", tracking_uri=tracking_uri)
    assert resolve(f"models:/{NAME}@champion", tracking_uri) == versions[1]


@pytest.mark.parametrize("alias", ["a b/c", "latest", "v2", "", "a@b"])
def test_an_alias_that_cannot_be_is_refused_before_a_version_is_made(
    versions: tuple[ModelVersion, ModelVersion], model_dirs: tuple[Path, Path], tracking_uri: str, alias: str
) -> None:
    with pytest.raises(ConfigError, match="is no alias"):
        register(model_dirs[0], name=NAME, alias=alias, tracking_uri=tracking_uri)
    assert len(connect(tracking_uri).search_model_versions(f"name='{NAME}'")) == 2


def test_llama_weights_want_a_name_that_says_so(
    model_dirs: tuple[Path, Path], tracking_uri: str, tmp_path: Path
) -> None:
    for path in model_dirs[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["decoder"]["source"] = "meta-llama/Llama-3.1-8B-Instruct"
    (tmp_path / "config.json").write_text(json.dumps(config))
    write_manifest(tmp_path)
    with pytest.raises(ConfigError, match="begins with 'Llama'"):
        register(tmp_path, name=NAME, alias="champion", tracking_uri=tracking_uri)


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        (f"models:/{NAME}@challenger", MissingFile),
        (f"models:/{NAME}/99", MissingFile),
        ("models:/unknown@champion", MissingFile),
        (f"models:/{NAME}", ConfigError),
        (f"models:/{NAME}/latest", ConfigError),
        ("runs:/abc/model", ConfigError),
    ],
)
def test_an_address_that_names_nothing_is_an_error(
    versions: tuple[ModelVersion, ModelVersion], tracking_uri: str, uri: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match=uri.replace("/", r"\/")):
        resolve(uri, tracking_uri)


def test_a_run_keeps_parameters_configuration_data_and_steps(tracking_uri: str) -> None:
    config = {"name": "n", "model": {"bridge": {"depth": 2}}, "seed": 0}
    log = start_run(tracking_uri, "stage", "alignment", config=config, data_checksum={"/data/corpus": "ab" * 32})
    for step, loss in enumerate((3.0, 2.0, 1.0)):
        RunLog(log.tracking_uri, log.run_id).metrics({"loss": loss, "learning_rate": 0.1 * step}, step)
    log.end()
    client = connect(tracking_uri)
    run = client.get_run(log.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"name": "n", "model.bridge.depth": "2", "seed": "0"}
    assert run.data.tags["data.corpus.sha256"] == "ab" * 32
    assert [(point.step, point.value) for point in client.get_metric_history(log.run_id, "loss")] == [
        (0, 3.0),
        (1, 2.0),
        (2, 1.0),
    ]
    artifacts = Path(run.info.artifact_uri)
    assert artifacts.is_relative_to(Path(tracking_uri.removeprefix("sqlite:///")).parent)
    assert load_yaml(artifacts / "config.yaml") == config
    log.end("FAILED")
    assert client.get_run(log.run_id).info.status == "FAILED"


def load_yaml(path: Path) -> object:
    import yaml

    return yaml.safe_load(path.read_text())


def test_the_database_is_the_only_store(versions: tuple[ModelVersion, ModelVersion], tracking_uri: str) -> None:
    with sqlite3.connect(tracking_uri.removeprefix("sqlite:///")) as database:
        assert database.execute("select count(*) from model_versions").fetchone() == (2,)
        assert database.execute("select count(*) from trace_info").fetchone() == (0,)
