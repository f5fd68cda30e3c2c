"""Which migration a service's code needs, found without importing the migration tool."""

import importlib.util
import re
from pathlib import Path

_FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.py")


def migrations_folder(service: str) -> Path | None:
    """`pbs_cloud/<service>/migrations` if the service has one."""
    spec = importlib.util.find_spec("pbs_cloud")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(root) / service / "migrations"
        if (folder / "versions").is_dir():
            return folder
    return None


def head_revision(service: str) -> str | None:
    """Number of the newest file `NNNN_title.py` in `migrations/versions`; None without any."""
    folder = migrations_folder(service)
    if folder is None:
        return None
    found = [match[1] for path in (folder / "versions").iterdir() if (match := _FILE.fullmatch(path.name))]
    return max(found, default=None)


def is_current(found: str | None, head: str) -> bool:
    """Whether a schema at `found` serves code that needs `head`: later ones do (expand first, contract later)."""
    return found is not None and found >= head
