"""Grammars of rest-api A.4 for what this service stores, with the texts that users see."""

from __future__ import annotations

import re

from pbs_cloud.contracts.errors import InvalidArgument

_SAFE_ID = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_SAFE_ID_RE = re.compile(_SAFE_ID)
# `!` is left out of user names: it separates user and token in an auth id.
_USERID_RE = re.compile(rf"(?P<name>[^\s:/!\x00-\x1f\x7f-\x9f]+)@(?P<realm>{_SAFE_ID})")
_ONE_LINE_RE = re.compile(r"[^\x00-\x1f\x7f-\x9f]*")
_ACL_PATH_RE = re.compile(rf"/|(?:/{_SAFE_ID})+")
_TENANT_NAME_RE = re.compile(r"[A-Za-z0-9 ._-]*")

_PATTERN = "value does not match the regex pattern"
_MAX_ID = 64


def check_length(field: str, value: str, least: int, most: int) -> None:
    """Raises ``InvalidArgument`` for ``field`` when ``value`` is too short or too long."""
    if len(value) < least:
        raise InvalidArgument(f"value must be at least {least} characters long", field=field)
    if len(value) > most:
        raise InvalidArgument(f"value may only be {most} characters long", field=field)


def _check_pattern(field: str, value: str, pattern: re.Pattern[str]) -> re.Match[str]:
    found = pattern.fullmatch(value)
    if found is None:
        raise InvalidArgument(_PATTERN, field=field)
    return found


def check_userid(value: str, field: str = "userid") -> str:
    """The realm of a userid; the last ``@`` separates. Raises ``InvalidArgument``."""
    check_length(field, value, 3, _MAX_ID)
    realm = _check_pattern(field, value, _USERID_RE)["realm"]
    if not 2 <= len(realm) <= 32:
        raise InvalidArgument(_PATTERN, field=field)
    return realm


def is_userid(value: str) -> bool:
    """Whether ``value`` is a well-formed userid."""
    try:
        check_userid(value)
    except InvalidArgument:
        return False
    return True


def realm_of(userid: str) -> str:
    """The realm of a well-formed userid."""
    return userid.rpartition("@")[2]


def token_id(userid: str, name: str) -> str:
    """``<userid>!<name>``, checked. Raises ``InvalidArgument`` for ``token-name``."""
    _check_pattern("token-name", name, _SAFE_ID_RE)
    whole = f"{userid}!{name}"
    if len(whole) > _MAX_ID:
        raise InvalidArgument(f"value may only be {_MAX_ID - len(userid) - 1} characters long", field="token-name")
    return whole


def check_password(value: str, field: str = "password") -> None:
    """A password that is to be set: 8 to 64 characters, no control characters."""
    check_one_line(field, value, 8, _MAX_ID)


def check_one_line(field: str, value: str, least: int, most: int) -> None:
    """Text without control characters."""
    check_length(field, value, least, most)
    _check_pattern(field, value, _ONE_LINE_RE)


def check_comment(value: str) -> None:
    """One line of at most 128 characters."""
    check_one_line("comment", value, 0, 128)


def check_person_field(field: str, value: str) -> None:
    """First name, last name, e-mail address: one line of 2 to 64 characters."""
    check_one_line(field, value, 2, _MAX_ID)


def check_expire(value: int) -> None:
    """Unix seconds, 0 = never."""
    if value < 0:
        raise InvalidArgument(f"value must have a minimum value of 0 (got {value})", field="expire")


def check_acl_path_grammar(value: str) -> None:
    """``/`` or one or more ``/safe-id``, 1 to 128 characters."""
    check_length("path", value, 1, 128)
    _check_pattern("path", value, _ACL_PATH_RE)


def check_tenant_name(value: str) -> None:
    """Display name of a tenant (rest-api D.3)."""
    check_length("name", value, 1, 128)
    _check_pattern("name", value, _TENANT_NAME_RE)


def check_realm(value: str) -> None:
    """Name of a realm (rest-api A.4)."""
    check_length("realm", value, 2, 32)
    _check_pattern("realm", value, _SAFE_ID_RE)


def check_slug(value: str) -> None:
    """A tenant's realm (rest-api E.2)."""
    check_length("slug", value, 2, 32)
    _check_pattern("slug", value, _SAFE_ID_RE)


def slug_from(name: str) -> str:
    """A slug made from a tenant's display name; always valid."""
    text = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")[:32].strip("-")
    return text if len(text) >= 2 else f"tenant-{text}" if text else "tenant"


# Known ACL paths (rest-api A.8): components -> how many more may follow.
_OPEN_PATHS = {
    "/": 0,
    "/access": 0,
    "/access/acl": 0,
    "/access/users": 0,
    "/access/domains": 1,
    "/access/openid": 1,
    "/datastore": 8,
    "/remote": 9,
    "/system": 0,
    "/system/certificates": 0,
    "/system/disks": 0,
    "/system/log": 0,
    "/system/notifications": 0,
    "/system/status": 0,
    "/system/tasks": 0,
    "/system/time": 0,
    "/system/services": 1,
    "/system/network": 2,
    "/system/s3-endpoint": 1,
    "/system/encryption-keys": 1,
    "/tape": 3,
}


def is_known_acl_path(path: str) -> bool:
    """Whether a well-formed ACL path has one of the known shapes."""
    parts = [part for part in path.split("/") if part]
    for known in range(min(len(parts), 2), -1, -1):
        more = _OPEN_PATHS.get("/" + "/".join(parts[:known]))
        if more is not None:
            return len(parts) - known <= more
    return False
