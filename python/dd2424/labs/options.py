"""A lab's options: the fields of a dataclass, set from key=value words, with messages that name what exists."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from dd2424.train import UsageError, nearest

_TRUE, _FALSE = ("yes", "true", "on", "1"), ("no", "false", "off", "0")


def option(default: Any, help: str, choices: Iterable[str] = (), low: float = -math.inf, high: float = math.inf) -> Any:
    """A dataclass field that is an option: its default, what it means, and the values it may have."""
    metadata = {"help": help, "choices": tuple(choices), "low": low, "high": high}
    return dataclasses.field(default=default, metadata=metadata)


def option_names(kind: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    """Options by the name a user types: the field's name, less a trailing underscore (`lambda_`)."""
    return {field.name.rstrip("_"): field for field in dataclasses.fields(kind)}


def split_words(words: Iterable[str]) -> dict[str, str]:
    """`key=value` words as a dict. Raises: UsageError naming a word that is none, or a key given twice."""
    pairs: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"train: options must be key=value, got {word!r}")
        if key in pairs:
            raise UsageError(f"train: {key} must be given once, got {pairs[key]!r} and {value!r}")
        pairs[key] = value
    return pairs


def parse_options(kind: type[Any], lab: str, pairs: Mapping[str, str]) -> dict[str, Any]:
    """Field values for `pairs`. Raises: UsageError naming an unknown key or a value that does not fit."""
    fields = option_names(kind)
    for key in pairs:
        if key not in fields:
            raise UsageError(f"train {lab}: unknown option {key!r}{nearest(key, fields)}")
    return {fields[key].name: _parse(lab, key, fields[key], text) for key, text in pairs.items()}


def option_text(value: Any) -> str:
    """A value as a user types it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return str(value)


def _parse(lab: str, key: str, field: dataclasses.Field[Any], text: str) -> Any:
    choices, low, high = field.metadata["choices"], field.metadata["low"], field.metadata["high"]
    if choices and text not in choices:
        raise UsageError(f"train {lab}: {key} must be one of the values it has, got {text!r}{nearest(text, choices)}")
    try:
        value = _convert(field.default, text)
    except ValueError as error:
        raise UsageError(f"train {lab}: {key} must be {error}, got {text!r}") from None
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, int | float) and not low <= number <= high:
            raise UsageError(f"train {lab}: {key} must be {_range(low, high)}, got {text!r}")
    return value


def _range(low: float, high: float) -> str:
    return f"at least {low:g}" if high == math.inf else f"{low:g} to {high:g}"


def _convert(default: Any, text: str) -> Any:
    """`text` as a value of the type of `default`. Raises: ValueError saying what it should have been."""
    if isinstance(default, bool):
        if text.lower() not in _TRUE + _FALSE:
            raise ValueError("yes or no")
        return text.lower() in _TRUE
    if isinstance(default, tuple):
        try:
            return tuple(int(part) for part in text.split(",") if part)
        except ValueError:
            raise ValueError("whole numbers with commas between, such as 50,50") from None
    if isinstance(default, int):
        try:
            return int(text)
        except ValueError:
            raise ValueError("a whole number") from None
    if isinstance(default, float):
        try:
            value = float(text)
        except ValueError:
            raise ValueError("a number") from None
        if not math.isfinite(value):
            raise ValueError("a finite number")
        return value
    return text
