"""What a model expects at a place, said in words: valid keys, the nearest one, and why a value was refused."""

import types
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

VALUE_CHARACTERS_MAX = 60
KEYS_SHOWN_MAX = 30


def valid_keys(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The keys that may stand in the mapping at `path`."""
    keys: dict[str, None] = {}
    for annotation in _annotations_at(model, path):
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            keys.update((info.alias or name, None) for name, info in annotation.model_fields.items())
    return list(keys)


def nearest_key(key: str, keys: Sequence[str]) -> str:
    """`: did you mean ...?` when one valid key resembles it, else the list of valid keys."""
    close = get_close_matches(key, keys, n=1, cutoff=0.6)
    if close:
        return f": did you mean {close[0]!r}?"
    return f": expected one of {', '.join(sorted(keys)[:KEYS_SHOWN_MAX])}" if keys else ""


def describe(found: ErrorDetails, model: type[BaseModel]) -> str:
    """The refused value and what was expected. The value of a secret is never shown."""
    message = found["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if _is_secret(model, tuple(found["loc"])):
        return message
    value = repr(found["input"])
    if isinstance(found["input"], Mapping | list):
        value = "a mapping" if isinstance(found["input"], Mapping) else "a list"
    elif len(value) > VALUE_CHARACTERS_MAX:
        value = value[:VALUE_CHARACTERS_MAX] + "..."
    return f"{value}: {message}"


def _is_secret(model: type[BaseModel], path: Sequence[str | int]) -> bool:
    found = list(_annotations_at(model, path))
    return any(getattr(annotation, "__name__", "") == "SecretText" for annotation in found)


def _annotations_at(model: type[BaseModel], path: Sequence[str | int]) -> list[Any]:
    """Every type that may stand at `path`, unions flattened; labels that pydantic adds to a path are skipped."""
    level: list[Any] = [model]
    for step in path:
        below = [deeper for annotation in level for deeper in _step(annotation, step)]
        level = _flatten(below) if below else level
    return level


def _step(annotation: Any, step: str | int) -> Iterable[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, info in annotation.model_fields.items():
            if step in {name, info.alias}:
                yield info.annotation
        return
    origin, arguments = get_origin(annotation), get_args(annotation)
    if not isinstance(origin, type):
        return
    if issubclass(origin, Mapping):
        yield arguments[1]
    elif issubclass(origin, Sequence | set | frozenset) and isinstance(step, int):
        yield from (argument for argument in arguments if argument is not Ellipsis)


def _flatten(annotations: Iterable[Any]) -> list[Any]:
    flat: list[Any] = []
    for annotation in annotations:
        origin = get_origin(annotation)
        if origin is Annotated:
            flat.extend(_flatten([get_args(annotation)[0]]))
        elif origin in {Union, types.UnionType}:
            flat.extend(_flatten(get_args(annotation)))
        else:
            flat.append(annotation)
    return flat
