"""Finding protein names in abstracts: time and memory of the dictionary against the number of names.

    python benchmarks/literature.py --names 3000 30000 300000 --abstracts 2000

Names are made up in the shapes of UniProt's: symbols with digits, and names of several words. An abstract is 200 words,
made up too, with five of the names among them. Each number of names gives a row, printed and appended to
``results/literature.csv``: seconds to build, how far the process grew for the dictionary, abstracts a second on one
core, and the share of the planted names that were found, which must be all.
"""

import argparse
import random
import time

import torch
from rows import append, origin

from protein2text.data.literature.lexicon import Lexicon
from protein2text.data.protein_names import NamedProtein, ProteinName
from protein2text.memory import peak_bytes
from protein2text.proteins import Protein

NAMES_PER_PROTEIN, PLANTED, WORDS_PER_ABSTRACT = 6, 5, 200
SYLLABLES = (
    "ba",
    "cro",
    "dil",
    "fen",
    "gor",
    "hep",
    "kin",
    "lam",
    "mor",
    "nex",
    "pro",
    "rin",
    "sol",
    "tub",
    "vas",
    "zym",
)
HEADS = ("ligase", "receptor-binding protein", "synthase", "homolog", "transferase subunit", "factor")


def made_name(rng: random.Random, number: int) -> ProteinName:
    """A name that no other number has."""
    if number % 2:
        letters = "".join(rng.choices("ABCDEFGHKLMNPQRSTVXYZ", k=3))
        return ProteinName(f"{letters}{number}", True)
    word = "".join(rng.choices(SYLLABLES, k=4))
    return ProteinName(f"{word.capitalize()} {rng.choice(HEADS)} {number}", False)


def main() -> None:
    """Time each number of names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, nargs="+", default=[3_000, 30_000])
    parser.add_argument("--abstracts", type=int, default=1_000)
    arguments = parser.parse_args()
    for num_names in arguments.names:
        row = {**measure(num_names, arguments.abstracts), **origin(torch.device("cpu"))}
        append("literature", row)
        print(row)  # noqa: T201  a benchmark's output


def measure(num_names: int, num_abstracts: int) -> dict[str, object]:
    """One row."""
    rng = random.Random(0)
    names = [made_name(rng, number) for number in range(num_names)]
    groups = [tuple(names[first : first + NAMES_PER_PROTEIN]) for first in range(0, num_names, NAMES_PER_PROTEIN)]
    proteins = [NamedProtein(Protein(f"P{n}", "MKV"), group, "Homo sapiens") for n, group in enumerate(groups)]
    filler = ["".join(rng.choices(SYLLABLES, k=rng.randrange(1, 4))) for _ in range(20_000)]
    texts, planted = [], []
    for _ in range(num_abstracts):
        chosen = rng.sample(range(num_names), PLANTED)
        words = rng.choices(filler, k=WORDS_PER_ABSTRACT)
        for number in chosen:
            words.insert(rng.randrange(len(words)), f"({names[number].text}),")
        texts.append(" ".join(words))
        planted.append({number // NAMES_PER_PROTEIN for number in chosen})
    before, began = peak_bytes(), time.perf_counter()
    lexicon = Lexicon(proteins)
    built, resident = time.perf_counter(), peak_bytes()
    results = [lexicon.find(text) for text in texts]
    seconds = time.perf_counter() - built
    found = sum(len(wanted & set(result.proteins)) for wanted, result in zip(planted, results, strict=True))
    return {
        "names": num_names,
        "abstracts": num_abstracts,
        "build_s": round(built - began, 2),
        "dictionary_mib": round((resident - before) / 2**20, 1),
        "abstracts_per_s": round(num_abstracts / seconds),
        "found_share": found / sum(map(len, planted)),
    }


if __name__ == "__main__":
    main()
