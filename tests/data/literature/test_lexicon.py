"""`data.literature.lexicon`: which proteins a text names, beside a search with one regular expression a name."""

import pickle
import random
import re
from pathlib import Path

import pytest

from protein2text.data.literature.jats import read_jats
from protein2text.data.literature.lexicon import Lexicon
from protein2text.data.protein_names import NamedProtein, NamedProteins, ProteinName, looks_like_symbol
from protein2text.proteins import Protein

HUMAN, MOUSE, COLI = "Homo sapiens (Human)", "Mus musculus (Mouse)", "Escherichia coli (strain K12)"


def protein(accession: str, *names: str, organism: str | None = HUMAN, symbols: tuple[str, ...] = ()) -> NamedProtein:
    full = [ProteinName(name, looks_like_symbol(name)) for name in names]
    return NamedProtein(Protein(accession, "MKV"), (*full, *(ProteinName(name, True) for name in symbols)), organism)


def found(proteins: list[NamedProtein], text: str, context: str = "") -> dict[str, list[str]]:
    result = Lexicon(proteins).find(text, context)
    return {proteins[index].protein.accession: names for index, names in result.proteins.items()}


def names(name: str, text: str, *, symbol: bool | None = None) -> bool:
    """Whether a text names a protein of one name."""
    one = ProteinName(name, looks_like_symbol(name) if symbol is None else symbol)
    return bool(Lexicon([NamedProtein(Protein("P1", "MKV"), (one,), HUMAN)]).find(text).proteins)


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("TNF-alpha", "Serum TNF-alpha rose.", True),
        ("TNF-alpha", "TNF-α, TNFalpha", True),
        ("TNF-alpha", "(TNFα)", True),
        ("TNF-alpha", "TNF alpha", True),
        ("TNF-alpha", "TNF\u2011α", True),
        ("TNF-alpha", "TNF-beta", False),
        ("TNFA", "TNF-A", False),
        ("IL-6", "IL6 and more", True),
        ("IL-6", "IL 6.", True),
        ("IL6", "IL-6.", True),
        ("IL6", "IL 6.", False),
        ("IL-10", "IL-1 0.5 ng", False),
        ("IL-1", "IL-10", False),
        ("IL-17", "IL-17A", False),
        ("RAB5", "RAB5A", False),
        ("TP53", "TP53BP1", False),
        ("TP53", "TP53-null, TP53+ and TP53/MDM2", True),
        ("TP53", "tp53", False),
        ("p53", "P53 and mutant p53.", True),
        ("NF-kappa-B", "NF-κB", True),
        ("NF-kappa-B", "NFκB", True),
        ("14-3-3 protein epsilon", "the 14-3-3 protein ε", True),
        ("Interleukin-6", "interleukin 6", True),
        ("Tumor necrosis factor", "tumor-necrosis factor", True),
        ("Tumor necrosis factor", "tumor necrosis factors", True),
        ("Tumor necrosis factor", "tumornecrosis factor", False),
        ("Tumor necrosis factor", "tumor. Necrosis factor", False),
        ("Histone", "Histones are", True),
        ("Insulin", "INSULIN", True),
        ("Insulin", "proinsulin", False),
        ("Insulin", "insulin-like growth factor", False),
        ("Insulin", "the insulin receptor", False),
        ("Insulin", "the insulin receptor binds insulin", True),
        ("Insulin", "insulin-stimulated uptake", True),
        ("Insulin", "insulin resistance", True),
        ("Catenin", "β-catenin", False),
        ("Lipoxygenase", "5-lipoxygenase", False),
        ("MAPK14", "p38-MAPK14", True),
        ("p38", "p38-β", False),
        ("p38", "p38 kinase", True),
        ("Spermidine/spermine N(1)-acetyltransferase 1", "spermidine/spermine N(1)-acetyltransferase 1", True),
        ("Spermidine/spermine N(1)-acetyltransferase 1", "spermidine spermine N1 acetyltransferase 1", False),
    ],
)
def test_tokens_greek_letters_and_hyphens(name: str, text: str, named: bool) -> None:
    assert names(name, text) is named


@pytest.mark.parametrize(
    ("symbol", "text", "named"),
    [
        ("Tnf", "Tnf and TNF", True),
        ("Tnf", "TNF", True),
        ("TNF", "Tnf", False),
        ("recA", "RecA", True),
        ("recA", "RECA", True),
        ("recA", "reca", False),
        ("BRCA1", "Brca1 or brca1", False),
    ],
)
def test_symbols_keep_the_case_of_their_species(symbol: str, text: str, named: bool) -> None:
    assert names(symbol, text, symbol=True) is named


@pytest.mark.parametrize("symbol", ["WAS", "CAT", "REST", "IMPACT", "SET", "KIT", "Rest", "notch"])
def test_symbols_that_are_english_words_are_ruled_out(symbol: str) -> None:
    lexicon = Lexicon([protein("P1", symbols=(symbol,))])
    assert lexicon.ruled_out() == {"english_word": [symbol]}
    result = lexicon.find(f"The {symbol} gene was found.")
    assert result.proteins == {}
    assert result.ambiguous == {symbol: "english_word"}


@pytest.mark.parametrize("name", ["Insulin", "Catalase", "Hemoglobin", "Glucagon", "Collagen", "Interferon", "Leptin"])
def test_a_lone_word_with_a_proteins_ending_is_a_name(name: str) -> None:
    assert Lexicon([protein("P1", name)]).ruled_out() == {}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("C3", "short"),
        ("S", "short"),
        ("12-15", "no_letters"),
        ("Hedgehog", "english_word"),
        ("Uncharacterized protein", "generic"),
        ("Heat shock protein", "generic"),
        ("Kinase 2", "generic"),
        ("Zinc finger protein 91", None),
        ("Transcription factor 4", None),
        ("Growth hormone", None),
        ("IL2", None),
    ],
)
def test_names_that_say_too_little_are_ruled_out(name: str, reason: str | None) -> None:
    assert Lexicon([protein("P1", name)]).ruled_out() == ({reason: [name]} if reason else {})


def test_a_name_shared_in_one_organism_or_by_unknown_ones_is_ruled_out() -> None:
    two = [protein("P1", "Amylase", symbols=("AMY1A",)), protein("P2", "amylase", symbols=("AMY1B",))]
    assert Lexicon(two).ruled_out() == {"shared": ["Amylase", "amylase"]}
    assert found(two, "Amylase of AMY1B") == {"P2": ["AMY1B"]}
    unknown = [protein("P1", "Amylase", organism=None), protein("P2", "Amylase")]
    assert Lexicon(unknown).ruled_out() == {"shared": ["Amylase", "Amylase"]}
    assert Lexicon(two).usable(1, two[1].names) == ["AMY1B"]


@pytest.mark.parametrize(
    ("text", "context", "named"),
    [
        ("Insulin of mice", "", ["P2"]),
        ("Insulin falls.", "A study in Homo sapiens", ["P1"]),
        ("Insulin of patients and murine insulin", "", ["P1", "P2"]),
        ("Insulin of E. coli", "", ["P3"]),
        ("Insulin of dogs", "", []),
        ("Insulin of humankind", "", []),
    ],
)
def test_a_name_of_orthologs_means_that_of_the_organism_spoken_of(text: str, context: str, named: list[str]) -> None:
    orthologs = [
        protein("P1", "Insulin"), protein("P2", "Insulin", organism=MOUSE), protein("P3", "Insulin", organism=COLI)
    ]  # fmt: skip
    assert sorted(found(orthologs, text, context)) == named
    if not named:
        assert Lexicon(orthologs).find(text, context).ambiguous == {"Insulin": "organism"}


def test_two_of_the_organism_spoken_of_stay_ambiguous() -> None:
    three = [protein("P1", "Insulin"), *(protein(name, "Insulin", organism=MOUSE) for name in ("P2", "P3"))]
    assert found(three, "Mouse insulin") == {}
    assert list(found(three, "Human insulin and mouse insulin")) == ["P1"]


def test_a_longer_name_hides_the_shorter_one_inside_it() -> None:
    both = [protein("P1", "Insulin"), protein("P2", "Insulin receptor substrate 1", symbols=("IRS1",))]
    assert found(both, "Insulin receptor substrate 1 (IRS-1)") == {"P2": ["Insulin receptor substrate 1", "IRS1"]}
    hidden = [*both, protein("P3", "Insulin receptor substrate 1")]
    assert found(hidden, "insulin receptor substrate 1") == {}


def test_real_abstracts_name_what_they_name(jats_files: list[Path]) -> None:
    known = [
        protein("P54130", "Fibroblast growth factor 9", organism=MOUSE, symbols=("Fgf9",)),
        protein("P22724", "Protein Wnt-4", organism=MOUSE, symbols=("Wnt4",)),
        protein("P09619", "Platelet-derived growth factor receptor beta", "PDGFR-beta", symbols=("PDGFRB",)),
        protein("Q60739", "BAG family molecular chaperone regulator 1", "BAG-1", symbols=("Bag1",)),
        protein("Q13309", "S-phase kinase-associated protein 2", symbols=("SKP2",)),
        protein("P46527", "Cyclin-dependent kinase inhibitor 1B", "p27Kip1", symbols=("CDKN1B",)),
        protein("P01308", "Insulin", symbols=("INS",)),
    ]
    hits = {}
    for path in jats_files:
        jats = read_jats(path.read_bytes(), path.name)
        if one := found(known, jats.abstract or "", jats.title):
            hits[path.name] = one
    assert hits == {
        "BMC_Cancer-4-_-539250.nxml": {"Q60739": ["BAG-1", "Bag1"]},
        "PLoS_Biol-1-2-261889.nxml": {"P09619": ["PDGFR-beta"]},
        "PLoS_Biol-4-6-1475681.nxml": {"P54130": ["Fgf9", "Fibroblast growth factor 9"], "P22724": ["Wnt4"]},
        "journal.pone.0152025.xml": {"P46527": ["p27Kip1"]},
    }


def test_the_dictionary_finds_what_one_regular_expression_a_name_finds(real_data: Path, jats_files: list[Path]) -> None:
    """Oracle: full names of 500 real proteins, put into real text at random places, in every case."""
    proteins = list(NamedProteins([str(real_data / "uniprot" / "human_function.tsv")], max_residues=100_000))
    lexicon = Lexicon(proteins)
    ruled_out = {name for listed in lexicon.ruled_out().values() for name in listed}
    simple = {
        name.text: index
        for index, named in enumerate(proteins)
        for name in named.names
        if re.fullmatch(r"[A-Za-z ]{12,}", name.text) and name.text not in ruled_out
    }
    assert len(simple) > 150
    rng = random.Random(3)
    for path in jats_files:
        words = (read_jats(path.read_bytes(), path.name).abstract or "").split()
        for name in rng.sample(sorted(simple), 8):
            words.insert(rng.randrange(len(words) + 1), f"of {rng.choice((name, name.upper(), name.lower()))},")
        text = " ".join(words)
        expected = {
            index
            for name, index in simple.items()
            for match in re.finditer(rf"(?<![\w-]){name}(?![\w-])", text, re.IGNORECASE)
            if not any(
                len(other) > len(name)
                and re.search(rf"{other}", text[max(0, match.start() - 80) : match.end() + 80], re.I)
                for other in simple
                if name.lower() in other.lower()
            )
        }
        result = set(lexicon.find(text).proteins)
        assert expected <= result
        assert all(
            any(re.search(re.escape(name), text, re.IGNORECASE) for name in lexicon.find(text).proteins[index])
            for index in result
        )


def test_a_lexicon_reaches_workers_unchanged() -> None:
    known = [protein("P1", "Insulin", "Proinsulin", symbols=("INS",)), protein("P2", "Insulin", organism=MOUSE)]
    copy = pickle.loads(pickle.dumps(Lexicon(known)))
    assert copy.find("Human insulin") == Lexicon(known).find("Human insulin")
    assert len(copy) == 4
