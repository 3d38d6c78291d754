"""A world of passages and generators' answers of any size, from a seed: what `benchmarks/qa_checks.py` measures on.

Abstracts are about 1,400 letters of statements in the wording of molecular biology; most pairs ask for one of them, the
others have one of the defects that the checks look for. Each answer names something of its own: `data split` keeps
proteins together that share an answer of some words, and would have all of them in one group.
"""

import hashlib
import json
import random
from collections.abc import Iterator
from typing import NamedTuple

from protein2text.data.passages import Passage

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
PAIRS_PER_PASSAGE = 7
DEFECT_SHARE, COPY_SHARE = 0.3, 0.05
"""Shares of pairs that have a defect, and that nearly repeat the pair before them."""


def _listed(text: str) -> list[str]:
    return [" ".join(item.split()) for item in text.split(",")]


_LIGANDS = _listed(
    """
    zinc, Mg2+, Ca(2+), ATP, GTP, heme, NADPH, glucose, cholesterol, retinol, heparin, calmodulin, ubiquitin,
    FAD, DNA, RNA
    """
)
_PROCESSES = _listed(
    """
    lipid metabolism, cell migration, DNA repair, autophagy, vesicle transport, chromatin remodeling, insulin
    secretion, angiogenesis, neuronal differentiation, ribosome biogenesis, innate immunity, apoptosis, calcium
    signaling, bone resorption, fatty acid oxidation, spindle assembly, mRNA splicing, wound healing
    """
)
_PLACES = _listed(
    """
    nucleus, cytosol, mitochondrial matrix, plasma membrane, Golgi apparatus, endoplasmic reticulum, lysosome,
    peroxisome, primary cilium, nucleolus, synaptic vesicle, focal adhesion
    """
)
_TISSUES = _listed(
    """
    liver, kidney, skeletal muscle, hippocampus, retina, spleen, colon, pancreatic islets, bone marrow, adipose
    tissue, lung epithelium, testis, placenta, heart, thymus, cerebellum
    """
)
_DISEASES = _listed(
    """
    breast cancer, type 2 diabetes, Alzheimer disease, glioblastoma, cystic fibrosis, rheumatoid arthritis,
    hepatocellular carcinoma, muscular dystrophy, retinitis pigmentosa, chronic kidney disease, epilepsy, asthma
    """
)
_VERBS = (
    "activates",
    "inhibits",
    "stabilizes",
    "phosphorylates",
    "recruits",
    "ubiquitinates",
    "represses",
    "transports",
)
_EFFECTS = ("impairs", "abolishes", "delays", "enhances", "reduces", "increases", "prevents", "accelerates")
_METHODS = (
    "Here we examined {symbol} by immunoblotting, immunofluorescence and quantitative RT-PCR in {tissue} samples.",
    "Using CRISPR/Cas9-mediated knockout in HEK293 cells, we characterized the {symbol} gene (p < 0.05, n = {count}).",
    "Mutant mice were generated and analyzed at {count} weeks of age, and protein levels were quantified in {tissue}.",
)
_STATEMENTS = (
    ("{symbol} binds {ligand} with a dissociation constant of {number} µM and is found with {partner} in the {place}.",
     "What does this protein bind, and where is it found?",
     "It binds {ligand} and is found with {partner} in the {place}."),
    ("In {tissue}, {symbol} {verb} {partner} and thereby controls {process}.",
     "Which process does this protein control in {tissue}?", "It {verb} {partner} and thereby controls {process}."),
    ("Loss of {symbol} {effect} {process} by {percent}% in {tissue} of {partner} mice within {count} hours.",
     "How does loss of this protein affect {process}?",
     "Its loss {effect} {process} by {percent}% in {tissue} of {partner} mice."),
    ("Expression of {symbol} is elevated in patients with {disease} and correlates with {partner}.",
     "Is this protein elevated in patients with {disease}?",
     "Yes, its expression is elevated and correlates with {partner}."),
    ("The {partner} promoter is repressed when {symbol} accumulates in the {place} under hypoxia.",
     "What happens when this protein accumulates in the {place}?",
     "The {partner} promoter is repressed when it accumulates."),
    ("{symbol} forms a complex with {partner}, which requires {ligand} and an intact {count}-residue loop.",
     "What does the complex of this protein with {partner} require?",
     "The complex with {partner} requires {ligand} and an intact loop of it."),
    ("Variants of {symbol} cause {disease} because {partner} fails in the {tissue}.",
     "Why do variants of this protein cause {disease}?",
     "They cause {disease} because {partner} fails in the {tissue}."),
    ("Deletion of {symbol} {effect} {process} in mice but does not affect {partner}.",
     "Does deletion of this protein affect {partner}?",
     "No, its deletion {effect} {process} but does not affect {partner}."),
)  # fmt: skip
_DEFECTS = (
    lambda q, a, symbol: (q.replace("this protein", symbol), a),
    lambda q, a, symbol: (q.replace("?", ""), a),
    lambda q, a, symbol: (q, f"The study shows that {a[0].lower()}{a[1:]}"),
    lambda q, a, symbol: (q, a[: len(a) * 2 // 3]),
    lambda q, a, symbol: (q, "This is not mentioned in the abstract."),
    lambda q, a, symbol: (q, f"{a} See https://example.org/{symbol} for more."),
    lambda q, a, symbol: (q, a.replace("it", "the kinase QRX17").replace("It", "The kinase QRX17")),
    lambda q, a, symbol: (q, f"{a[:-1]} at a concentration of 917 mM."),
    lambda q, a, symbol: ("What is known in general of these?", a),
)


class Work(NamedTuple):
    """A passage and what a generator wrote about it."""

    passage: Passage
    text: str
    num_pairs: int


def world(num_pairs: int, num_proteins: int, seed: int) -> Iterator[Work]:
    """So many pairs about so many proteins, one passage after the other; the same seed gives the same."""
    num_passages = -(-num_pairs // PAIRS_PER_PASSAGE)
    for number in range(num_passages):
        rng = random.Random(f"{seed} {number}")
        left = num_pairs - number * PAIRS_PER_PASSAGE
        yield _work(number, number % num_proteins, min(left, PAIRS_PER_PASSAGE), rng, seed)


def _work(number: int, protein: int, num_pairs: int, rng: random.Random, seed: int) -> Work:
    accession, symbol, sequence = f"Q{protein:05d}", f"GEN{protein}A", _sequence(protein, seed)
    facts = [_facts(rng, symbol) for _ in range(7)]
    kinds = rng.sample(_STATEMENTS, 7)
    sentences = [statement.format(**fact) for (statement, _, _), fact in zip(kinds, facts, strict=True)]
    opening = [
        f"Protein general {protein} ({symbol}) is a conserved regulator of {facts[0]['process']}.",
        *_method(rng, facts[0]),
    ]
    passage: Passage = {
        "passage_id": f"PMC{number + 1}.1:{accession}",
        "protein": {
            "accession": accession,
            "sequence": sequence,
            "length": len(sequence),
            "checksum": hashlib.sha256(sequence.encode()).hexdigest(),
        },
        "names": [f"Protein general {protein}", symbol, f"{symbol}-alpha", f"PG-{protein}"],
        "found": [f"Protein general {protein}", symbol],
        "pmcid": f"PMC{number + 1}",
        "article_version": 1,
        "title": f"The role of {symbol}",
        "abstract": "\n".join(["Background", *opening, "Results", " ".join(sentences)]),
        "licence": "CC BY",
        "retracted": False,
        "provenance": None,
    }
    pairs: list[tuple[str, str]] = []
    for (_, question, answer), fact in list(zip(kinds, facts, strict=True))[:num_pairs]:
        pair = question.format(**fact), answer.format(**fact)
        if pairs and rng.random() < COPY_SHARE:
            pair = pairs[-1][0], pairs[-1][1].replace("and ", "and also ")
        elif rng.random() < DEFECT_SHARE:
            pair = rng.choice(_DEFECTS)(*pair, symbol)
        pairs.append(pair)
    text = json.dumps({"pairs": [{"question": question, "answer": answer} for question, answer in pairs]})
    return Work(passage, text, len(pairs))


def _facts(rng: random.Random, symbol: str) -> dict[str, object]:
    return {
        "symbol": symbol,
        "ligand": rng.choice(_LIGANDS),
        "place": rng.choice(_PLACES),
        "tissue": rng.choice(_TISSUES),
        "disease": rng.choice(_DISEASES),
        "verb": rng.choice(_VERBS),
        "effect": rng.choice(_EFFECTS),
        "partner": "".join(rng.choices("ABCDEFGHKLMNPRSTW", k=4)) + str(rng.randrange(1, 60)),
        "process": rng.choice(_PROCESSES),
        "number": round(rng.uniform(0.1, 90), 1),
        "percent": rng.randrange(5, 95),
        "count": rng.randrange(3, 96),
    }


def _method(rng: random.Random, facts: dict[str, object]) -> list[str]:
    return [sentence.format(**facts) for sentence in rng.sample(_METHODS, 2)]


def _sequence(protein: int, seed: int) -> str:
    rng = random.Random(f"{seed} sequence {protein}")
    return "".join(rng.choices(RESIDUES, k=rng.randrange(80, 900)))
