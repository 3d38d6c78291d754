"""The base of every configuration class: immutable, typed, and unforgiving about unknown keys."""

import difflib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from protein2text.errors import ConfigError, shortened
from protein2text.outputs import is_url


def _on_a_disk(folder: str) -> str:
    if not folder.strip() or is_url(Path(folder)):
        raise ValueError(f"{shortened(repr(folder))} is no folder; name one on a local or shared disk")
    return folder


Folder = Annotated[str, AfterValidator(_on_a_disk)]
"""A folder that is written to; neither empty, which would be the working directory, nor a URL."""


OTHER_NAMES = {
    "lr": "learning_rate",
    "batch_size": "global_batch",
    "num_epochs": "epochs",
    "num_train_epochs": "epochs",
    "wd": "weight_decay",
    "lr_scheduler_type": "schedule",
    "clip_grad_norm": "max_grad_norm",
    "grad_clip": "max_grad_norm",
    "max_seq_len": "max_length",
    "max_seq_length": "max_length",
    "gradient_checkpointing": "activation_checkpointing",
    "save_steps": "checkpoint_interval_steps",
    "save_total_limit": "keep_checkpoints",
    "output_dir": "output",
    "lora_r": "rank",
    "r": "rank",
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
}
"""What the field, and Hugging Face's trainer, calls keys of ours, where that means one of them only."""


class Config(BaseModel):
    """A validated, frozen piece of configuration; an unknown key is an error that names the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for key in values:
                if key not in cls.model_fields:
                    known = ", ".join(cls.model_fields)
                    raise ValueError(f"unknown key {shortened(repr(key))}: {cls._hint(str(key))} Known keys: {known}")
        return values

    @classmethod
    def _hint(cls, key: str) -> str:
        """The known key that was meant: by another name, in a section of this one, or spelt alike."""
        name = OTHER_NAMES.get(key, key)
        sections = [field for field, info in cls.model_fields.items() if name in _keys_of(info.annotation)]
        meant = [name] if name in cls.model_fields else [f"{section}.{name}" for section in sections]
        meant = meant or difflib.get_close_matches(key[:100], cls.model_fields, n=1, cutoff=0.0)
        return f"did you mean {' or '.join(map(repr, meant))}?" if meant else "this section takes no keys."

    @model_validator(mode="before")
    @classmethod
    def _truth_values_are_no_numbers(cls, values: Any) -> Any:
        for key, value in values.items() if isinstance(values, dict) else ():
            field, parts = cls.model_fields.get(key), value if isinstance(value, (list, tuple)) else [value]
            if field and any(isinstance(part, bool) for part in parts) and not _takes_truth(field.annotation):
                hint = "a truth value (in YAML true, yes and on are); give a number, or put a word in quotes"
                raise ValueError(f"{key}={shortened(repr(value))}: {hint}")
        return values

    @classmethod
    def parse(cls, values: dict[str, Any], *, path: str = "configuration") -> Self:
        """Validate a mapping.

        Args:
            values: nested mapping as read from YAML.
            path: what to call the source in an error, normally the file's path.

        Raises:
            ConfigError: naming the file, the dotted key, the value and what is allowed.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(shortened(str(part)) for part in first["loc"]) or "top level"
            message = first["msg"].removeprefix("Value error, ")
            if isinstance(first.get("input"), (str, int, float, bool, type(None))):
                message = f"{message} (value: {shortened(repr(first['input']))})"
            raise ConfigError(path, key, message) from None


def _keys_of(annotation: Any) -> Collection[str]:
    is_section = isinstance(annotation, type) and issubclass(annotation, Config)
    return annotation.model_fields if is_section else ()


def _takes_truth(annotation: Any) -> bool:
    return annotation in (bool, Any) or isinstance(annotation, bool) or any(map(_takes_truth, get_args(annotation)))
