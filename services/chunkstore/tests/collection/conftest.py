"""Datastores to collect garbage in."""

from testkit.collection_fixtures import (
    any_world,
    data_dir,
    database,
    database_url,
    new_world,
    s3_world,
    threads,
    world,
)

__all__ = ["any_world", "data_dir", "database", "database_url", "new_world", "s3_world", "threads", "world"]
