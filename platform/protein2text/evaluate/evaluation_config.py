"""What an evaluation may be told. Kept free of heavy imports: the run configuration holds it."""

from pydantic import Field

from protein2text.base_config import Config


class EvaluationConfig(Config):
    """Test items, decoding, statistics and the processes that answer."""

    max_items: int | None = Field(default=None, ge=1)
    """Test items at most, drawn by a hash of their ids so that the draw never depends on file order; all when None."""

    delta: float = Field(default=0.02, gt=0, lt=1)
    """Smallest effect of interest: 0.02 is 2 points of accuracy, or 0.02 ROUGE-L."""

    resamples: int = Field(default=2000, ge=1000)
    """Bootstrap resamples."""

    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Coverage of every interval."""

    min_units: int = Field(default=10, ge=2)
    """Fewest independent proteins (or clusters) for a verdict; a percentile interval over fewer is too narrow."""

    seed: int = 0
    """Seed of item draws, swaps, shuffles, resamples and, when sampling, of decoding."""

    max_new_tokens: int = Field(default=64, ge=1)
    """Longest answer in tokens."""

    temperature: float = Field(default=0.0, ge=0)
    """0 is greedy decoding."""

    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus of sampling; without effect when greedy."""

    batch_tokens: int = Field(default=8192, ge=1)
    """Tokens that one generation batch may hold: prompts with their latents, plus the room for answers."""

    batch_residues: int = Field(default=16384, ge=1)
    """Residues that the encoder reads at once."""

    num_actors: int = Field(default=1, ge=0)
    """Ray actors, each holding the model once; 0 answers in this process, as an index of neighbours always does."""

    cpus_per_actor: float = Field(default=1.0, gt=0)
    """CPUs that Ray reserves for one actor."""

    gpus_per_actor: float = Field(default=0.0, ge=0)
    """GPUs that Ray reserves for one actor."""
