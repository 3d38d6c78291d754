"""What ``protein2text record`` runs inside the reference's own environment: a script, started by its path.

That environment has another Python and other libraries, so nothing of this package is imported here: only the standard
library, and its own torch and safetensors. The reference's inference runs unchanged from file to answer; this script
watches the modules that it passes through, and keeps each record in a file of its own.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODULE = "evaluation.inference_model"
FUNCTIONS = ("predict_data", "eval_model", "load_pretrained_model", "protein_sequence_tokenizer")
"""What the module must have: the loop over a file, one answer, the loader, and the prompt's way to ids."""
STAGES = ("residue_states", "latents", "projected", "last_logits")
PROGRESS = "record: "
"""Begins each line that says how far the recording is."""


def part_of(folder: Path, number: int) -> Path:
    """File of a finished record."""
    return folder / f"{number:05d}.safetensors"


def stop(problem: str) -> SystemExit:
    """The end of this script for a reason, which becomes its last line."""
    return SystemExit(problem)


class Recorder:
    """Watches the reference answer some records, and writes what it saw of each.

    Args:
        module: the reference's inference module; its functions are replaced by watched ones.
        waiting: numbers and records of those to be answered, in the order in which they will be.
        parts: folder of the finished ones.
    """

    def __init__(self, module: Any, waiting: list[tuple[int, dict[str, Any]]], parts: Path) -> None:
        self.waiting, self.parts = waiting, parts
        self.num_records = 0
        self.seen: dict[str, Any] = {}
        if missing := [name for name in FUNCTIONS if not callable(getattr(module, name, None))]:
            raise stop(f"{module.__file__} has no {', '.join(missing)}; looked for {', '.join(FUNCTIONS)}")
        module.load_pretrained_model = self._loading(module.load_pretrained_model)
        module.protein_sequence_tokenizer = self._tokenizing(module.protein_sequence_tokenizer)
        module.eval_model = self._answering(module.eval_model)

    def _loading(self, load: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*given: Any, **named: Any) -> Any:
            loaded = load(*given, **named)
            self._watch(loaded[1])
            return loaded

        return watched

    def _watch(self, model: Any) -> None:
        """Hook the modules that the stages come out of, and the method that takes ids and gives ids."""
        for needed in ("get_model", "get_protein_encoder", "generate"):
            if not callable(getattr(model, needed, None)):
                raise stop(f"the loaded {type(model).__name__} has no method {needed}")
        inner = model.get_model()
        modules = {
            "residue_states": model.get_protein_encoder(),
            "latents": getattr(inner, "mm_resampler", None),
            "projected": getattr(inner, "mm_projector", None),
            "last_logits": getattr(model, "lm_head", None),
        }
        for stage, module in modules.items():
            if not hasattr(module, "register_forward_hook"):
                places = "get_protein_encoder(), get_model().mm_resampler, get_model().mm_projector and lm_head"
                raise stop(f"the loaded {type(model).__name__} gives no {stage}; looked for {places}")
            module.register_forward_hook(self._keeping(stage))
        generate = model.generate

        def watched(*given: Any, **named: Any) -> Any:
            output = generate(*given, **named)
            self.seen["input_ids"] = ids_of(given[0] if given else named["inputs"])
            self.seen["amino_seq"] = given[1] if len(given) > 1 else named.get("amino_seq")
            self.seen["generated_ids"] = ids_of(getattr(output, "sequences", output))
            return output

        model.generate = watched

    def _keeping(self, stage: str) -> Callable[..., None]:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            if stage not in self.seen:  # the first forward; later ones are steps of the answer
                rows = rows_of(output, stage)
                self.seen[stage] = rows[-1].float() if stage == "last_logits" else rows

        return hook

    def _tokenizing(self, tokenize: Callable[..., Any]) -> Callable[..., Any]:
        def watched(prompt: str, *given: Any, **named: Any) -> Any:
            self.seen["prompt"] = prompt
            return tokenize(prompt, *given, **named)

        return watched

    def _answering(self, answer: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*given: Any, **named: Any) -> Any:
            self.seen.clear()
            text = answer(*given, **named)
            self._write(str(text))
            return text

        return watched

    def _write(self, text: str) -> None:
        from safetensors.torch import save_file

        number, record = self.waiting[self.num_records]
        name = record["long_format_id"]
        wanted = (*STAGES, "input_ids", "generated_ids", "amino_seq", "prompt")
        if missing := [stage for stage in wanted if stage not in self.seen]:
            raise stop(f"{name} was answered, and its {missing[0]} never passed where it is watched for")
        if self.seen["amino_seq"] != record["amino_seq"]:
            raise stop(f"{name} was to be answered, and the reference was given another sequence")
        tensors = {stage: self.seen[stage].contiguous() for stage in wanted[:-2]}
        texts = {"long_format_id": name, "text": text, "prompt": self.seen["prompt"]}
        partial = self.parts / "unfinished"
        save_file(tensors, str(partial), metadata=texts)
        os.replace(partial, part_of(self.parts, number))
        self.num_records += 1
        size = f"{len(record['amino_seq'])} residues, {len(tensors['generated_ids'])} ids"
        say(f"{name}, {size}")


def rows_of(output: Any, stage: str) -> Any:
    """A module's output for the one protein, ``(rows, width)``, on the CPU."""
    if isinstance(output, (list, tuple)):
        if len(output) != 1:
            raise stop(f"{stage} came for {len(output)} proteins; one was given")
        output = output[0]
    if output.numel() != output.shape[-1] * (output.shape[-2] if output.dim() > 1 else 1):
        raise stop(f"{stage} has the shape {tuple(output.shape)}; one protein's rows were expected")
    return output.detach().reshape(-1, output.shape[-1]).cpu().clone()


def ids_of(ids: Any) -> Any:
    """The ids of a batch of one, int64, on the CPU."""
    if ids.dim() != 2 or len(ids) != 1:
        raise stop(f"ids have the shape {tuple(ids.shape)}; a batch of one was expected")
    return ids[0].detach().long().cpu().clone()


def say(text: str) -> None:
    """One line of progress."""
    sys.stderr.write(f"{PROGRESS}{text}\n")
    sys.stderr.flush()


def load_module(clone: Path) -> Any:
    """The clone's inference module, and no other installation's."""
    sys.path[0] = str(clone)  # in place of this script's own folder
    try:
        module = importlib.import_module(MODULE)
    except ImportError as error:
        raise stop(f"{MODULE} of {clone} does not import ({type(error).__name__}: {error})") from error
    if clone.resolve() not in Path(str(module.__file__)).resolve().parents:
        raise stop(f"{MODULE} was found at {module.__file__}, not in {clone}")
    return module


def main() -> None:
    """Record what is not recorded yet; the working directory is the folder that the other paths begin in."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("clone", "weights", "base", "input", "parts", "device"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--max-new-tokens", type=int, required=True)
    given = parser.parse_args()
    parts = Path(given.parts)
    records = json.loads(Path(given.input).read_text(encoding="utf-8"))
    waiting = [(number, record) for number, record in enumerate(records) if not part_of(parts, number).is_file()]
    module = load_module(Path(given.clone))
    recorder = Recorder(module, waiting, parts)
    remaining = parts / "remaining.json"
    remaining.write_text(json.dumps([record for _, record in waiting]), encoding="utf-8")
    arguments = {
        "input_file": str(remaining), "output_file": str(parts / "answers.jsonl"), "model_path": given.weights,
        "model_base": given.base, "device": given.device, "temperature": 0.0, "top_p": 1.0, "num_beams": 1,
        "max_new_tokens": given.max_new_tokens,
    }  # fmt: skip
    try:
        inspect.signature(module.predict_data).bind(**arguments)
    except TypeError as error:
        problem = f"predict_data of {module.__file__} cannot be called ({error}); looked for {', '.join(arguments)}"
        raise stop(problem) from error
    say(f"loading {given.weights}")
    module.predict_data(**arguments)
    if recorder.num_records != len(waiting):
        raise stop(f"{recorder.num_records} of {len(waiting)} records were answered")


if __name__ == "__main__":
    main()
