"""The named types of rest-api A.4. Grammars come from ``pbs_cloud.formats``."""

from __future__ import annotations

from typing import Final

from pbs_cloud.contracts.errors import InvalidArgument
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.identity import ACL_PATH, AuthId, UserId
from pbs_cloud.formats.names import (
    MAX_BACKUP_TIME,
    MAX_NAMESPACE_LENGTH,
    MAX_NEW_COMPONENT_LENGTH,
    NODE_NAME,
    SAFE_ID,
    BackupNamespace,
)
from pbs_cloud.formats.upid import Upid
from pbs_cloud.gateway.schema.types import Boolean, Enum, Integer, String

_SAFE = SAFE_ID.pattern
_ONE_LINE = r"[^\x00-\x1f\x7f-\x9f]*"


def is_user_id(text: str) -> bool:
    """Whether the text is ``<name>@<realm>``."""
    return _parses(UserId.parse, text)


def _auth_id(text: str) -> bool:
    return _parses(AuthId.parse, text)


def _parses(parse: object, text: str) -> bool:
    assert callable(parse)
    try:
        parse(text)
    except FormatError:
        return False
    return True


def _decode_backup_type(text: str) -> str:
    if text not in BACKUP_TYPES:
        raise InvalidArgument(f"unknown variant `{text}`, expected one of `vm`, `ct`, `host`", field="backup-type")
    return text


def _decode_namespace(text: str) -> str:
    try:
        BackupNamespace.parse(text)
    except FormatError as error:
        raise InvalidArgument(str(error).removeprefix("ns: "), field="ns") from None
    return text


BACKUP_TYPES: Final = ("vm", "ct", "host")
TIMEFRAMES: Final = ("hour", "day", "week", "month", "year", "decade")

BOOLEAN: Final = Boolean()
SAFE_NAME: Final = String(pattern=_SAFE)
STORE: Final = String(pattern=_SAFE, minimum=3, maximum=32)
BACKUP_TYPE: Final = String(after=_decode_backup_type)
"""Checked when it is decoded, as everywhere but at the upgrades."""
BACKUP_TYPE_ENUM: Final = Enum(BACKUP_TYPES)
BACKUP_ID: Final = String(pattern=_SAFE)
BACKUP_TIME: Final = Integer(minimum=1, maximum=MAX_BACKUP_TIME)
NAMESPACE: Final = String(
    pattern=rf"(?:(?:{_SAFE}/){{0,7}}{_SAFE})?", maximum=MAX_NAMESPACE_LENGTH, after=_decode_namespace
)
NAMESPACE_NAME: Final = String(pattern=_SAFE, minimum=1, maximum=MAX_NEW_COMPONENT_LENGTH)
MAX_DEPTH: Final = Integer(minimum=0, maximum=7)
FILE_NAME: Final = String(pattern=_SAFE, maximum=255)
USER_ID: Final = String(minimum=3, maximum=64, check=is_user_id)
AUTH_ID: Final = String(minimum=3, maximum=64, check=_auth_id)
TOKEN_NAME: Final = String(pattern=_SAFE, minimum=1, maximum=64)
ACL_PATH_TYPE: Final = String(pattern=ACL_PATH.pattern, minimum=1, maximum=128)
NODE: Final = String(pattern=NODE_NAME.pattern)
UPID: Final = String(minimum=36, check=lambda text: _parses(Upid.parse, text))
COMMENT: Final = String(pattern=_ONE_LINE, maximum=128)
NAME_TEXT: Final = String(pattern=_ONE_LINE, minimum=2, maximum=64)
NOTES: Final = String()
DIGEST: Final = String(pattern=r"[a-f0-9]{64}")
NEW_PASSWORD: Final = String(pattern=_ONE_LINE, minimum=8, maximum=64)
PASSWORD: Final = String(pattern=_ONE_LINE, maximum=1024)
"""At logins, where an empty one is a wrong one."""
GIVEN_PASSWORD: Final = String(pattern=_ONE_LINE, minimum=1, maximum=1024)
EXPIRE: Final = Integer(minimum=0)
KEEP: Final = Integer(minimum=1)
