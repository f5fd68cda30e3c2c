"""Users, tokens, tenants, rights, tickets."""

from __future__ import annotations

from typing import Any

from pbs_cloud.auth.keys import KeyRing
from pbs_cloud.auth.token_use import TokenUse
from pbs_cloud.contracts.auth import Credentials, TokenSettings, UserSettings
from pbs_cloud.contracts.context import AclEntry, CallContext, Caller
from pbs_cloud.contracts.errors import AlreadyExists, Conflict, InvalidArgument, NotFound, Unauthenticated
from pbs_cloud.runtime.database import Database
from testkit.faults.acts import Act, act, fresh, reading
from testkit.faults.world import FaultWorld
from testkit.maintenance import TENANT

_PASSWORD = "secret-enough"
ROOT = CallContext(Caller(TENANT, "root@pam", (AclEntry("/", "root@pam", "Admin"),), operator=True))
GONE = (NotFound, InvalidArgument, Conflict)


async def _user(world: FaultWorld, password: str | None = None) -> str:
    name = f"{fresh('user')}@pbs"
    await world.auth.create_user(ROOT, name, UserSettings(password=password))
    return name


@act
async def user_creation(world: FaultWorld) -> Act:
    name = f"{fresh('user')}@pbs"

    async def run() -> None:
        await world.auth.create_user(ROOT, name, UserSettings(comment="new", permission="read"))

    async def check() -> None:
        found, _ = await world.auth.get_user(ROOT, name)
        assert (found.comment, found.permission) == ("new", "read")

    return Act(run, check, done=(AlreadyExists, Conflict, InvalidArgument))


@act
async def user_change(world: FaultWorld) -> Act:
    name = await _user(world)

    async def run() -> None:
        await world.auth.update_user(ROOT, name, UserSettings(comment="changed"))

    async def check() -> None:
        assert (await world.auth.get_user(ROOT, name))[0].comment == "changed"

    return Act(run, check)


@act
async def user_deletion(world: FaultWorld) -> Act:
    name = await _user(world)
    await world.auth.create_token(ROOT, name, "one", TokenSettings(permission="read"))

    async def run() -> None:
        await world.auth.delete_user(ROOT, name)

    async def check() -> None:
        assert name not in [user.userid for user in (await world.auth.list_users(ROOT))[0]]
        entries, _ = await world.auth.list_acl(ROOT)
        assert not [entry for entry in entries if entry.auth_id.startswith(name)]

    return Act(run, check, done=GONE)


@act
async def user_list(world: FaultWorld) -> Act:
    await world.auth.create_token(ROOT, await _user(world), "one", TokenSettings())

    async def run() -> Any:
        found, digest = await world.auth.list_users(ROOT, include_tokens=True)
        return sorted(user.userid for user in found), digest

    return await reading(run)


@act
async def user_by_id(world: FaultWorld) -> Act:
    """The project's own calls name users by id."""
    user = await world.auth.create_user(ROOT, f"{fresh('user')}@pbs", UserSettings())

    async def run() -> None:
        await world.auth.delete_user(ROOT, user.id)

    async def check() -> None:
        assert user.userid not in [found.userid for found in (await world.auth.list_users(ROOT))[0]]

    return Act(run, check, done=GONE)


@act
async def active_user(world: FaultWorld) -> Act:
    name = await _user(world)
    return await reading(lambda: world.auth.is_active(ROOT, name))


@act
async def active_token(world: FaultWorld) -> Act:
    name = await _user(world)
    await world.auth.create_token(ROOT, name, "one", TokenSettings())
    return await reading(lambda: world.auth.is_active(ROOT, f"{name}!one"))


@act
async def token_creation(world: FaultWorld) -> Act:
    name = await _user(world)

    async def run() -> None:
        _, secret = await world.auth.create_token(ROOT, name, "one", TokenSettings(permission="read"))
        caller = await world.auth.authenticate(Credentials(token_id=f"{name}!one", token_secret=secret))
        assert caller.auth_id == f"{name}!one"

    async def check() -> None:
        assert (await world.auth.get_token(ROOT, name, "one"))[0].permission == "read"

    return Act(run, check, done=(AlreadyExists, Conflict, InvalidArgument))


@act
async def token_change(world: FaultWorld) -> Act:
    name = await _user(world)
    _, old = await world.auth.create_token(ROOT, name, "one", TokenSettings())

    async def run() -> None:
        secret = await world.auth.update_token(ROOT, name, "one", TokenSettings(comment="new"), regenerate=True)
        await world.auth.authenticate(Credentials(token_id=f"{name}!one", token_secret=secret))

    async def check() -> None:
        assert (await world.auth.get_token(ROOT, name, "one"))[0].comment == "new"
        try:
            await world.auth.authenticate(Credentials(token_id=f"{name}!one", token_secret=old))
        except Unauthenticated:
            return
        raise AssertionError("the old secret still opens")

    return Act(run, check)


@act
async def token_deletion(world: FaultWorld) -> Act:
    name = await _user(world)
    made, _ = await world.auth.create_token(ROOT, name, "one", TokenSettings(permission="read"))

    async def run() -> None:
        await world.auth.delete_token_by_id(ROOT, made.id)

    async def check() -> None:
        assert (await world.auth.list_tokens(ROOT, name))[0] == ()

    return Act(run, check, done=GONE)


@act
async def token_list(world: FaultWorld) -> Act:
    name = await _user(world)
    await world.auth.create_token(ROOT, name, "one", TokenSettings())
    return await reading(lambda: world.auth.list_tokens(ROOT, name))


@act
async def token_read(world: FaultWorld) -> Act:
    name = await _user(world)
    await world.auth.create_token(ROOT, name, "one", TokenSettings())
    return await reading(lambda: world.auth.get_token(ROOT, name, "one"))


@act
async def rights_list(world: FaultWorld) -> Act:
    await world.auth.update_acl(ROOT, AclEntry(f"/datastore/{fresh('store')}", await _user(world), "DatastoreAudit"))
    return await reading(lambda: world.auth.list_acl(ROOT))


@act
async def user_read(world: FaultWorld) -> Act:
    name = await _user(world)
    return await reading(lambda: world.auth.get_user(ROOT, name))


@act
async def rights(world: FaultWorld) -> Act:
    entry = AclEntry(f"/datastore/{fresh('store')}", await _user(world), "DatastoreAudit")

    async def run() -> None:
        await world.auth.update_acl(ROOT, entry)

    async def check() -> None:
        assert [found.auth_id for found in (await world.auth.list_acl(ROOT, entry.path, True))[0]] == [entry.auth_id]

    return Act(run, check)


@act
async def rights_taken_away(world: FaultWorld) -> Act:
    entry = AclEntry(f"/datastore/{fresh('store')}", await _user(world), "DatastoreAudit")
    await world.auth.update_acl(ROOT, entry)

    async def run() -> None:
        await world.auth.update_acl(ROOT, entry, delete=True)

    async def check() -> None:
        assert (await world.auth.list_acl(ROOT, entry.path, True))[0] == ()

    return Act(run, check)


@act
async def permissions(world: FaultWorld) -> Act:
    name = await _user(world)
    await world.auth.update_acl(ROOT, AclEntry("/datastore", name, "DatastoreAudit"))
    return await reading(lambda: world.auth.list_permissions(ROOT, name, None))


@act
async def login(world: FaultWorld) -> Act:
    name = await _user(world, _PASSWORD)

    async def run() -> str:
        made = await world.auth.login(name, _PASSWORD)
        credentials = Credentials(ticket=made.ticket, csrf_token=made.csrf_token, csrf_required=True)
        return (await world.auth.authenticate(credentials)).auth_id

    return Act(run, reads=True, expected=name)


@act
async def login_with_a_ticket(world: FaultWorld) -> Act:
    name = await _user(world, _PASSWORD)
    made = await world.auth.login(name, _PASSWORD)
    return await reading(lambda: _username(world, name, made.ticket))


async def _username(world: FaultWorld, name: str, secret: str) -> str:
    return (await world.auth.login(name, secret)).username


@act
async def login_with_a_secret(world: FaultWorld) -> Act:
    name = await _user(world)
    _, secret = await world.auth.create_token(ROOT, name, "one", TokenSettings())

    async def run() -> Any:
        made = await world.auth.login(name, secret)
        credentials = Credentials(ticket=made.ticket, csrf_token=made.csrf_token)
        return (await world.auth.authenticate(credentials)).auth_id

    return await reading(run)


@act
async def bearer_secret(world: FaultWorld) -> Act:
    name = await _user(world)
    _, secret = await world.auth.create_token(ROOT, name, "one", TokenSettings())
    return await reading(lambda: world.auth.authenticate(Credentials(bearer_secret=secret)))


@act
async def wrong_secret(world: FaultWorld) -> Act:
    """Whatever fails, nobody gets in."""
    name = await _user(world)
    await world.auth.create_token(ROOT, name, "one", TokenSettings())

    async def run() -> str:
        try:
            await world.auth.authenticate(Credentials(token_id=f"{name}!one", token_secret="0" * 36))
        except Unauthenticated:
            return "refused"
        return "let in"

    return Act(run, reads=True, expected="refused")


@act
async def password(world: FaultWorld) -> Act:
    name = await _user(world, _PASSWORD)
    login = await world.auth.login(name, _PASSWORD)
    caller = await world.auth.authenticate(
        Credentials(ticket=login.ticket, csrf_token=login.csrf_token, csrf_required=True)
    )
    passwords = iter((_PASSWORD, *["another-secret"] * 10))

    async def run() -> None:
        try:
            await world.auth.change_password(CallContext(caller), name, "another-secret", _PASSWORD)
        except (InvalidArgument, Unauthenticated, Conflict) as error:
            if next(passwords) == _PASSWORD:
                raise
            raise AlreadyExists("it was changed before") from error

    async def check() -> None:
        await world.auth.login(name, "another-secret")

    return Act(run, check, done=(AlreadyExists, InvalidArgument, Unauthenticated, Conflict))


@act
async def tenant_creation(world: FaultWorld) -> Act:
    slug = fresh("tenant")

    async def run() -> None:
        await world.auth.create_tenant(ROOT, slug, slug=slug)

    async def check() -> None:
        assert slug in [tenant.slug for tenant in await world.auth.list_tenants(ROOT)]

    return Act(run, check, done=(AlreadyExists, Conflict))


@act
async def tenant_change(world: FaultWorld) -> Act:
    tenant = await world.auth.create_tenant(ROOT, "Before", slug=fresh("tenant"))

    async def run() -> None:
        await world.auth.update_tenant(ROOT, tenant.id, {"name": "After"})

    async def check() -> None:
        assert (await world.auth.get_tenant(ROOT, tenant.id)).name == "After"

    return Act(run, check)


@act
async def tenant_deletion(world: FaultWorld) -> Act:
    tenant = await world.auth.create_tenant(ROOT, "Away", slug=fresh("tenant"))

    async def run() -> None:
        await world.auth.delete_tenant(ROOT, tenant.id)

    async def check() -> None:
        assert tenant.id not in [found.id for found in await world.auth.list_tenants(ROOT)]

    return Act(run, check, done=GONE)


@act
async def tenant_list(world: FaultWorld) -> Act:
    return await reading(lambda: world.auth.list_tenants(ROOT))


@act
async def tenant_users(world: FaultWorld) -> Act:
    slug = fresh("tenant")
    tenant = await world.auth.create_tenant(ROOT, slug, slug=slug)
    await world.auth.create_user(ROOT, f"admin@{slug}", UserSettings(), tenant.id)
    return await reading(lambda: world.auth.list_tenant_users(ROOT, tenant.id))


@act
async def first_user_of_a_tenant(world: FaultWorld) -> Act:
    slug = fresh("tenant")
    tenant = await world.auth.create_tenant(ROOT, slug, slug=slug)

    async def run() -> None:
        await world.auth.create_user(ROOT, f"admin@{slug}", UserSettings(), tenant.id)

    async def check() -> None:
        assert [user.userid for user in await world.auth.list_tenant_users(ROOT, tenant.id)] == [f"admin@{slug}"]

    return Act(run, check, done=(AlreadyExists, Conflict, InvalidArgument))


@act
async def tenant_read(world: FaultWorld) -> Act:
    return await reading(lambda: world.auth.get_tenant(ROOT, TENANT))


@act
async def first_start(world: FaultWorld) -> Act:
    """The operator's token is renewed, or it is not; never half."""

    async def run() -> None:
        secret = await world.auth.ensure_root(TENANT, renew=True)
        await world.auth.authenticate(Credentials(token_id="root@pam!root-token", token_secret=secret))

    return Act(run)


@act
async def ticket_keys(world: FaultWorld) -> Act:
    """A new key is made where there is none; one that was made stays."""
    async with world.part("auth", Database).system() as connection:
        await connection.execute("DELETE FROM signing_key")
    name = await _user(world, _PASSWORD)

    async def run() -> None:
        await world.part("auth", KeyRing).refresh()

    async def check() -> None:
        await world.part("auth", KeyRing).refresh()
        made = await world.auth.login(name, _PASSWORD)
        await world.auth.authenticate(Credentials(ticket=made.ticket, csrf_token=made.csrf_token))

    return Act(run, check)


@act
async def token_use(world: FaultWorld) -> Act:
    """When a token was used last only informs; a failure to write it disturbs nobody."""
    name = await _user(world)
    _, secret = await world.auth.create_token(ROOT, name, "one", TokenSettings())
    credentials = Credentials(token_id=f"{name}!one", token_secret=secret)

    async def run() -> None:
        await world.auth.authenticate(credentials)
        await world.part("auth", TokenUse).flush()

    async def check() -> None:
        await world.auth.authenticate(credentials)

    return Act(run, check)
