"""The schema of a service as its Alembic scripts make it: they run against the model, there is no second copy."""

from __future__ import annotations

from functools import cache
from typing import Any

from alembic.config import Config
from alembic.script import ScriptDirectory
from testkit.simulator.postgres.catalog import Catalog
from testkit.simulator.postgres.ddl import apply_ddl, complete

from pbs_cloud.runtime.revisions import migrations_folder


@cache
def catalog_of(service: str) -> Catalog:
    """The newest schema of `service`; one for the process, it does not change. Raises UnsupportedSql."""
    folder = migrations_folder(service)
    if folder is None:
        raise ValueError(f"{service!r} has no migrations")
    config = Config()
    config.set_main_option("script_location", str(folder))
    catalog = Catalog(service)
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())
    for script in reversed(scripts):
        module: Any = script.module
        module.execute_script = lambda sql: apply_ddl(catalog, sql)
        module.upgrade()
    complete(catalog)
    return catalog
