"""Domain dataclasses to protobuf messages and back, by equal field names.

Keeps the generated classes out of every other module without a hand-written mirror for each message: a dataclass
names the fields it needs, ``None`` stands for an absent optional field.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar, cast

from google.protobuf.message import Message

T = TypeVar("T")
M = TypeVar("M", bound=Message)


@functools.cache
def _cached_plan(cls: Hashable) -> tuple[tuple[str, Any, bool], ...]:
    hints = typing.get_type_hints(cls)
    plan = []
    for field in dataclasses.fields(cast(Any, cls)):
        hint, optional = hints[field.name], False
        if typing.get_origin(hint) in (types.UnionType, typing.Union):
            hint, optional = next(a for a in typing.get_args(hint) if a is not type(None)), True
        plan.append((field.name, hint, optional))
    return tuple(plan)


def _plan(cls: type[Any]) -> tuple[tuple[str, Any, bool], ...]:
    """(field name, item or nested type, optional) for each field of a dataclass."""
    return _cached_plan(cast(Hashable, cls))


def _read(value: Any, hint: Any) -> Any:
    origin = typing.get_origin(hint)
    if origin is tuple:
        item = typing.get_args(hint)[0]
        return tuple(_read(v, item) for v in value)
    if origin in (dict, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_message(value, hint)
    if isinstance(hint, type) and issubclass(hint, str) and hint is not str:
        return hint(value)
    return value


def from_message(message: Message, cls: type[T]) -> T:
    """The dataclass ``cls`` filled from ``message``."""
    return cls(
        **{
            name: None if optional and not message.HasField(name) else _read(getattr(message, name), hint)
            for name, hint, optional in _plan(cls)
        }
    )


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((name, _plain(getattr(value, name))) for name, _, _ in _plan(type(value)))
        return {name: plain for name, plain in fields if plain is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def to_message(value: Any, message_type: type[M]) -> M:
    """A message of ``message_type`` filled from the dataclass ``value``."""
    return message_type(**_plain(value))
