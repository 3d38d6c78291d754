"""On a Ray that can run no task each data job is refused with the arithmetic: Ray itself would wait, in silence."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from protein2text.data.ingest import ingest
from protein2text.data.literature.retrieve import Services, literature
from protein2text.data.qa.generate import literature_mark
from protein2text.data.qa.generated_folder import GeneratedFolder, GeneratedRow
from protein2text.data.qa.passage_folder import PassageFolder
from protein2text.data.qa.rules import QaRules
from protein2text.data.qa.run import make_qa
from protein2text.errors import ResourcesUnavailable
from tests.data.qa.literature import passage, write_literature

pytestmark = pytest.mark.usefixtures("no_cpus")

TABLE = (
    "Entry\tProtein names\tOrganism\tSequence\nP46527\tCyclin-dependent kinase inhibitor 1B\tHomo sapiens\tMSNVRVS\n"
)
NONE = r"the cluster has 0 CPU\. Give Ray more, such as with `ray start`"


@pytest.fixture(scope="module")
def no_cpus(without_ray: None) -> Iterator[None]:
    ray.init(address="local", num_cpus=0, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def proteins(tmp_path: Path) -> str:
    path = tmp_path / "proteins.tsv"
    path.write_text(TABLE)
    return str(path)


def test_ingest(proteins: str, tmp_path: Path) -> None:
    needed = r"needs 1\.25 CPU \(1 readers x 0\.25 CPU \+ 1 for Ray Data\)"
    with pytest.raises(ResourcesUnavailable, match=f"{needed}, {NONE}"):
        ingest([proteins], str(tmp_path / "corpus"), max_residues=100)


def test_literature_before_its_first_search(proteins: str, tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9"
    with pytest.raises(ResourcesUnavailable, match=rf"needs 1 CPU \(1 for Ray Data\), {NONE}"):
        literature([proteins], tmp_path / "literature", services=Services("me@example.org", nobody, nobody))


def test_the_checks_of_questions(tmp_path: Path) -> None:
    folder = write_literature(tmp_path / "literature", [passage(1, "P1", ["x"], "X binds zinc.")])
    row: GeneratedRow = {
        "passage_id": "PMC1.1:P1", "text": '{"pairs": []}', "finish": "stop", "reason": None, "message": None,
        "generator": "{}", "prompt_version": 1, "decoding": "{}", "seed": 0,
    }  # fmt: skip
    with GeneratedFolder(tmp_path / "qa") as texts:
        texts.begin({"literature": literature_mark(PassageFolder(folder)), "licences": list(QaRules().licences)})
        texts.add([row])
    with pytest.raises(ResourcesUnavailable, match=rf"needs 1 CPU \(1 for Ray Data\), {NONE}"):
        make_qa(folder, tmp_path / "qa", None)
