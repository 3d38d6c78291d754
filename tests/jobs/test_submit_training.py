"""A run submitted to a Ray cluster that has every dependency but not this package."""

from pathlib import Path

import yaml

from tests.jobs.conftest import Cluster


def test_a_submitted_job_trains_where_the_package_is_not_installed(
    cluster: Cluster, small_run: dict[str, object], tmp_path: Path
) -> None:
    run_file = tmp_path / "run.yaml"
    run_file.write_text(yaml.safe_dump(small_run))
    result = cluster.run("align", run_file)
    assert result["steps"] == 3
    assert (Path(result["model_dir"]) / "manifest.json").is_file()
    assert Path(result["model_dir"]).is_relative_to(tmp_path)


def test_a_submitted_job_embeds_what_a_run_will_read(
    cluster: Cluster, small_run: dict[str, object], tmp_path: Path
) -> None:
    run_file = tmp_path / "run.yaml"
    run_file.write_text(yaml.safe_dump(small_run))
    result = cluster.run("embed", tmp_path / "corpus", "--model", run_file, "--output", tmp_path / "features")
    assert (result["proteins"], result["embedded"], result["quarantined"]) == (6, 6, 0)
    assert list((tmp_path / "features").glob("*/*.safetensors"))
