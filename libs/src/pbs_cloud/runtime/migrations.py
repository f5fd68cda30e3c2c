"""Schema changes: plain Alembic scripts of each service, driven from code and safe to run from several places at once.

A script is `pbs_cloud/<service>/migrations/versions/NNNN_title.py` with `revision = "NNNN"` and `down_revision`; its
`upgrade()` calls `execute_script(sql)` and may use `tenant_isolation(table)` and `outbox_tables()`. It runs as the
service's role with the service's schema as search path, all pending scripts of a service in one transaction.
"""

from typing import TYPE_CHECKING, Any

import asyncpg

from pbs_cloud.runtime.database_urls import SERVICES_WITH_SCHEMA, derived_password, role_of
from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.revisions import head_revision, is_current, migrations_folder
from pbs_cloud.runtime.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection as SqlConnection

_log = get_logger(__name__)
_LOCK = "pbs-cloud migration"
_TENANT = "(SELECT current_setting('pbs.tenant'))"


def tenant_isolation(table: str, column: str = "tenant_id") -> str:
    """SQL for row-level security on `table`: rows of the transaction's tenant, all of them in `Database.system()`."""
    return f"""
        ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
        ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
        CREATE POLICY tenant_isolation ON {table} USING ({column} = {_TENANT} OR {_TENANT} = '*');
    """


def execute_script(sql: str) -> None:
    """Run several SQL statements from within a migration's `upgrade()`."""
    from alembic import op
    from sqlalchemy.util import await_only

    connection = op.get_bind()
    connection.exec_driver_sql("SELECT 1")  # opens the driver's transaction, which the script then belongs to
    driver: Any = connection.connection.driver_connection
    await_only(driver.execute(sql))


async def create_roles_and_schemas(admin_url: str) -> None:
    """A login role and a schema owned by it for each service; repeatable, also sets the derived passwords anew.

    `admin_url` logs in as a superuser or as a role that may create roles and schemas.
    """
    connection = await asyncpg.connect(admin_url, timeout=10)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", _LOCK)
            await connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
            for service in SERVICES_WITH_SCHEMA:
                await _create_role(connection, service, derived_password(admin_url, service))
    finally:
        await connection.close()


async def _create_role(connection: Any, service: str, password: str) -> None:
    role = role_of(service)
    exists = await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role)
    verb = "ALTER" if exists else "CREATE"
    await connection.execute(
        f"{verb} ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD '{password}'"
    )
    await connection.execute(f"GRANT {role} TO CURRENT_USER")
    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {service} AUTHORIZATION {role}")


async def migrate(url: str, service: str) -> bool:
    """Bring the schema of `service` to its newest revision; `url` logs in as the service's role.

    Returns:
        Whether anything had to be done.
    """
    head, folder = head_revision(service), migrations_folder(service)
    if head is None or folder is None or is_current(await current_revision(url, service), head):
        return False
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    async def connect() -> Any:
        settings = {"search_path": service, "application_name": f"migrate {service}", "pbs.tenant": "*"}
        return await asyncpg.connect(url, timeout=10, server_settings=settings)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade, service, str(folder))
    finally:
        await engine.dispose()
    _log.info("schema migrated", service=service, revision=head)
    return True


async def current_revision(url: str, service: str) -> str | None:
    """The revision the schema is at; None when it was never migrated."""
    connection = await asyncpg.connect(url, timeout=10, server_settings={"search_path": service})
    try:
        revision = await connection.fetchval("SELECT version_num FROM alembic_version")
        return None if revision is None else str(revision)
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return None
    finally:
        await connection.close()


async def migrate_all(settings: Settings, services: tuple[str, ...] = SERVICES_WITH_SCHEMA) -> None:
    """Roles, schemas, then the migrations of `services`, one after the other: Alembic's context is one per process.

    Skips the roles when every service has a URL of its own and no administrator's URL is set.
    """
    if settings.database_url is not None:
        await create_roles_and_schemas(settings.admin_database_url)
    elif any(getattr(settings, f"{service}_database_url") is None for service in services):
        raise ConfigError("PBS_DATABASE_URL: must be set to migrate")
    for service in services:
        await migrate(settings.database_url_for(service), service)


def _upgrade(connection: "SqlConnection", service: str, folder: str) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock(hashtextextended('{_LOCK} {service}', 0))")
    config = Config()
    config.set_main_option("script_location", folder)
    script = ScriptDirectory.from_config(config)

    def steps(revision: Any, _context: Any) -> Any:
        return script._upgrade_revs("head", revision)

    with EnvironmentContext(config, script, fn=steps) as environment:
        environment.configure(connection=connection, version_table_schema=service)
        environment.run_migrations()
