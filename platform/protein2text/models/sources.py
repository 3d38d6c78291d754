"""Where base weights come from: a local path, the package's own presets, or the hub at a pinned revision."""

from pathlib import Path

from protein2text.errors import MissingWeights

PRESETS = Path(__file__).parent.parent / "presets"
PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
"""What is fetched from the hub: never a pickle."""


def resolve_source(source: str, revision: str | None) -> Path:
    """Local path of a weights source.

    Args:
        source: folder, file, ``preset:NAME`` or a hub id such as ``facebook/esm2_t6_8M_UR50D``.
        revision: hub commit; a hub id without one is refused, because what it names can change.

    Raises:
        MissingWeights: nothing is there, with what to do.
    """
    path = local_source(source)
    if path is not None:
        return path
    if revision is None:
        raise MissingWeights(
            source, "a hub id without a revision", "Pin it: set `revision` to a commit of that repository."
        )
    return _from_hub(source, revision)


def local_source(source: str) -> Path | None:
    """Where a source lies on this machine; None for a hub id.

    Raises:
        MissingWeights: it is a preset or a local path, and nothing is there.
    """
    if source.startswith("preset:"):
        path = PRESETS / source.removeprefix("preset:")
        if path.exists():
            return path
        raise MissingWeights(source, f"{path} is not in this installation", "Reinstall, or run jobs/build_bases.py.")
    path = Path(source).expanduser()
    if path.exists():
        return path.resolve()
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise MissingWeights(source, "no such file or folder", "Give a local path or a hub id of the form owner/name.")
    return None


def _from_hub(source: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=PATTERNS))
    except Exception as error:
        remedy = (
            "Check the network, the id and, for gated weights, `hf auth login`; or download the folder elsewhere and "
            "give its local path."
        )
        raise MissingWeights(source, f"the hub gave {type(error).__name__}: {error}", remedy) from error
