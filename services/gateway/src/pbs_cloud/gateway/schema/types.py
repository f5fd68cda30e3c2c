"""Types of parameters: each knows its text form, its JSON form and its JSON Schema (rest-api A.4)."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pbs_cloud.gateway.schema.errors import DUPLICATE, PATTERN, UNKNOWN_TEXT, Invalid

_TRUE = frozenset({"1", "on", "yes", "true"})
_FALSE = frozenset({"0", "off", "no", "false"})
_INTEGER = re.compile(r"[+-]?[0-9]+")
_MAX_DIGITS = 20
_MIN_INT, _MAX_INT = -(1 << 63), (1 << 63) - 1
_PROPERTY = re.compile(r'\s*([A-Za-z0-9_-]+)=("(?:[^"\\]|\\.)*"|[^,]*)\s*(?:,|$)')


class Type(ABC):
    """A parameter type. Both readers raise :class:`Invalid` with the reason."""

    def from_texts(self, texts: list[str]) -> Any:
        """Value of a parameter that occurred once or several times in query or form."""
        if len(texts) > 1:
            raise Invalid(DUPLICATE)
        return self.from_text(texts[0])

    @abstractmethod
    def from_text(self, text: str) -> Any:
        """Value of the text form."""

    @abstractmethod
    def from_json(self, value: Any) -> Any:
        """Value of the JSON form; nothing is converted."""

    @abstractmethod
    def json_schema(self) -> dict[str, Any]:
        """JSON Schema 2020-12 of the JSON form."""

    def decode(self, value: Any) -> Any:
        """A check that comes after all parameters were verified; its errors name no parameter (rest-api A.6)."""
        return value


@dataclass(frozen=True)
class Boolean(Type):
    """``1 on yes true`` / ``0 off no false`` in any case, or a JSON boolean."""

    def from_text(self, text: str) -> bool:
        lowered = text.lower()
        if lowered in _TRUE:
            return True
        if lowered in _FALSE:
            return False
        raise Invalid("Unable to parse boolean option.")

    def from_json(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise Invalid("Expected boolean value.")
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Integer(Type):
    """Signed 64-bit integer within limits."""

    minimum: int = _MIN_INT
    maximum: int = _MAX_INT

    def from_text(self, text: str) -> int:
        if not text:
            raise Invalid("cannot parse integer from empty string")
        if not _INTEGER.fullmatch(text):
            raise Invalid("invalid digit found in string")
        digits = text.lstrip("+-").lstrip("0") or "0"
        if len(digits) > _MAX_DIGITS:
            raise Invalid(f"number too {'small' if text.startswith('-') else 'large'} to fit in target type")
        return self._check(-int(digits) if text.startswith("-") else int(digits))

    def from_json(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Invalid("Expected integer value.")
        return self._check(value)

    def _check(self, value: int) -> int:
        if not _MIN_INT <= value <= _MAX_INT:
            raise Invalid(f"number too {'small' if value < 0 else 'large'} to fit in target type")
        if value < self.minimum:
            raise Invalid(f"value must have a minimum value of {self.minimum} (got {value})")
        if value > self.maximum:
            raise Invalid(f"value must have a maximum value of {self.maximum} (got {value})")
        return value

    def json_schema(self) -> dict[str, Any]:
        limits = {"minimum": self.minimum, "maximum": self.maximum}
        return {"type": "integer", **{k: v for k, v in limits.items() if v not in (_MIN_INT, _MAX_INT)}}


@dataclass(frozen=True)
class String(Type):
    """Text. ``pattern`` must match all of it; lengths count characters; ``after`` is the check of :meth:`decode`."""

    pattern: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    check: Callable[[str], bool] | None = None
    after: Callable[[str], Any] | None = None

    def from_text(self, text: str) -> str:
        if self.minimum is not None and len(text) < self.minimum:
            raise Invalid(f"value must be at least {self.minimum} characters long")
        if self.maximum is not None and len(text) > self.maximum:
            raise Invalid(f"value may only be {self.maximum} characters long")
        if self.pattern is not None and not re.fullmatch(self.pattern, text):
            raise Invalid(PATTERN)
        if "\0" in text or (self.check is not None and not self.check(text)):
            raise Invalid(PATTERN)
        return text

    def from_json(self, value: Any) -> str:
        if not isinstance(value, str):
            raise Invalid("Expected string value.")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Invalid(PATTERN) from None
        return self.from_text(value)

    def decode(self, value: Any) -> Any:
        return value if self.after is None else self.after(value)

    def json_schema(self) -> dict[str, Any]:
        found = {"minLength": self.minimum, "maxLength": self.maximum}
        pattern = {} if self.pattern is None else {"pattern": f"^(?:{self.pattern})$"}
        return {"type": "string", **{k: v for k, v in found.items() if v is not None}, **pattern}


@dataclass(frozen=True)
class Enum(Type):
    """One of a few words."""

    values: tuple[str, ...]

    def from_text(self, text: str) -> str:
        if text not in self.values:
            raise Invalid(f"value '{text}' is not defined in the enumeration.")
        return text

    def from_json(self, value: Any) -> str:
        if not isinstance(value, str):
            raise Invalid("Expected string value.")
        return self.from_text(value)

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.values)}


@dataclass(frozen=True)
class Array(Type):
    """A list: the key repeated in query and form, an array in JSON."""

    item: Type

    def from_texts(self, texts: list[str]) -> list[Any]:
        return [self.item.from_text(text) for text in texts]

    def from_text(self, text: str) -> list[Any]:
        return [self.item.from_text(text)]

    def from_json(self, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise Invalid("Expected array - got scalar value.")
        return [self.item.from_json(entry) for entry in value]

    def decode(self, value: Any) -> Any:
        return [self.item.decode(entry) for entry in value]

    def json_schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self.item.json_schema()}


@dataclass(frozen=True)
class StringMap(Type):
    """A JSON object of strings; only for JSON bodies of the project's own endpoints."""

    def from_text(self, text: str) -> Any:
        raise Invalid("Expected object value.")

    def from_json(self, value: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            raise Invalid("Expected object value.")
        kind = String()
        return {kind.from_json(name): kind.from_json(text) for name, text in value.items()}

    def json_schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": {"type": "string"}}


@dataclass(frozen=True)
class Nullable(Type):
    """A type that in JSON may also be ``null`` (only the project's own endpoints)."""

    item: Type

    def from_text(self, text: str) -> Any:
        return self.item.from_text(text)

    def from_json(self, value: Any) -> Any:
        return None if value is None else self.item.from_json(value)

    def json_schema(self) -> dict[str, Any]:
        return {"anyOf": [self.item.json_schema(), {"type": "null"}]}


@dataclass(frozen=True)
class PropertyString(Type):
    """``key=value,key=value`` in one string; values may be quoted. The value stays text, its keys are checked."""

    properties: Mapping[str, Type]

    def from_text(self, text: str) -> str:
        String().from_text(text)
        seen: set[str] = set()
        for name, value in split_properties(text):
            kind = self.properties.get(name)
            if kind is None or name in seen:
                raise Invalid(f"'{name}': {DUPLICATE if name in seen else UNKNOWN_TEXT}")
            seen.add(name)
            try:
                kind.from_text(value)
            except Invalid as error:
                raise Invalid(f"'{name}': {error}") from None
        return text

    def from_json(self, value: Any) -> str:
        return self.from_text(String().from_json(value))

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "description": "property string: " + ", ".join(f"{k}=…" for k in self.properties)}


def split_properties(text: str, default_key: str | None = None) -> Iterable[tuple[str, str]]:
    """Pairs of a property string. Raises :class:`Invalid`."""
    position = 0
    if default_key is not None and "=" not in text.split(",", 1)[0]:
        first, _, rest = text.partition(",")
        yield default_key, first.strip()
        position = len(text) - len(rest)
    while position < len(text):
        match = _PROPERTY.match(text, position)
        if match is None:
            raise Invalid("value without key, but schema does not define a default key")
        value = match[2]
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        yield match[1], value.strip() if not match[2].startswith('"') else value
        position = match.end()


@dataclass(frozen=True)
class Param:
    """A parameter of an endpoint. ``default`` None: the key is absent from the result when it was not given."""

    type: Type
    optional: bool = False
    default: Any = None
    description: str = ""


@dataclass(frozen=True)
class Schema:
    """All parameters of a request. ``open``: others are ignored instead of refused (directory indexes).

    ``kebab``: names of ``snake_case`` parameters may be written with hyphens too (rest-api D.1).
    """

    params: Mapping[str, Param] = field(default_factory=dict)
    open: bool = False
    kebab: bool = False

    def named(self, name: str) -> str:
        """The parameter that ``name`` means, or the name as it is."""
        plain = name.replace("-", "_")
        return plain if self.kebab and name not in self.params and plain in self.params else name

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema of the parameters as one JSON object."""
        return {
            "type": "object",
            "properties": {name: describe(param) for name, param in self.params.items()},
            "required": [name for name, param in self.params.items() if not param.optional],
            "additionalProperties": self.open,
        }


def describe(param: Param) -> dict[str, Any]:
    """JSON Schema of one parameter."""
    found = param.type.json_schema()
    if param.description:
        found["description"] = param.description
    if param.default is not None:
        found["default"] = param.default
    return found


def required(kind: Type, description: str = "") -> Param:
    """A parameter that must be given."""
    return Param(kind, description=description)


def optional(kind: Type, description: str = "", default: Any = None) -> Param:
    """A parameter that may be missing."""
    return Param(kind, optional=True, default=default, description=description)
