"""A model of Postgres in memory that runs the services' own SQL, deterministically. See README.md."""

from testkit.simulator.postgres.database import SimDatabase, SimPostgres
from testkit.simulator.postgres.failures import UnsupportedSql
from testkit.simulator.postgres.storage import Hooks

__all__ = ["Hooks", "SimDatabase", "SimPostgres", "UnsupportedSql"]
