"""What is known about a protein: single statements, each with its evidence, as the source entry makes them."""

from dataclasses import dataclass

FACT_KINDS = (
    "name",
    "function",
    "ec",
    "reaction",
    "molecular_function",
    "biological_process",
    "cellular_component",
    "location",
    "cofactor",
    "ligand",
    "domain",
    "family",
)
"""In the order in which answers give them."""

GO_EVIDENCE = {
    "EXP": "ECO:0000269",
    "IDA": "ECO:0000314",
    "IPI": "ECO:0000353",
    "IMP": "ECO:0000315",
    "IGI": "ECO:0000316",
    "IEP": "ECO:0000270",
    "HTP": "ECO:0006056",
    "HDA": "ECO:0007005",
    "HMP": "ECO:0007001",
    "HGI": "ECO:0007003",
    "HEP": "ECO:0007007",
    "IBA": "ECO:0000318",
    "IBD": "ECO:0000319",
    "IKR": "ECO:0000320",
    "IRD": "ECO:0000321",
    "ISS": "ECO:0000250",
    "ISO": "ECO:0000266",
    "ISA": "ECO:0000247",
    "ISM": "ECO:0000255",
    "IGC": "ECO:0000317",
    "RCA": "ECO:0000245",
    "TAS": "ECO:0000304",
    "NAS": "ECO:0000303",
    "IC": "ECO:0000305",
    "ND": "ECO:0000307",
    "IEA": "ECO:0000501",
}
"""Evidence codes of the Gene Ontology and what they are called in the Evidence and Conclusion Ontology."""

EXPERIMENTAL = frozenset(
    GO_EVIDENCE[code] for code in ("EXP", "IDA", "IPI", "IMP", "IGI", "IEP", "HTP", "HDA", "HMP", "HGI", "HEP")
)
TRANSFERRED = frozenset(
    (
        *(GO_EVIDENCE[code] for code in ("IBA", "IBD", "IKR", "IRD", "ISS", "ISO", "ISA", "ISM", "IGC", "RCA", "IEA")),
        "ECO:0000256",  # a rule or signature, unreviewed
        "ECO:0000259",  # a signature of InterPro, unreviewed
        "ECO:0000313",  # imported, unreviewed
        "ECO:0007669",  # what newer releases call IEA
    )
)
"""Concluded from other proteins or by a computer: by similarity, by a rule, or automatically."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One statement of a source entry about its protein."""

    kind: str
    """One of ``FACT_KINDS``."""
    value: str
    """As the source says it, without evidence."""
    term: str | None = None
    """What a vocabulary calls it: ``GO:0005576``, ``CHEBI:29108``, ``SL-0243``, ``IPR000276``, ``PF00001``."""
    eco: tuple[str, ...] = ()
    """Evidence codes, each once, in the order of the source; empty where none is stated."""
    pubmed: tuple[str, ...] = ()
    """PubMed ids, each once, in the order of the source."""
    begin: int | None = None
    """First residue, from 1, in the source protein; of domains and binding sites."""
    end: int | None = None
    """Last residue, inclusive."""
    molecule: str | None = None
    """Isoform or chain of which alone the source says it, such as ``Isoform 2``; None: of the protein."""

    @property
    def is_experimental(self) -> bool:
        """Whether an experiment on this very protein is among the evidence."""
        return not EXPERIMENTAL.isdisjoint(self.eco)

    @property
    def is_transferred(self) -> bool:
        """Whether the source itself concluded it from similarity or a rule, and no experiment stands beside that."""
        return not self.is_experimental and not TRANSFERRED.isdisjoint(self.eco)
