"""`evaluate.exposure`: what a model folder says of its training, held against test proteins."""

import json
from pathlib import Path

from protein2text.data.trained_on import write_trained_on
from protein2text.evaluate.exposure import exposure
from protein2text.proteins import Protein

PROTEINS = [Protein(f"P{number}", "MKVL" * (number + 1)) for number in range(9)]


def test_test_proteins_that_were_trained_on_are_counted_once_and_named(tmp_path: Path) -> None:
    write_trained_on(tmp_path, [protein.checksum for protein in PROTEINS[:7]], None)
    (tmp_path / "run.json").write_text(json.dumps({"run": "small"}))
    renamed = Protein("OTHER", PROTEINS[0].sequence)
    found = exposure(tmp_path, [renamed, *PROTEINS[3:], PROTEINS[4]])
    assert (found.num_proteins, found.num_seen) == (7, 5)
    assert found.first_seen == ("OTHER", "P3", "P4", "P5", "P6")
    (notice,) = found.notices()
    assert "trained on 5 of the 7 test proteins (OTHER, P3, P4, P5, P6): scores on them show recall" in notice


def test_a_leak_is_told_and_an_unknown_training_is_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"leaks": ["test set B shares 1 sequences"]}))
    found = exposure(tmp_path, PROTEINS)
    assert found.num_seen is None
    assert found.notices()[0] == "This model was trained with a leak: test set B shares 1 sequences."
    assert "is not known" in found.notices()[1]
