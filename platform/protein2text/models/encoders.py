"""Which protein encoders there are: a registry of architectures, and what is known of their published sizes.

No torch in here: a gateway and the command line read it too.

To add one, write a module whose ``forward`` turns a `ProteinBatch` into residue states ``(S, E)`` and which tells its
width, and register it before a model that names it is built::

    register(EncoderFamily("mine", alphabet=..., training_residues=2046, layer=-1, load=load_mine, sizes={}))

Then ``encoder.family: mine`` in a run file selects it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Protocol

from protein2text.errors import ConfigError
from protein2text.models.alphabet import ESM2, Alphabet
from protein2text.models.long_proteins import ESM2_TRAINING_RESIDUES, Reading
from protein2text.models.model_config import ESM2_LAYER, EncoderConfig, ModelConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from protein2text.models.batches import ProteinBatch


@dataclass(frozen=True)
class EncoderSize:
    """One published encoder of a family."""

    num_layers: int
    width: int
    num_heads: int
    licence: str
    """Identifier in lower case, as model hubs write it."""


class ResidueEncoder(Protocol):
    """What the model asks of an encoder; a frozen ``torch.nn.Module`` in evaluation mode."""

    width: int
    """E, columns of the residue states."""
    row_bytes: int
    """Most that a forward has allocated at once, per token read; for estimates."""

    def __call__(self, proteins: "ProteinBatch") -> "Tensor":
        """Residue states ``(S, E)``: the batch's ``state_rows`` of the chosen layer."""


@dataclass(frozen=True)
class EncoderFamily:
    """An architecture: what it reads, what it was trained on, and how its weights are loaded."""

    name: str
    alphabet: Alphabet
    training_residues: int
    """Longest protein seen whole in training; ``long_proteins`` begins above it."""
    layer: int
    """Which layer's states are taken when the configuration does not say."""
    load: "Callable[[EncoderConfig], torch.nn.Module]"
    """A `ResidueEncoder` from a configuration whose ``layer`` is set."""
    sizes: Mapping[str, EncoderSize]
    """Published encoders by the name of their folder, file or hub repository."""


_FAMILIES: dict[str, EncoderFamily] = {}


def register(family: EncoderFamily) -> None:
    """Make an architecture known under its name.

    Raises:
        ValueError: the name is taken by another.
    """
    if _FAMILIES.setdefault(family.name, family) is not family:
        raise ValueError(f"encoder family {family.name!r} is registered already")


def families() -> tuple[EncoderFamily, ...]:
    """All registered architectures."""
    return tuple(_FAMILIES.values())


def family_of(config: EncoderConfig) -> EncoderFamily:
    """The architecture that a configuration names.

    Raises:
        ConfigError: nobody registered it.
    """
    if config.family not in _FAMILIES:
        known = ", ".join(_FAMILIES)
        raise ConfigError("model", "encoder.family", f"{config.family!r} is not registered; known are {known}")
    return _FAMILIES[config.family]


def layer_of(config: EncoderConfig) -> int:
    """Index of the layer whose states are taken: the configured one, or the family's own."""
    return family_of(config).layer if config.layer is None else config.layer


def build_encoder(config: EncoderConfig) -> Any:
    """A `ResidueEncoder` with the configured weights, at the configured layer or the family's own.

    Raises:
        ConfigError: the family is not registered.
        MissingWeights: the weights cannot be found or do not fit.
    """
    return family_of(config).load(config.model_copy(update={"layer": layer_of(config)}))


def reading_of(config: ModelConfig) -> Reading:
    """How a model turns sequences into its encoder's input."""
    family = family_of(config.encoder)
    return Reading(family.alphabet, family.training_residues, config.long_proteins)


def size_of(config: EncoderConfig) -> EncoderSize | None:
    """The published encoder that a source names: as hub id, folder, ``.pt`` file or folder of the hub's cache."""
    sizes = family_of(config).sizes
    names = (part.removesuffix(".pt").split("--")[-1] for part in PurePath(config.source).parts)
    return sizes.get(config.source) or next((sizes[name] for name in names if name in sizes), None)


def licence_of(config: EncoderConfig) -> str:
    """Identifier of the licence of an encoder's weights as far as their name tells, else ``unknown``."""
    size = size_of(config)
    return size.licence if size else "unknown"


def _load_esm2(config: EncoderConfig) -> "torch.nn.Module":
    from protein2text.models.encoder_weights import load_encoder  # torch, which a gateway does without

    return load_encoder(config)


# Weights under MIT: github.com/facebookresearch/esm, file LICENSE. The preset's are this project's own.
ESM2_SIZES = {
    "esm2_t6_8M_UR50D": EncoderSize(6, 320, 20, "mit"),
    "esm2_t12_35M_UR50D": EncoderSize(12, 480, 20, "mit"),
    "esm2_t30_150M_UR50D": EncoderSize(30, 640, 20, "mit"),
    "esm2_t33_650M_UR50D": EncoderSize(33, 1280, 20, "mit"),
    "esm2_t36_3B_UR50D": EncoderSize(36, 2560, 40, "mit"),
    "esm2_t48_15B_UR50D": EncoderSize(48, 5120, 40, "mit"),
    "preset:tiny/esm2": EncoderSize(4, 96, 6, "apache-2.0"),
}

register(EncoderFamily("esm2", ESM2, ESM2_TRAINING_RESIDUES, ESM2_LAYER, _load_esm2, ESM2_SIZES))
