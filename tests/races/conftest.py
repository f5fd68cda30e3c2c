"""Datastores in a directory and in a bucket, and what makes requests late."""

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
from testkit.races import gates, late

__all__ = [
    "any_world",
    "data_dir",
    "database",
    "database_url",
    "gates",
    "late",
    "new_world",
    "s3_world",
    "threads",
    "world",
]
