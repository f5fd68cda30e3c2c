"""Domain dataclasses to protobuf messages and back, by equal field names.

Keeps the generated classes out of every other module without a hand-written mirror for each message: a dataclass
names the fields it needs, ``None`` stands for an absent optional field.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar, cast

from google.protobuf.message import Message

T = TypeVar("T")
M = TypeVar("M", bound=Message)


Reader = Callable[[Any], Any]


@functools.cache
def _plan(cls: Hashable) -> tuple[tuple[str, Reader | None, bool], ...]:
    """(field name, conversion of its value, optional) for each field of a dataclass."""
    hints = typing.get_type_hints(cls)
    plan = []
    for field in dataclasses.fields(cast(Any, cls)):
        hint, optional = hints[field.name], False
        if typing.get_origin(hint) in (types.UnionType, typing.Union):
            hint, optional = next(a for a in typing.get_args(hint) if a is not type(None)), True
        plan.append((field.name, _reader(hint), optional))
    return tuple(plan)


def _reader(hint: Any) -> Reader | None:
    """How a protobuf value becomes one of the hinted type; None if it is one already."""
    origin = typing.get_origin(hint)
    if origin is tuple:
        item = _reader(typing.get_args(hint)[0])
        return tuple if item is None else lambda values: tuple([item(value) for value in values])
    if origin in (dict, Mapping):
        return dict
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return functools.partial(_from_message, hint)
    if isinstance(hint, type) and issubclass(hint, str) and hint is not str:
        return hint
    return None


def _from_message(cls: type[T], message: Message) -> T:
    values: dict[str, Any] = {}
    for name, read, optional in _plan(cast(Hashable, cls)):
        if optional and not message.HasField(name):
            values[name] = None
        else:
            value = getattr(message, name)
            values[name] = value if read is None else read(value)
    return cls(**values)


def from_message(message: Message, cls: type[T]) -> T:
    """The dataclass ``cls`` filled from ``message``."""
    return _from_message(cls, message)


@functools.cache
def _writers(cls: Hashable) -> tuple[tuple[str, Reader | None], ...]:
    """(field name, conversion of its value) for each field of a dataclass."""
    hints = typing.get_type_hints(cls)
    return tuple((field.name, _writer(hints[field.name])) for field in dataclasses.fields(cast(Any, cls)))


def _writer(hint: Any) -> Reader | None:
    """How a value of the hinted type becomes what protobuf takes; None if it is that already."""
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return _writer(next(a for a in typing.get_args(hint) if a is not type(None)))
    if origin is tuple:
        item = _writer(typing.get_args(hint)[0])
        return None if item is None else lambda values: [item(value) for value in values]
    return _plain if dataclasses.is_dataclass(hint) else None


def _plain(value: Any) -> dict[str, Any]:
    """A dataclass as nested dictionaries, without what is None."""
    return {
        name: found if write is None else write(found)
        for name, write in _writers(cast(Hashable, type(value)))
        if (found := getattr(value, name)) is not None
    }


def to_message(value: Any, message_type: type[M]) -> M:
    """A message of ``message_type`` filled from the dataclass ``value``."""
    return message_type(**_plain(value))
