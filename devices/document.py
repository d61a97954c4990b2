"""Strict YAML to models: every problem at once, each with file, line and column.

YAML 1.2 without tags or merge keys; a key may stand once; numbers are finite. A document is checked by the
model in pydantic's strict JSON mode, so `"5"` is no number and `yes` no boolean, while lists become tuples and
texts become enums and dates.
"""

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError, ValidationInfo
from pydantic_core import CoreSchema, core_schema
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from devices.errors import ConfigurationError, Problem
from devices.expectations import describe, nearest_key, valid_keys

DOCUMENT_BYTES_MAX = 8 << 20  # a ledger of 20,000 spaces has 3 MB
DEPTH_MAX = 40
VALUES_MAX = 500_000  # bounds what aliases can multiply
SECRET_BYTES_MAX = 64 << 10
PROBLEMS_MAX = 100
_ENVIRONMENT = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_TAG = "tag:yaml.org,2002:"

Path_ = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something wrong that only the model can know: where (keys and indices), and what.

    `offset` counts characters into a one-line text, for mistakes inside an expression.
    """

    path: Path_
    message: str
    offset: int = 0


class Section(BaseModel):
    """A part of a configuration document: unknown keys refused, values strict, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def mistakes(self) -> Iterable[Mistake]:
        """What is wrong although every single value is well formed. Asked of the document's root only."""
        return ()


M = TypeVar("M", bound=Section)


class SecretText:
    """A secret that never prints.

    In a document: `${NAME}` from the environment, `file:path` (relative to the document, one trailing line break
    dropped), or the text itself.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself. For the one place that must send it."""
        return self._text

    def __repr__(self) -> str:
        return "SecretText('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretText) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        from_text = core_schema.with_info_after_validator_function(cls._resolve, core_schema.str_schema(strict=True))
        return core_schema.json_or_python_schema(
            json_schema=from_text,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), from_text]),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda _: "***"),
        )

    @classmethod
    def _resolve(cls, text: str, info: ValidationInfo) -> Self:
        context: Mapping[str, Any] = info.context if isinstance(info.context, Mapping) else {}
        environment = context.get("environment", {})
        if match := _ENVIRONMENT.fullmatch(text):
            if match[1] not in environment:
                raise ValueError(f"the environment variable {match[1]} is not set")
            return cls(environment[match[1]])
        if text.startswith("file:"):
            return cls(_read_secret(Path(context.get("folder", ".")) / text.removeprefix("file:")))
        return cls(text)


def _read_secret(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(SECRET_BYTES_MAX + 1)
        if len(data) > SECRET_BYTES_MAX:
            raise ValueError(f"the secret file {path} is larger than {SECRET_BYTES_MAX} bytes")
        return data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ValueError(f"the secret file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"the secret file {path} is not UTF-8 text") from error


def load_document(path: Path | str, model: type[M]) -> M:
    """Read and check a file. Raises ConfigurationError with every problem found."""
    path = Path(path)
    return parse_document(read_text(path), str(path), model, folder=path.parent)


def read_text(path: Path) -> str:
    """The text of a configuration file, of which too much is not read. Raises ConfigurationError."""
    try:
        with path.open("rb") as file:
            data = file.read(DOCUMENT_BYTES_MAX + 1)
        return data.decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError([Problem(str(path), 0, 0, f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError([Problem(str(path), line, 1, "is not UTF-8 text")]) from error


def parse_document(
    text: str,
    file_name: str,
    model: type[M],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> M:
    """Check a document's text. Raises ConfigurationError with every problem found (at most the first 100).

    `folder` is where `file:` secrets are looked for, `environment` defaults to the process's.
    """
    root, tree = _compose(text, file_name)
    places = _Places(file_name, root)
    context = {"folder": folder or Path(), "environment": os.environ if environment is None else environment}
    try:
        document = model.model_validate_json(json.dumps(tree), context=context)
    except ValidationError as error:
        raise ConfigurationError(_problems(error, model, places)) from error
    mistakes = [places.problem(mistake) for mistake in document.mistakes()]
    if mistakes:
        raise ConfigurationError(sorted(mistakes, key=lambda problem: (problem.line, problem.column))[:PROBLEMS_MAX])
    return document


def locate(text: str, file_name: str, mistakes: Iterable[Mistake]) -> list[Problem]:
    """Where in a document's text such mistakes stand. For checks that need more than the document itself."""
    root, _ = _compose(text, file_name)
    places = _Places(file_name, root)
    return [places.problem(mistake) for mistake in mistakes]


def _compose(text: str, file_name: str) -> tuple[Node, Any]:
    if len(text) > DOCUMENT_BYTES_MAX:
        raise ConfigurationError([Problem(file_name, 0, 0, f"is larger than {DOCUMENT_BYTES_MAX} bytes")])
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        message = " ".join(part for part in (error.context, error.problem) if part)
        raise ConfigurationError([Problem(file_name, line, column, f"not YAML: {message}")]) from error
    except ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise ConfigurationError([Problem(file_name, line, 1, f"not YAML: {error.reason}")]) from error
    except (YAMLError, RecursionError, ValueError) as error:
        raise ConfigurationError([Problem(file_name, 0, 0, f"not YAML: {error}")]) from error
    if root is None:
        raise ConfigurationError([Problem(file_name, 1, 1, "is empty")])
    builder = _Builder(file_name)
    tree = builder.value(root, 0)
    if builder.problems:
        raise ConfigurationError(builder.problems[:PROBLEMS_MAX])
    return root, tree


@dataclass(slots=True)
class _Builder:
    """Turns YAML nodes into plain JSON values; notes what strict YAML refuses."""

    file_name: str
    problems: list[Problem] = field(default_factory=list)
    count: int = 0

    def value(self, node: Node, depth: int) -> Any:
        self.count += 1
        if depth > DEPTH_MAX or self.count > VALUES_MAX:
            if self.count <= VALUES_MAX or not self.problems:
                self._refuse(node, f"nested deeper than {DEPTH_MAX} levels or more than {VALUES_MAX} values")
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, depth)
        if isinstance(node, SequenceNode):
            return [self.value(item, depth + 1) for item in node.value if self.count <= VALUES_MAX]
        return self._scalar(node) if isinstance(node, ScalarNode) else None

    def _mapping(self, node: MappingNode, depth: int) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if self.count > VALUES_MAX:
                break
            key = _key_of(key_node)
            if key is None:
                self._refuse(key_node, "a key must be plain text")
            elif key in built:
                self._refuse(key_node, f"the key {key!r} stands here twice")
            else:
                built[key] = self.value(value_node, depth + 1)
        return built

    def _scalar(self, node: ScalarNode) -> Any:
        kind, text = str(node.tag).removeprefix(_TAG), str(node.value)
        try:
            match kind:
                case "null":
                    return None
                case "bool":
                    return text.lower() == "true"
                case "int":
                    return _integer(text)
                case "float":
                    return _finite(text)
                case "str" | "timestamp":
                    return text
        except ValueError:
            self._refuse(node, f"{text[:40]!r} is not a finite number")
            return None
        self._refuse(node, f"the tag {kind!r} is not allowed")
        return None

    def _refuse(self, node: Node, message: str) -> None:
        mark = node.start_mark
        self.problems.append(Problem(self.file_name, mark.line + 1, mark.column + 1, message))


def _key_of(node: Node) -> str | None:
    """The key as JSON writes it, whole numbers in decimal; None for anything but plain text and whole numbers."""
    kind = str(node.tag).removeprefix(_TAG)
    if not isinstance(node, ScalarNode) or kind not in {"str", "int", "timestamp"}:
        return None
    try:
        return str(_integer(node.value)) if kind == "int" else str(node.value)
    except ValueError:
        return None


def _integer(text: str) -> int:
    digits = text.replace("_", "")
    based = digits.lstrip("+-")[:2].lower() in {"0x", "0o", "0b"}
    return int(digits, 0 if based else 10)


def _finite(text: str) -> float:
    number = float(text.replace("_", ""))
    if not math.isfinite(number):
        raise ValueError(text)
    return number


class _Places:
    """Where in the text each path of keys and indices stands."""

    def __init__(self, file_name: str, root: Node) -> None:
        self._file_name = file_name
        self._root = root

    def problem(self, mistake: Mistake) -> Problem:
        node, _ = self._find(mistake.path)
        return self._at(node, mistake.message, mistake.offset)

    def at_value(self, path: Path_, message: str) -> Problem:
        return self._at(self._find(path)[0], message)

    def at_key(self, path: Path_, message: str) -> Problem:
        node, key = self._find(path)
        return self._at(key or node, message)

    def _at(self, node: Node, message: str, offset: int = 0) -> Problem:
        mark = node.start_mark
        if offset and isinstance(node, ScalarNode) and mark.line == node.end_mark.line:
            offset += 1 if node.style in {"'", '"'} else 0
        else:
            offset = 0
        return Problem(self._file_name, mark.line + 1, mark.column + 1 + offset, message)

    def _find(self, path: Path_) -> tuple[Node, Node | None]:
        """The node at the path, as deep as it exists (pydantic adds labels of its own to a path), and its key."""
        node, key = self._root, None
        for step in path:
            if isinstance(node, MappingNode):
                for key_node, value_node in node.value:
                    if _key_of(key_node) == str(step):
                        node, key = value_node, key_node
                        break
            elif isinstance(node, SequenceNode) and isinstance(step, int) and 0 <= step < len(node.value):
                node, key = node.value[step], None
        return node, key


def _problems(error: ValidationError, model: type[BaseModel], places: _Places) -> list[Problem]:
    problems = []
    for found in error.errors(include_url=False):
        if found["type"] == "too_short" and len(found["input"]) >= found.get("ctx", {}).get("min_length", 0):
            continue  # enough items were given; those that are wrong are reported one by one
        path: Path_ = tuple(found["loc"])
        name = ".".join(str(step) for step in path) or "the document"
        if found["type"] == "extra_forbidden":
            keys = valid_keys(model, path[:-1])
            problems.append(places.at_key(path, f"unknown key {str(path[-1])!r}{nearest_key(str(path[-1]), keys)}"))
        elif found["type"] == "missing":
            problems.append(places.at_key(path, f"the key {str(path[-1])!r} is missing"))
        else:
            problems.append(places.at_value(path, f"{name}: {describe(found, model)}"))
    return sorted(set(problems), key=lambda problem: (problem.line, problem.column))[:PROBLEMS_MAX]
