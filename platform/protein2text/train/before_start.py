"""What can be refused of a run within seconds, before Ray is started and before its first stage is paid for."""

from collections.abc import Sequence

from protein2text.config import RunConfig
from protein2text.data.records import load_card, shards_of
from protein2text.errors import ConfigError
from protein2text.train.checkpoint_store import CheckpointStore
from protein2text.train.settings import refuse_changes, stage_settings
from protein2text.train.skeleton import skeleton
from protein2text.train.stage_config import Stage
from protein2text.train.start import resolve_start

_TRAINED_ON: dict[Stage, str] = {"alignment": "descriptions", "instruction": "questions"}
"""What a stage is trained on, as corpora count it in their cards."""


def refuse_early(config: RunConfig, stages: Sequence[Stage]) -> None:
    """Look up all that some stages are made from, in the order in which they are trained.

    Raises:
        MissingFile: a corpus or split, or what instruction tuning begins with, is not there.
        MissingWeights: a base is not there, or of an architecture that is not its part's.
        CorruptCheckpoint: a corpus lacks a shard, or the model to begin with is damaged.
        ConfigError: no corpus has what a stage is trained on; a layer that the encoder lacks; another shape than
            that of the model to begin with; or a checkpoint store of an unknown kind.
        ResumeMismatch: the run's name was used with other settings.
    """
    counts = []
    for corpus in config.data.corpus:
        card = load_card(corpus)
        shards_of(corpus, card)
        counts.append(card.get("counts", {}))
    for stage in stages:
        if counts and all(count.get(_TRAINED_ON[stage]) == 0 for count in counts):  # a card may not say
            problem = f"{stage} is trained on {_TRAINED_ON[stage]}, and no corpus has any; add one that does, or"
            others = " and ".join(sorted(set(_TRAINED_ON) - {stage}))
            raise ConfigError(config.name, "data.corpus", f"{problem} train the other stage alone (`--stage {others}`)")
        made_first = stage == "instruction" and "alignment" in stages and not config.instruction.start
        start = None if made_first else resolve_start(config, stage)
        refuse_changes(config.folder / stage, stage_settings(config, stage, start))
        skeleton(config.model, stage, num_layers=1)
        if config.checkpoint_store.url:
            CheckpointStore(config.checkpoint_store, config.name, stage)
