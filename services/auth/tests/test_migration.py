"""What an older version left behind is taken over: users keep their tickets, keys are sealed when they are read."""

from __future__ import annotations

import importlib
import uuid

import asyncpg
from testkit.auth_service import start_auth
from testkit.servers import PostgresServer, temporary_folder

from pbs_cloud.auth.tickets import TicketKey, make_ticket
from pbs_cloud.contracts.auth import Credentials
from pbs_cloud.runtime import database_urls
from pbs_cloud.runtime.migrations import create_roles_and_schemas, migrate, tenant_isolation
from pbs_cloud.runtime.outbox import outbox_tables

_FIRST = "pbs_cloud.auth.migrations.versions.0001_initial"
_CONTENTS = """
INSERT INTO tenant (id, name, slug, created_at) VALUES ('default', 'default', 'pbs', 1);
INSERT INTO tenant_user (id, tenant_id, userid, created_at) VALUES ('{user}', 'default', 'alice@pbs', 1);
INSERT INTO api_token (tenant_id, user_id, name, token_id, secret_hash, created_at)
    VALUES ('default', '{user}', 't', 'alice@pbs!t', '\\x00', 1);
INSERT INTO signing_key (active_from, ticket_seed, csrf_secret) VALUES (1, '\\x{seed}', '\\x{seed}');
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('0001');
"""


async def test_tickets_of_the_first_schema_stay_valid(postgres: PostgresServer) -> None:
    admin, user, seed = await postgres.new_database(), uuid.uuid4(), bytes(range(32))
    await create_roles_and_schemas(admin)
    url = database_urls.for_service(admin, "auth")
    first = importlib.import_module(_FIRST)
    guarded = tenant_isolation("tenant", "id")
    guarded += "".join(tenant_isolation(t) for t in ("tenant_user", "api_token", "acl_entry", "audit_log"))
    connection = await asyncpg.connect(url, server_settings={"search_path": "auth", "pbs.tenant": "*"})
    await connection.execute(first._TABLES + first._VIEWS + guarded + outbox_tables())
    await connection.execute(_CONTENTS.format(user=user, seed=seed.hex()))
    assert await migrate(url, "auth")
    process = await start_auth(url, temporary_folder("auth"))
    try:
        ticket = make_ticket(TicketKey(1, seed, seed), "alice@pbs", user, int(process.clock.time()))
        caller = await process.client.authenticate(Credentials(ticket=ticket))
        assert (caller.tenant_id, caller.auth_id) == ("default", "alice@pbs")
        assert seed not in [bytes(row[0]) for row in await connection.fetch("SELECT ticket_seed FROM signing_key")]
    finally:
        await connection.close()
        await process.stop()
