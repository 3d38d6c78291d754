"""The one place that reads a pickle of a published checkpoint: a process of its own, tensors only, against a list.

A pickle is a program. ``read_pickles`` runs this file as a subprocess, which lets torch's restricted loader rebuild
plain tensors and nothing else, holds each one against what may be there, and hands them back as safetensors.
"""

import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from protein2text.errors import CorruptCheckpoint

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""What a published tensor may be made of."""

_SITES = r"(?:base_model\.)?(?:model\.){0,2}"
ALLOWED = {
    rf"{_SITES}mm_resampler\.latents": 2,
    rf"{_SITES}mm_resampler\.media_pos_emb": 3,
    rf"{_SITES}mm_resampler\.(?:layers\.\d+\.(?:0\.norm_(?:media|latents)|1\.0)|norm)\.(?:weight|bias)": 1,
    rf"{_SITES}mm_resampler\.layers\.\d+\.(?:0\.to_(?:q|kv|out)|1\.[13])\.weight": 2,
    rf"{_SITES}mm_projector\.[02]\.weight": 2,
    rf"{_SITES}mm_projector\.[02]\.bias": 1,
    rf"{_SITES}mm_gated_cross_attention\.[\w.]+": (0, 1, 2, 3),
    r"base_model\.model\.model\.layers\.\d+\.(?:self_attn|mlp)\.\w+\.lora_[AB]\.weight": 2,
}  # fmt: skip
"""Names that may be in a pickle, each with its number of dimensions. Sizes are held against one another later."""

MAX_NAME = 200
REMEDY = "Get the checkpoint again from its publisher; nothing of it was used."
_TIMEOUT_S = 1800.0


def read_pickles(*paths: Path) -> list[dict[str, Tensor]]:
    """Tensors of each pickled state dict under their own names, in its order.

    Raises:
        CorruptCheckpoint: one holds anything but known, dense tensors of known types; the first is named.
    """
    with tempfile.TemporaryDirectory(prefix="protein2text-") as folder:
        outputs = [Path(folder) / f"{number}.safetensors" for number in range(len(paths))]
        pairs = [str(path.absolute()) for pair in zip(paths, outputs, strict=True) for path in pair]
        reports = [json.loads(line) for line in _run(pairs, paths[0])]
        for path, report in zip(paths, reports, strict=True):
            if "problem" in report:
                raise CorruptCheckpoint(str(path.parent), path.name, report["problem"], REMEDY)
        read = [load_file(output) for output in outputs]
    return [{name: tensors[name] for name in report["order"]} for tensors, report in zip(read, reports, strict=True)]


def _run(arguments: list[str], first: Path) -> list[str]:
    """Lines that the reading process writes, one per file."""
    command = [sys.executable, "-m", "protein2text.models.published_pickle", *arguments]
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    environment = {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise CorruptCheckpoint(str(first.parent), first.name, f"not read in {_TIMEOUT_S:g} s", REMEDY) from None
    lines = done.stdout.splitlines()
    if done.returncode != 0 or len(lines) != len(arguments) // 2:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        problem = f"its reader ended with status {done.returncode}: {last}"
        raise CorruptCheckpoint(str(first.parent), first.name, problem, REMEDY)
    return lines


def check_tensor(name: Any, tensor: Any) -> str | None:
    """What is wrong with an entry of a state dict, or None."""
    if not isinstance(name, str) or len(name) > MAX_NAME or not name.isprintable():
        return f"an entry has no usable name ({str(name)[:60]!r})"
    if not isinstance(tensor, Tensor):
        return f"{name} is a {type(tensor).__name__}, not a tensor"
    if tensor.layout != torch.strided:
        return f"{name} is sparse ({tensor.layout}); only dense tensors are read"
    if tensor.is_quantized or tensor.dtype not in DTYPES:
        return f"{name} has dtype {tensor.dtype}; allowed are float32, float16 and bfloat16"
    if tensor.is_meta:
        return f"{name} has no values (meta device)"
    if tensor.numel() > tensor.untyped_storage().nbytes() // tensor.element_size():
        return f"{name} repeats its values to fill {tuple(tensor.shape)}"
    dims = next((dims for pattern, dims in ALLOWED.items() if re.fullmatch(pattern, name)), None)
    if dims is None:
        return f"{name} is unexpected"
    allowed = dims if isinstance(dims, tuple) else (dims,)
    if tensor.ndim not in allowed or 0 in tensor.shape:
        return f"{name} is {tuple(tensor.shape)}, expected {' or '.join(map(str, allowed))} dimensions"
    return None


def load_checked(source: Path, output: Path) -> dict[str, Any]:
    """What the subprocess does: read a pickle of plain tensors, check each one, write them as safetensors.

    Returns:
        ``order``, the names as they stood, or ``problem``, what was wrong.
    """
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = re.sub(r"\s+", " ", str(error))
        named = re.search(r"[Uu]nsupported (?:\w+:? )?[\w.]+(?: [\w.]+)?", reason)
        return {"problem": f"the pickle holds more than tensors ({named[0] if named else reason[:160]})"}
    except (RuntimeError, ValueError, EOFError, OSError, LookupError, AttributeError, TypeError) as error:
        return {"problem": f"cannot be read ({type(error).__name__}: {str(error)[:200]})"}
    if not isinstance(state, dict):
        return {"problem": f"holds a {type(state).__name__}, not named tensors"}
    for name, tensor in state.items():
        if problem := check_tensor(name, tensor):
            return {"problem": problem}
    if sum(tensor.nbytes for tensor in state.values()) > source.stat().st_size:
        return {"problem": f"its tensors need more room than its {source.stat().st_size} bytes"}
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in state.items()}, output)
    return {"order": list(state)}


if __name__ == "__main__":
    for given, wanted in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        sys.stdout.write(json.dumps(load_checked(Path(given), Path(wanted))) + "\n")
