"""The model card in a model folder: what the model is, what it stands on, whose terms it inherits."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from protein2text.errors import ConfigError
from protein2text.models.encoders import layer_of, licence_of
from protein2text.models.licences import PARTS, UNKNOWN, Licence, Licences, licence_of_weights
from protein2text.models.model_config import BridgeConfig, ModelConfig

CARD = "README.md"
NOT_STATED = "not stated"
"""What a corpus card calls the licence of records that state none."""

PUBLISHED_CORPUS = Licence(
    "corpus", "UniProt functions (CC BY 4.0) and PubMed Central abstracts (terms differ by article)", UNKNOWN
)
PUBLISHED_GENERATOR = Licence("qa_generator", "Llama-3.1-8B-Instruct", "llama3.1")
"""What wrote the questions and answers of the published checkpoint, by its own README."""


def licences_of(
    config: ModelConfig, decoder: Path, encoder: Path, *, published: bool, stated: Mapping[str, str],
    corpus: Mapping[str, int] | None = None,
) -> Licences:  # fmt: skip
    """Terms of a model's four parts.

    Args:
        decoder: folder of the base; ``encoder`` likewise, or a file.
        published: the corpus is that of the published checkpoint.
        stated: licence identifiers that the user knows, by part; they win.
        corpus: how many records of the training corpus state which licence.

    Raises:
        ConfigError: an unknown part.
    """
    for part in stated:
        if part not in PARTS:
            raise ConfigError("licences", part, f"is no part of a model; parts are {', '.join(PARTS)}")
    known = licence_of_weights(config.encoder.source, encoder)
    generator = PUBLISHED_GENERATOR if published else Licence("qa_generator", "not recorded", UNKNOWN)
    found = [
        Licence("encoder", _name(config.encoder.source), licence_of(config.encoder) if known == UNKNOWN else known),
        Licence("decoder", _name(config.decoder.source), licence_of_weights(config.decoder.source, decoder)),
        *([PUBLISHED_CORPUS] if published else _corpus_parts(corpus or {})),
        generator,
    ]
    known_better = {part: Licence(part, "as stated by its user", licence.lower()) for part, licence in stated.items()}
    parts = tuple(dict.fromkeys(known_better.get(part.part, part) for part in found))
    architecture = json.loads((decoder / "config.json").read_text()).get("model_type")
    return Licences(parts, llama_architecture=architecture == "llama")


def _corpus_parts(records: Mapping[str, int]) -> list[Licence]:
    """One part per licence that records state; those that state none are under unknown terms."""
    if not records:
        return [Licence("corpus", "not recorded", UNKNOWN)]
    total = sum(records.values())
    return [
        Licence("corpus", f"{count:,} of {total:,} records", identifier(licence)) for licence, count in records.items()
    ]


def identifier(licence: str) -> str:
    """A licence's name as corpora state it, in the form of `licences.TERMS`."""
    return UNKNOWN if licence == NOT_STATED else "-".join(licence.lower().split())


def _name(source: str) -> str:
    """A base's own name: the last two parts of a hub id, the last of a path."""
    return source if source.count("/") == 1 and not source.startswith((".", "/", "~")) else source.rsplit("/", 1)[-1]


def _sizes(bridge: BridgeConfig) -> str:
    if bridge.kind == "projector":
        return ", a token for every residue"
    heads = f"{bridge.num_heads} heads × {bridge.head_dim}, feed-forward × {bridge.feed_forward_multiple}"
    return f", {bridge.num_latents} latents, {bridge.depth} layers of {heads}"


def _trained_on(sources: Sequence[Mapping[str, Any]]) -> list[str]:
    listed = [
        f"- {source['name']}, release {source['release'] or NOT_STATED}: {source['records']:,} records"
        for source in sources
    ]
    return ["", "## What its corpora were made of", "", *listed] if listed else []


def write_card(
    folder: Path, name: str, config: ModelConfig, licences: Licences, *, dropped: list[str], leaks: Sequence[str] = (),
    sources: Sequence[Mapping[str, Any]] = (),
) -> str:  # fmt: skip
    """Write the card; a model with Llama inside gets a name that begins with it, one with leaks says so.

    Args:
        sources: name, release and number of records of what it was trained on, where that is known.

    Returns:
        The model's name.
    """
    if licences.built_with_llama and not name.lower().startswith("llama"):
        name = f"Llama-{name}"
    verdict, because = licences.commercial_use
    bridge = config.bridge
    lines = [f"# {name}", ""]
    lines += ["Built with Llama", ""] if licences.built_with_llama else []
    lines += [
        "Answers questions about a protein from its sequence (Protein2Text, NAACL 2025). Its answers are generated "
        "text, not experimental evidence.",
        *(line for leak in leaks for line in ("", f"**Trained with a leak:** {leak}.")),
        "", "## What it is made of", "",
        f"- encoder: {_name(config.encoder.source)}, layer {layer_of(config.encoder)}, rotary positions "
        f"{config.encoder.esm_rope}",
        f"- bridge: {bridge.kind.replace('_', ' ')}" + _sizes(bridge),
        f"- decoder: {_name(config.decoder.source)}, LoRA rank {config.decoder.lora.rank}, alpha "
        f"{config.decoder.lora.alpha}, unmerged",
        f"- origin: {config.origin}", "", "`bases.json` holds the SHA-256 of every file of encoder and decoder; they "
        "are checked when the model is loaded.",
        *_trained_on(sources),
        "", "## Terms", "", f"Commercial use: {verdict}, because {because}.", "", "| part | what | licence |",
        "|---|---|---|",
        *(f"| {part.part.replace('_', ' ')} | {part.name} | {part.licence} |" for part in licences.parts),
    ]  # fmt: skip
    if dropped:
        lines += ["", "## Left out", "", "Tensors of the published files that nothing reads:", ""]
        lines += [f"- `{tensor}`" for tensor in dropped]
    (folder / CARD).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return name
