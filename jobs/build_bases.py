"""Train the tiny preset's two bases from scratch: an ESM-2 on synthetic proteins, a LLaMA on synthetic notes.

The results are committed under platform/protein2text/presets/tiny; run this again only to change them. About half an
hour on one core; the same seed and thread count give the same weights on the same machine.
"""

import argparse
import logging
from pathlib import Path

import torch

import _bootstrap  # noqa: F401  puts the package on the path
from protein2text.data.sample import HELD_OUT_SHARE
from protein2text.models.sources import PRESETS
from protein2text.train.base_decoder import pretrain_decoder
from protein2text.train.base_encoder import pretrain_encoder


def main() -> None:
    """Parse the arguments and train both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=PRESETS / "tiny", help="folder for esm2/ and llama/")
    parser.add_argument("--seed", type=int, default=0, help="the sample world's seed")
    parser.add_argument(
        "--encoder-cycles", type=int, nargs="+", default=[4000, 1500], help="masked-language-model steps of 32 proteins"
    )
    parser.add_argument("--decoder-steps", type=int, default=1500, help="steps of 32 exchanges")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    pretrain_encoder(
        arguments.output / "esm2",
        world_seed=arguments.seed,
        held_out_share=HELD_OUT_SHARE,
        cycles=arguments.encoder_cycles,
    )
    pretrain_decoder(arguments.output / "llama", seed=arguments.seed, steps=arguments.decoder_steps)


if __name__ == "__main__":
    main()
