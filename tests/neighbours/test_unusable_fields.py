"""A field that no column of an index can hold costs its entry, named and with a reason, and no other."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.neighbours.in_process import build_in_process

SEQUENCE = "MKVLAAGIVGLLLAQWERTYHPNDSCFMKVLAAGIVGLLL"


def rest_entry(accession: str, **fields: Any) -> dict[str, Any]:
    said = {"commentType": "FUNCTION", "texts": [{"value": f"Makes {accession}."}]}
    sequence = SEQUENCE
    own = {"primaryAccession": accession, "entryType": "UniProtKB reviewed (Swiss-Prot)", "comments": [said]}
    return {**own, "sequence": {"value": sequence, "length": len(sequence)}, **fields}


def flat_entry(accession: str, version: str, feature: str) -> str:
    sequence = SEQUENCE
    return (
        f"ID   {accession}_X                    Reviewed;          {len(sequence)} AA.\nAC   {accession};\n"
        f"DT   02-FEB-2024, entry version {version}.\nDE   RecName: Full=Kinase;\nOS   Homo sapiens (Human).\n"
        f"CC   -!- FUNCTION: Makes {accession}.\nFT   BINDING         {feature}\n"
        f'FT                   /ligand="ATP"\n'
        f"SQ   SEQUENCE   {len(sequence)} AA;  100 MW;  0 CRC64;\n     {sequence}\n//\n"
    )


def test_fields_that_no_column_can_hold_cost_their_entry_alone(tmp_path: Path) -> None:
    end = {"value": 10**12, "modifier": "EXACT"}
    domain = {"type": "Domain", "location": {"start": {"value": 1, "modifier": "EXACT"}, "end": end}}
    texts = [{"value": "Binds."}]
    bad: dict[str, dict[str, Any]] = {
        "R1": {"entryAudit": {"entryVersion": 10**15}},
        "R2": {"entryAudit": {"entryVersion": "5"}},
        "R3": {"entryAudit": {"entryVersion": True}},
        "R4": {"features": [{**domain, "description": "J"}]},
        "R5": {"comments": [{"commentType": "FUNCTION", "molecule": 3, "texts": texts}]},
        "R6": {"comments": [{"commentType": "FUNCTION", "texts": [{**texts[0], "evidences": [{"evidenceCode": 3}]}]}]},
        "R7": {"organism": {"scientificName": 3}},
    }
    largest = {"entryAudit": {"entryVersion": 2**31 - 1}}
    entries = [rest_entry("K1"), *(rest_entry(name, **fields) for name, fields in bad.items())]
    (tmp_path / "rest.json").write_text(json.dumps({"results": [*entries, rest_entry("K2", **largest)]}))
    flat = [("F1", "99999999999", "1..9"), ("K3", "7", "1..9"), ("F2", "7", "1..99999999999"), ("K4", "7", "?..9")]
    (tmp_path / "flat.txt").write_text("".join(flat_entry(*each) for each in flat))
    rows = ["Entry\tEntry version\tFunction [CC]\tSequence", f"T1\t{2**31}\tFUNCTION: Moves.\t{SEQUENCE}"]
    (tmp_path / "one.tsv").write_text("\n".join([*rows, f"K5\t1\tFUNCTION: Moves.\t{SEQUENCE}", ""]))
    index = build_in_process([tmp_path / name for name in ("rest.json", "flat.txt", "one.tsv")], tmp_path / "index")
    kept = {entry.accession: entry.entry_version for entry in index.stream()}
    assert kept == {"K1": None, "K2": 2**31 - 1, "K3": 7, "K4": 7, "K5": 1}
    refused = pq.read_table(index.data / "quarantine").to_pylist()
    assert index.manifest["reasons"] == {"unusable_field": 10}
    assert sorted(row["record"] for row in refused) == ["F1", "F2", *bad, "T1"]
    assert {row["value"] for row in refused} >= {str(10**15), "'5'", "True", str(10**12), "99999999999"}
