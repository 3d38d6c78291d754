"""Which letters an encoder reads, and under which ids."""

from collections.abc import Mapping
from dataclasses import dataclass

VOCABULARY = ("<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO", ".", "-", "<null_1>", "<mask>")
"""ESM-2's 33 tokens in their published order."""

RESIDUE_IDS = {letter: number for number, letter in enumerate(VOCABULARY) if len(letter) == 1 and letter.isalpha()}
CLS_ID, PAD_ID, EOS_ID, MASK_ID = (VOCABULARY.index(token) for token in ("<cls>", "<pad>", "<eos>", "<mask>"))


@dataclass(frozen=True)
class Alphabet:
    """An encoder's token ids for residues, and for what stands before and after a protein."""

    residue_ids: Mapping[str, int]
    """Upper-case letters; any other is refused, never replaced."""
    begin_id: int
    end_id: int

    @property
    def letters(self) -> str:
        return "".join(sorted(self.residue_ids))

    def row(self, sequence: str) -> list[int]:
        """Token ids of a protein: begin, residues, end.

        Raises:
            ValueError: a letter that `protein2text.proteins` should have refused.
        """
        try:
            return [self.begin_id, *(self.residue_ids[letter] for letter in sequence), self.end_id]
        except KeyError as error:
            raise ValueError(
                f"letter {error} is not in the encoder's alphabet; clean sequences with parse_protein"
            ) from None


ESM2 = Alphabet(RESIDUE_IDS, CLS_ID, EOS_ID)
