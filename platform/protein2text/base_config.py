"""The base of every configuration class: immutable, typed, and unforgiving about unknown keys."""

import difflib
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from protein2text.errors import ConfigError


class Config(BaseModel):
    """A validated, frozen piece of configuration; an unknown key is an error that names the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for key in values:
                if key not in cls.model_fields:
                    nearest = difflib.get_close_matches(str(key), cls.model_fields, n=1, cutoff=0.0)
                    hint = f"did you mean {nearest[0]!r}?" if nearest else "this section takes no keys."
                    raise ValueError(f"unknown key {key!r}: {hint} Known keys: {', '.join(cls.model_fields)}")
        return values

    @model_validator(mode="before")
    @classmethod
    def _truth_values_are_no_numbers(cls, values: Any) -> Any:
        for key, value in values.items() if isinstance(values, dict) else ():
            field, parts = cls.model_fields.get(key), value if isinstance(value, (list, tuple)) else [value]
            if field and any(isinstance(part, bool) for part in parts) and not _takes_truth(field.annotation):
                hint = "a truth value (in YAML true, yes and on are); give a number, or put a word in quotes"
                raise ValueError(f"{key}={value!r}: {hint}")
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
            key = ".".join(str(part) for part in first["loc"]) or "top level"
            message = first["msg"].removeprefix("Value error, ")
            if isinstance(first.get("input"), (str, int, float, bool, type(None))):
                message = f"{message} (value: {first['input']!r})"
            raise ConfigError(path, key, message) from None


def _takes_truth(annotation: Any) -> bool:
    return annotation in (bool, Any) or isinstance(annotation, bool) or any(map(_takes_truth, get_args(annotation)))
