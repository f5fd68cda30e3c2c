"""Tenants, the operator, the walls between tenants, and the first start (rest-api D.3, D.13, E)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest
from testkit.auth_service import PASSWORD, AuthWorld, start_auth
from testkit.servers import NatsServer

from pbs_cloud.contracts.auth import Credentials, TokenSettings, UserSettings
from pbs_cloud.contracts.context import AclEntry, CallContext
from pbs_cloud.contracts.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)
from pbs_cloud.runtime.bus import Bus

DENIED = "^permission check failed$"


async def test_first_start_makes_the_operator_once(world: AuthWorld) -> None:
    assert await world.client.ensure_root("default") is None
    caller = (await world.root_token()).caller
    assert (caller.tenant_id, caller.auth_id) == ("default", "root@pam!root-token")
    assert caller.operator and not caller.superuser
    root = (await world.root()).caller
    assert root.operator and root.superuser
    with pytest.raises(Conflict, match="PBS_DEFAULT_TENANT"):
        await world.client.ensure_root("other")


async def test_simultaneous_first_starts_make_one(
    service_database: Callable[[str], Awaitable[str]], run_dir: Path
) -> None:
    process = await start_auth(await service_database("auth"), run_dir)
    try:
        secrets = await asyncio.gather(*(process.client.ensure_root("default") for _ in range(6)))
        assert len([secret for secret in secrets if secret]) == 1
    finally:
        await process.stop()


async def test_a_lost_root_token_is_renewed(world: AuthWorld) -> None:
    root = await world.root_token()
    await world.client.update_user(root, "root@pam", UserSettings(enable=False))
    renewed = await world.client.ensure_root("default", renew=True)
    assert renewed is not None and renewed != world.root_secret
    with pytest.raises(Unauthenticated):
        await world.root_token()
    root = await world.token("root@pam!root-token", renewed)
    assert root.caller.operator
    await world.client.delete_token(root, "root@pam", "root-token")
    again = await world.client.ensure_root("default", renew=True)
    assert again is not None
    assert (await world.token("root@pam!root-token", again)).caller.operator


async def test_only_tokens_with_admin_on_everything_are_operator(world: AuthWorld) -> None:
    root, client = await world.root_token(), world.client
    for number, (path, role, propagate, operator) in enumerate(
        [
            ("/", "Admin", True, True),
            ("/", "Admin", False, False),
            ("/", "Audit", True, False),
            ("/access", "Admin", True, False),
        ]
    ):
        _, secret = await client.create_token(root, "root@pam", f"t{number}", TokenSettings())
        await world.grant(f"root@pam!t{number}", path, role, propagate)
        assert (await world.token(f"root@pam!t{number}", secret)).caller.operator is operator
    admin = await world.make_user("admin@pbs", level="admin")
    assert not admin.caller.operator and not admin.caller.superuser


async def test_create_update_delete(world: AuthWorld) -> None:
    root, client = await world.root_token(), world.client
    acme = await client.create_tenant(root, "Acme Corp", quota_bytes=1000, metadata={"plan": "gold"})
    assert (acme.name, acme.slug, acme.active, acme.quota_bytes) == ("Acme Corp", "acme-corp", True, 1000)
    assert acme.metadata == {"plan": "gold"}
    assert await client.get_tenant(root, acme.id) == acme
    assert [tenant.id for tenant in await client.list_tenants(root)] in (["default", acme.id], [acme.id, "default"])
    twin = await client.create_tenant(root, "Acme Corp")
    assert twin.slug.startswith("acme-corp-") and twin.quota_bytes is None
    changed = await client.update_tenant(root, acme.id, {"quota_bytes": None, "maintenance": "unpaid", "metadata": {}})
    assert (changed.quota_bytes, changed.maintenance, changed.metadata) == (None, "unpaid", {})
    changed = await client.update_tenant(root, acme.id, {"name": "Acme", "maintenance": None, "quota_bytes": 0})
    assert (changed.name, changed.maintenance, changed.quota_bytes) == ("Acme", None, 0)
    await client.delete_tenant(root, acme.id)
    for call in (client.get_tenant(root, acme.id), client.delete_tenant(root, acme.id)):
        with pytest.raises(NotFound):
            await call
    with pytest.raises(InvalidArgument, match="default"):
        await client.delete_tenant(root, "default")
    with pytest.raises(InvalidArgument) as refused:
        await client.update_tenant(root, "default", {"active": False})
    assert refused.value.field == "active"


@pytest.mark.parametrize(
    ("name", "more", "field"),
    [
        ("", {}, "name"),
        ("x" * 129, {}, "name"),
        ("Acme/Corp", {}, "name"),
        ("ok", {"slug": "a"}, "slug"),
        ("ok", {"slug": "a b"}, "slug"),
        ("ok", {"quota_bytes": -1}, "quota_bytes"),
        ("ok", {"metadata": {"k": "v" * 2000}}, "metadata"),
        ("ok", {"metadata": {"k": "a\0b"}}, "metadata"),
    ],
)
async def test_bad_parameters_are_named(world: AuthWorld, name: str, more: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await world.client.create_tenant(await world.root_token(), name, **more)  # type: ignore[arg-type]
    assert refused.value.field == field


@pytest.mark.parametrize("slug", ["acme", "ACME", "pbs", "pam", "PAM"])
async def test_a_slug_is_taken_once(world: AuthWorld, slug: str) -> None:
    root = await world.root_token()
    await world.client.create_tenant(root, "Acme", slug="acme")
    with pytest.raises(AlreadyExists):
        await world.client.create_tenant(root, "Other", slug=slug)


async def test_tenants_are_the_operators_business(world: AuthWorld) -> None:
    tenant_id, admin = await world.make_tenant("acme")
    client = world.client
    default_admin = await world.make_user("admin@pbs", level="admin")
    for ctx in (admin, default_admin):
        for call in (
            client.list_tenants(ctx),
            client.get_tenant(ctx, tenant_id),
            client.get_tenant(ctx, "nosuch"),
            client.create_tenant(ctx, "Mine"),
            client.update_tenant(ctx, tenant_id, {"quota_bytes": None}),
            client.delete_tenant(ctx, tenant_id),
        ):
            with pytest.raises(PermissionDenied, match=DENIED):
                await call
    assert [user.userid for user in await client.list_tenant_users(admin, tenant_id)] == ["admin@acme"]
    for ctx, other in ((admin, "default"), (admin, "nosuch"), (default_admin, tenant_id)):
        with pytest.raises(PermissionDenied, match=DENIED):
            await client.list_tenant_users(ctx, other)
    root = await world.root_token()
    assert [user.userid for user in await client.list_tenant_users(root, tenant_id)] == ["admin@acme"]


async def test_realms(world: AuthWorld) -> None:
    tenant_id, admin = await world.make_tenant("acme")
    default_admin, root, client = (
        await world.make_user("admin@pbs", level="admin"),
        await world.root_token(),
        world.client,
    )
    await client.create_user(admin, "bob@acme", UserSettings())
    for ctx, userid in (
        (admin, "bob@pbs"),
        (admin, "bob@pam"),
        (admin, "bob@nosuch"),
        (default_admin, "eve@acme"),
        (root, "eve@acme"),
    ):
        with pytest.raises(InvalidArgument, match=f"^unknown realm '{userid.partition('@')[2]}'$"):
            await client.create_user(ctx, userid, UserSettings())
    made = await client.create_user(root, "backup@pam", UserSettings(permission="backup"), tenant_id)
    assert (made.tenant_id, made.permission) == (tenant_id, "backup")
    with pytest.raises(AlreadyExists, match=r"^user 'backup@pam' already exists\.$"):
        await client.create_user(default_admin, "backup@pam", UserSettings())
    with pytest.raises(PermissionDenied, match=DENIED):
        await client.create_user(admin, "bob@pbs", UserSettings(), "default")
    with pytest.raises(PermissionDenied, match=DENIED):
        await client.create_user(admin, "bob@pbs", UserSettings(), "nosuch")
    with pytest.raises(NotFound):
        await client.create_user(root, "bob@pbs", UserSettings(), "nosuch")


async def test_two_tenants_never_meet(world: AuthWorld) -> None:
    _, acme = await world.make_tenant("acme")
    _, globex = await world.make_tenant("globex")
    client = world.client
    await client.create_user(acme, "bob@acme", UserSettings())
    token, _ = await client.create_token(acme, "bob@acme", "t", TokenSettings())
    await client.update_acl(acme, AclEntry("/datastore/secret", "bob@acme", "DatastoreAudit"))
    bob = (await client.get_user(acme, "bob@acme"))[0]
    before = await client.list_users(acme, include_tokens=True), await client.list_acl(acme)

    for userid in ("bob@acme", "nosuch@acme"):
        for call in (client.get_user(globex, userid), client.update_user(globex, userid, UserSettings(enable=False))):
            with pytest.raises(NotFound, match=f"^no such user '{userid}'$"):
                await call
        with pytest.raises(NotFound, match=f"^user '{userid}' does not exist.$"):
            await client.delete_user(globex, userid)
        with pytest.raises(NotFound, match=r"^no such user\.$"):
            await client.update_acl(globex, AclEntry("/", userid, "Admin"))
        with pytest.raises(NotFound, match=r"^no such API token\.$"):
            await client.update_acl(globex, AclEntry("/", f"{userid}!t", "Admin"))
        with pytest.raises(Unauthenticated):
            await client.change_password(globex, userid, "another-secret", PASSWORD)
        assert await client.list_permissions(globex, userid, None) == {}
        await client.update_acl(globex, AclEntry("/datastore/secret", userid, "DatastoreAudit"), delete=True)
    for call in (client.delete_user(globex, bob.id), client.delete_token_by_id(globex, token.id)):
        with pytest.raises(PermissionDenied, match=DENIED):
            await call
    with pytest.raises(NotFound, match=r"^no such user\.$"):
        await client.update_acl(globex, AclEntry("/", "root@pam", "NoAccess"))
    assert [user.userid for user in (await client.list_users(globex))[0]] == ["admin@globex"]
    assert "/datastore/secret" not in await client.list_permissions(globex, None, None)

    assert (await client.list_users(acme, include_tokens=True), await client.list_acl(acme)) == before


async def test_digests_say_nothing_about_other_tenants(world: AuthWorld) -> None:
    _, acme = await world.make_tenant("acme")
    _, globex = await world.make_tenant("globex")
    one, two = (await world.client.list_users(acme))[1], (await world.client.list_users(globex))[1]
    assert one != two
    await world.client.create_user(acme, "bob@acme", UserSettings())
    assert (await world.client.list_users(globex))[1] == two
    assert (await world.client.list_users(acme))[1] != one


async def test_row_level_security_is_a_second_wall(world: AuthWorld) -> None:
    tenant_id, acme = await world.make_tenant("acme")
    await world.client.create_token(acme, "admin@acme", "t", TokenSettings(permission="read"))
    tables = ("tenant_user", "api_token", "acl_entry", "audit_log", "outbox")
    async with world.process.database.tenant("default") as connection:
        for table in tables:
            seen = {row["tenant_id"] for row in await connection.fetch(f"SELECT tenant_id FROM {table}")}
            assert seen == {"default"}, table
        assert [row["id"] for row in await connection.fetch("SELECT id FROM tenant")] == ["default"]
        for view in ("user_principal", "token_principal"):
            assert {row["tenant_id"] for row in await connection.fetch(f"SELECT * FROM {view}")} == {"default"}
        assert (
            await connection.execute("UPDATE tenant_user SET enable = false WHERE userid = 'admin@acme'") == "UPDATE 0"
        )
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with world.process.database.tenant("default") as connection:
            await connection.execute("INSERT INTO acl_entry VALUES ($1, 'admin@pbs', '/', 'Admin', true)", tenant_id)
    async with world.process.database.system() as connection:
        unguarded = await connection.fetch(
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'auth'"
            " AND relkind = 'r' AND NOT (relrowsecurity AND relforcerowsecurity)"
        )
    assert {row["relname"] for row in unguarded} == {"alembic_version", "outbox_sequence"}


async def refused(world: AuthWorld, ctx: CallContext, ticket: str) -> None:
    with pytest.raises(Unauthenticated, match=r"^permission check failed\.$"):
        await world.client.login(ctx.caller.auth_id, PASSWORD)
    with pytest.raises(Unauthenticated, match=r"^authentication failed$"):
        await world.client.authenticate(Credentials(ticket=ticket))


async def test_an_inactive_or_deleted_tenant_cannot_authenticate(world: AuthWorld) -> None:
    tenant_id, admin = await world.make_tenant("acme")
    root, client = await world.root_token(), world.client
    ticket = (await client.login("admin@acme", PASSWORD)).ticket
    await client.update_tenant(root, tenant_id, {"active": False})
    await refused(world, admin, ticket)
    await client.update_tenant(root, tenant_id, {"active": True})
    assert await client.authenticate(Credentials(ticket=ticket))
    await client.delete_tenant(root, tenant_id)
    await refused(world, admin, ticket)
    async with world.process.database.system() as connection:
        for table in ("tenant_user", "api_token", "acl_entry"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table} WHERE tenant_id = $1", tenant_id) == 0
        assert await connection.fetchval("SELECT count(*) FROM audit_log WHERE tenant_id = $1", tenant_id) > 0


async def test_calls_of_a_tenant_that_is_gone_change_nothing(world: AuthWorld) -> None:
    tenant_id, admin = await world.make_tenant("acme")
    await world.client.delete_tenant(await world.root_token(), tenant_id)
    with pytest.raises(NotFound):
        await world.client.create_user(admin, "late@acme", UserSettings())


async def test_quota_and_maintenance_travel_with_the_caller(world: AuthWorld) -> None:
    tenant_id, _ = await world.make_tenant("acme")
    await world.client.update_tenant(
        await world.root_token(), tenant_id, {"quota_bytes": 12345, "maintenance": "unpaid"}
    )
    caller = (await world.user("admin@acme")).caller
    assert (caller.tenant_id, caller.quota_bytes, caller.maintenance) == (tenant_id, 12345, "unpaid")
    assert all(entry.auth_id == "admin@acme" for entry in caller.acl) and caller.acl
    root = (await world.root_token()).caller
    assert (root.quota_bytes, root.maintenance) == (None, None)


async def test_changes_are_written_down(world: AuthWorld) -> None:
    tenant_id, admin = await world.make_tenant("acme")
    await world.client.create_user(admin, "bob@acme", UserSettings(password=PASSWORD))
    async with world.process.database.tenant(tenant_id) as connection:
        rows = await connection.fetch("SELECT * FROM audit_log ORDER BY id")
    assert [(row["actor"], row["action"], row["target"]) for row in rows] == [
        ("root@pam!root-token", "tenant.create", tenant_id),
        ("root@pam!root-token", "user.create", "admin@acme"),
        ("admin@acme", "user.create", "bob@acme"),
    ]
    assert [row["actor_tenant_id"] for row in rows] == ["default", "default", tenant_id]
    assert rows[2]["client_address"] == "192.0.2.7"


async def test_changes_are_announced(
    service_database: Callable[[str], Awaitable[str]], run_dir: Path, nats: NatsServer
) -> None:
    process = await start_auth(await service_database("auth"), run_dir, nats_url=nats.url)
    bus = Bus(nats.url, name="test")
    heard: asyncio.Queue[tuple[str, str, str | None]] = asyncio.Queue()

    async def hear(subject: str, event: dict[str, object]) -> None:
        metadata = event["metadata"]
        assert isinstance(metadata, dict)
        await heard.put((subject, str(event["tenant_id"]), metadata.get("auth_id")))

    try:
        await bus.start()
        await bus.wait_connected(10)
        await bus.listen("pbs.auth.*", hear)
        world = await AuthWorld.create(process)
        await world.make_user("alice@pbs")
        await world.client.update_user(await world.root_token(), "alice@pbs", UserSettings(enable=False))
        tenant = await world.client.create_tenant(await world.root_token(), "Acme")
        await world.client.update_tenant(await world.root_token(), tenant.id, {"active": False})
        await world.client.delete_tenant(await world.root_token(), tenant.id)
        expected = [
            ("pbs.auth.tenant_created", "default", None),
            ("pbs.auth.credentials_changed", "default", "alice@pbs"),
            ("pbs.auth.credentials_changed", "default", "alice@pbs"),
            ("pbs.auth.tenant_created", tenant.id, None),
            ("pbs.auth.credentials_changed", tenant.id, None),
            ("pbs.auth.credentials_changed", tenant.id, None),
            ("pbs.auth.tenant_removed", tenant.id, None),
        ]
        async with asyncio.timeout(10):
            assert [await heard.get() for _ in expected] == expected
    finally:
        await bus.stop()
        await process.stop()
