"""docs/python.md runs as it stands, on an untrained model in the place of the demo's."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from protein2text.config import load_run
from protein2text.models.protein_to_text import ProteinToText


def test_every_block_of_the_page_runs(repository: Path, workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    ProteinToText(load_run("tiny").model).save_pretrained(workdir / "runs" / "demo" / "instruction" / "model")
    page = (repository / "docs" / "python.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    pairs = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", page, flags=re.DOTALL)
    assert len(pairs) == page.count("```python")
    for code, shown in pairs:
        capsys.readouterr()
        exec(code, names)
        printed = capsys.readouterr().out
        assert printed.count("\n") == shown.count("\n"), code
        facts = r"num_residues=\d+|read_as='\w+'|torch\.Size\(.*?\)|line \d+, column \d+|estimated_bytes=\d+"
        assert re.findall(facts, printed) == re.findall(facts, shown)
