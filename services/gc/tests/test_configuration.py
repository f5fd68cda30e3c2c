"""Kept configuration: rights on both sides, secrets at rest, digests, tenants apart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from pbs_cloud.contracts.configuration import ConfigEntry, Section
from pbs_cloud.contracts.context import AclEntry, CallContext, Caller
from pbs_cloud.contracts.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    NotFound,
    PbsError,
    PermissionDenied,
    Unavailable,
)
from pbs_cloud.contracts.events import Event, EventType
from pbs_cloud.gc.configuration.service import KeptConfiguration
from pbs_cloud.gc.facts import take_note
from pbs_cloud.gc.sealed import SEALED
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.resealing import reseal
from pbs_cloud.runtime.secret_box import SecretBox
from pbs_cloud.runtime.secret_keys import put_new_key_first
from pbs_cloud.runtime.settings import Settings

PASSWORD = "a-password-nobody-sees"
REMOTE, SYNC, TRAFFIC = Section.REMOTE, Section.SYNC, Section.TRAFFIC
FAR = ConfigEntry("far", {"host": "backup.example.com", "auth-id": "sync@pbs"})
JOB = {"store": "tank", "remote": "far", "remote-store": "cold"}


def who(*grants: tuple[str, str], tenant: str = "acme") -> CallContext:
    """Somebody with these (role, path)."""
    return CallContext(Caller(tenant, "eve@acme", tuple(AclEntry(path, "eve@acme", role) for role, path in grants)))


ADMIN = who(("Admin", "/"))


@pytest.fixture
async def database(service_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[Database]:
    found = Database(await service_database("gc"), schema="gc", application_name="test")
    await found.start()
    yield found
    await found.stop()


@pytest.fixture
def kept(database: Database, tmp_path: Path) -> KeptConfiguration:
    return KeptConfiguration(database, SecretBox(Settings(data_dir=tmp_path)))


async def test_a_password_is_stored_encrypted_and_never_given_back(
    kept: KeptConfiguration, database: Database, tmp_path: Path
) -> None:
    await kept.create(ADMIN, REMOTE, FAR, PASSWORD)
    assert (await kept.get(ADMIN, REMOTE, "far"))[0].fields == FAR.fields
    async with database.system() as connection:
        row = await connection.fetchrow("SELECT fields, secret FROM config_entry")
    assert PASSWORD.encode() not in row["secret"] and PASSWORD not in str(row["fields"])
    owner = "acme remote far"
    assert SecretBox(Settings(data_dir=tmp_path)).open(row["secret"], owner) == PASSWORD, "a restart keeps the key"
    assert (tmp_path / "secrets.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(Unavailable, match="damaged"):
        SecretBox(Settings(data_dir=tmp_path)).open(row["secret"], "globex remote far")
    with pytest.raises(Unavailable, match="PBS_SECRET_KEY_FILE"):
        SecretBox(Settings(data_dir=tmp_path / "elsewhere")).open(row["secret"], owner)


async def test_the_password_changes_only_when_one_is_given(kept: KeptConfiguration, database: Database) -> None:
    async def sealed() -> bytes:
        async with database.system() as connection:
            return bytes(await connection.fetchval("SELECT secret FROM config_entry"))

    await kept.create(ADMIN, REMOTE, FAR, PASSWORD)
    first = await sealed()
    await kept.update(ADMIN, REMOTE, ConfigEntry("far", {"comment": "c"}), (), None, None)
    assert await sealed() == first
    await kept.update(ADMIN, REMOTE, ConfigEntry("far", {}), ("comment",), None, "another-one")
    assert await sealed() != first
    assert (await kept.get(ADMIN, REMOTE, "far"))[0].fields == FAR.fields


async def test_digests_and_names(kept: KeptConfiguration) -> None:
    await kept.create(ADMIN, REMOTE, FAR, PASSWORD)
    _, digest = await kept.get(ADMIN, REMOTE, "far")
    await kept.update(ADMIN, REMOTE, ConfigEntry("far", {"comment": "c"}), (), digest, None)
    with pytest.raises(Conflict, match=r"^detected modified configuration"):
        await kept.delete(ADMIN, REMOTE, "far", digest)
    with pytest.raises(AlreadyExists, match="remote 'far' already exists"):
        await kept.create(ADMIN, REMOTE, FAR, None)
    with pytest.raises(InvalidArgument, match="host"):
        await kept.update(ADMIN, REMOTE, ConfigEntry("far", {}), ("host",), None, None)
    with pytest.raises(NotFound, match="no such rule 'nosuch'"):
        await kept.get(ADMIN, TRAFFIC, "nosuch")


PULL = (("DatastoreBackup", "/datastore/tank"), ("RemoteSyncOperator", "/remote/far"))


@pytest.mark.parametrize(
    ("more", "grants", "allowed"),
    [
        ({}, PULL, True),
        ({}, PULL[:1], False),
        ({}, PULL[1:], False),
        ({"remove-vanished": True}, PULL, False),
        ({"remove-vanished": True}, (("DatastorePowerUser", "/datastore/tank"), PULL[1]), True),
        ({"owner": "eve@acme"}, PULL, True),
        ({"owner": "bob@acme"}, PULL, False),
        ({"ns": "prod"}, (("DatastoreBackup", "/datastore/tank/prod"), PULL[1]), True),
        ({"ns": "prod"}, (("DatastoreBackup", "/datastore/tank/test"), PULL[1]), False),
        ({"sync-direction": "push"}, PULL, False),
        ({"sync-direction": "push"}, (("DatastoreReader", "/datastore"), ("RemoteSyncPushOperator", "/remote")), True),
        (
            {"sync-direction": "push", "remove-vanished": True},
            (("DatastoreReader", "/datastore"), ("RemoteSyncPushOperator", "/remote")),
            False,
        ),
    ],
)
async def test_who_may_make_a_sync_job(
    kept: KeptConfiguration, more: dict[str, object], grants: tuple[tuple[str, str], ...], allowed: bool
) -> None:
    job = ConfigEntry("nightly", {**JOB, **more})
    if allowed:
        await kept.create(who(*grants), SYNC, job, None)
        return
    with pytest.raises(Conflict, match=r"^permission check failed$"):
        await kept.create(who(*grants), SYNC, job, None)


async def test_what_is_shown_to_whom(kept: KeptConfiguration) -> None:
    await kept.create(ADMIN, REMOTE, FAR, None)
    await kept.create(ADMIN, SYNC, ConfigEntry("nightly", JOB), None)
    both = who(("DatastoreAudit", "/datastore"), ("RemoteAudit", "/remote/far"))
    assert len((await kept.list(both, SYNC))[0]) == len((await kept.list(both, REMOTE))[0]) == 1
    local = who(("DatastoreAudit", "/datastore"))
    assert (await kept.list(local, SYNC))[0] == (await kept.list(local, REMOTE))[0] == ()
    with pytest.raises(PermissionDenied):
        await kept.get(local, REMOTE, "nosuch")
    with pytest.raises(Conflict):
        await kept.get(local, SYNC, "nightly")
    for change in (kept.delete(both, REMOTE, "far", None), kept.delete(both, SYNC, "nightly", None)):
        with pytest.raises(PbsError, match=r"^permission check failed$"):
            await change


async def test_tenants_never_meet_and_leave_nothing(kept: KeptConfiguration, database: Database) -> None:
    other = who(("Admin", "/"), tenant="globex")
    assert (await kept.list(other, TRAFFIC))[1] != (await kept.list(ADMIN, TRAFFIC))[1], "also of equal configuration"
    for ctx in (ADMIN, other):
        await kept.create(ctx, REMOTE, FAR, PASSWORD)
    await kept.delete(other, REMOTE, "far", None)
    assert (await kept.list(other, REMOTE))[0] == ()
    assert (await kept.get(ADMIN, REMOTE, "far"))[0].id == "far"
    async with database.system() as connection:
        await take_note(connection, Event(EventType.TENANT_REMOVED, "acme", 1))
        assert await connection.fetchval("SELECT count(*) FROM config_entry") == 0


async def test_passwords_follow_a_new_key(kept: KeptConfiguration, database: Database, tmp_path: Path) -> None:
    """Those of all tenants; entries without one are left alone."""
    await kept.create(ADMIN, REMOTE, FAR, PASSWORD)
    await kept.create(who(("Admin", "/"), tenant="globex"), REMOTE, FAR, PASSWORD)
    await kept.create(ADMIN, TRAFFIC, ConfigEntry("slow", {"network": ["10.0.0.0/8"]}), None)
    keys, box = tmp_path / "secrets.key", SecretBox(Settings(data_dir=tmp_path))
    put_new_key_first(keys)
    assert (await reseal(database, box, SEALED)).renewed == 2
    keys.write_text(keys.read_text().splitlines()[0])
    async with database.system() as connection:
        rows = await connection.fetch("SELECT tenant_id, secret FROM config_entry WHERE secret IS NOT NULL")
    assert [box.open(row["secret"], f"{row['tenant_id']} remote far") for row in rows] == [PASSWORD] * 2
