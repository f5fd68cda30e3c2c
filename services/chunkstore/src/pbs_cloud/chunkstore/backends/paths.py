"""Relative keys that stay inside their store."""

from __future__ import annotations

from pbs_cloud.contracts.errors import Conflict, InvalidArgument

_MAX_COMPONENT = 255


def check_key(key: str, field: str = "key") -> str:
    """`key` if it names a file below the store's root and no part of it is special, else `InvalidArgument`.

    Refused: empty components, `.`, `..`, NUL and backslash, an absolute path, and the hidden names of the root
    (`.chunks`, `.lock`, …), which are the backend's own.
    """
    parts = key.split("/")
    if any(_is_bad(part) for part in parts) or parts[0].startswith("."):
        raise InvalidArgument(f"{field}: {key!r} is no path inside a datastore", field=field)
    return key


def check_prefix(prefix: str, field: str = "prefix") -> str:
    """As `check_key`, for a directory without a slash at its end."""
    if any(_is_bad(part) for part in prefix.split("/")):
        raise InvalidArgument(f"{field}: {prefix!r} is no relative directory", field=field)
    return prefix


def check_absolute(path: str, field: str = "location") -> str:
    """`path` if it is an absolute directory in its shortest form, else `InvalidArgument`."""
    if path == "/" or not path.startswith("/") or any(_is_bad(part) for part in path[1:].split("/")):
        raise InvalidArgument(f"{field}: {path!r} is no absolute directory in its shortest form", field=field)
    return path


def directory_of(prefix: str) -> str:
    """The directory that a prefix names; it must end with `/` (without, `vm/10` would also mean `vm/100`)."""
    if not prefix.endswith("/"):
        raise InvalidArgument(f"prefix: {prefix!r} does not end with a slash", field="prefix")
    return check_key(prefix[:-1], "prefix")


def holds_snapshots(folder: str) -> Conflict:
    """Why the folder of a group or namespace is not deleted."""
    return Conflict(f"'{folder}' holds snapshots that are not in the catalogue: `reimport` takes them in")


def _is_bad(part: str) -> bool:
    return part in ("", ".", "..") or len(part.encode()) > _MAX_COMPONENT or "\0" in part or "\\" in part
