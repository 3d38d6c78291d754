"""The domain families of the sample world. Synthetic: real signature motifs, invented facts, no biology to be learned.

Each family owns one signature motif in PROSITE syntax (prosite.expasy.org, release 2024_05 for accession numbers) and
two facts. A *catalytic* domain decides what a protein ``binds`` and its ``kind``; a *context* domain decides its
``location`` and ``process``. The two sorts combine freely, so a protein's four facts come from two independent places.
"""

from dataclasses import dataclass
from typing import Literal

Sort = Literal["catalytic", "context"]

FACT_KINDS = ("binds", "kind", "location", "process")


@dataclass(frozen=True)
class Family:
    """A domain family: name, signature motif (PROSITE syntax), sort, and the facts it decides."""

    name: str
    motif: str
    sort: Sort
    facts: dict[str, str]


def _catalytic(name: str, motif: str, binds: str, kind: str) -> Family:
    return Family(name, motif, "catalytic", {"binds": binds, "kind": kind})


def _context(name: str, motif: str, location: str, process: str) -> Family:
    return Family(name, motif, "context", {"location": location, "process": process})


FAMILIES: tuple[Family, ...] = (
    _catalytic("Walker A", "[AG]-x(4)-G-K-[ST]", "ATP", "kinase"),
    _catalytic("C2H2 zinc finger", "C-x(2)-C-x(3)-F-x(8)-H-x(3)-H", "zinc", "repressor"),
    _catalytic("HExxH metalloprotease", "H-E-x(2)-H-x(10)-E", "nickel", "protease"),
    _catalytic("EF-hand", "D-x-D-x-D-G-x(2)-D-x(2)-E", "calcium", "sensor"),
    _catalytic("Rossmann", "G-x-G-x(2)-G-x(17)-D", "NAD", "dehydrogenase"),
    _catalytic("Cytochrome c", "C-x(2)-C-H", "heme", "oxidase"),
    _catalytic("4Fe-4S ferredoxin", "C-x(2)-C-x(2)-C-x(3)-C-P", "iron", "reductase"),
    _catalytic("DEAD box", "[LIVMF](2)-D-E-A-D-[RK]", "RNA", "helicase"),
    _catalytic("Homeobox", "W-F-x-N-R-[RK]-x-K", "DNA", "activator"),
    _catalytic("GTPase G3", "[KR]-x(3)-W-D-T-A-G-Q-E", "GTP", "GTPase"),
    _catalytic("Biotinyl attachment", "E-A-M-K-M", "biotin", "carboxylase"),
    _catalytic("Blue copper", "[GA]-x(2)-Y-C-x-P-H-x(2)-M", "copper", "carrier"),
    _context("Endoplasmic retention", "K-D-E-L-x(3)-K-D-E-L", "reticulum", "folding"),
    _context("Cell attachment", "R-G-D-S-P-x(2)-R-G-D", "membrane", "adhesion"),
    _context("Nuclear localization", "K-K-K-R-K-x(2)-K-R", "nucleus", "splicing"),
    _context("Peroxisomal targeting", "[SAC]-K-L-x(4)-S-R-L", "peroxisome", "detoxification"),
    _context("Leucine zipper", "L-x(6)-L-x(6)-L-x(6)-L", "nucleolus", "transcription"),
    _context("WD repeat", "[LIVM]-x-[SG]-x-D-x(2)-[LIVM]-x(2)-W-D", "centrosome", "division"),
    _context("Prenylation", "C-A-A-x-C-V-L-S", "endosome", "signaling"),
    _context("Leucine-rich repeat", "L-x(2)-L-x-L-x(2)-N-x-L", "Golgi", "secretion"),
    _context("ITAM", "Y-x(2)-L-x(6)-Y-x(2)-L", "synapse", "immunity"),
    _context("Ankyrin", "G-x-T-P-L-H-x-A-x(3)-G-H", "cytoskeleton", "motility"),
    _context("Tetratricopeptide", "W-x(2)-L-G-x(2)-Y-x(6)-A-x(3)-F", "mitochondrion", "respiration"),
    _context("PxxP", "P-x(2)-P-x-R-x(3)-P-x(2)-P", "lysosome", "autophagy"),
)

CATALYTIC = tuple(family for family in FAMILIES if family.sort == "catalytic")
CONTEXT = tuple(family for family in FAMILIES if family.sort == "context")
