"""Verification of groups and namespaces: what is looked at, once, in which order, by whom; healing; new backups."""

import asyncio
import itertools
import re
import time

import numpy as np
import pytest
from testkit.chunk_world import Chunk, encrypted_chunk, plain_chunk
from testkit.maintenance import ADMIN, FIRST_TIME, STORE, Archive, Maintained, member

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext, SystemContext
from pbs_cloud.contracts.errors import Conflict, InvalidArgument, NotFound, NotOwner, PermissionDenied
from pbs_cloud.contracts.jobs import VerifyOptions, VerifyScope
from pbs_cloud.formats.manifest import VerifyResult, VerifyState
from pbs_cloud.formats.upid import Upid
from pbs_cloud.gc.verification.seen import SeenChunks, chunk_keys
from pbs_cloud.gc.verification.snapshots import DAY_SECONDS, Run, batches, may_skip, split_keys

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = itertools.count(1)
ALL = VerifyOptions(ignore_verified=False)


async def space(world: Maintained) -> str:
    """A namespace of the test's own."""
    ns = f"n{next(_numbers)}"
    await world.catalogue.create_namespace(ADMIN, STORE, ns)
    return ns


async def run(
    world: Maintained, scope: VerifyScope, options: VerifyOptions = ALL, ctx: CallContext = ADMIN
) -> tuple[str, str, str]:
    """Status, log and UPID of a verification."""
    upid = await world.gc.verify(ctx, scope, options)
    return await world.ended(upid), await world.log(upid), upid


def damage(world: Maintained, chunk: Chunk) -> None:
    """Other bytes with a right CRC: only the digest tells."""
    world.chunk_file(chunk).write_bytes(plain_chunk(chunk.size).data)


async def test_twelve_of_twelve(world: Maintained) -> None:
    """A wrong digest in the last chunk of each snapshot: the reference stores `ok` for ten of twelve."""
    ns = await space(world)
    made = []
    for number in range(12):
        chunks = [plain_chunk(4000) for _ in range(5)]
        key = await world.backup(t.GroupRef(STORE, ns, "vm", str(100 + number)), files={"a.didx": Archive(chunks)})
        damage(world, chunks[-1])
        made.append((key, chunks[-1]))
    status, log, _ = await run(world, VerifyScope(STORE, ns))
    assert [await world.verdict(key) for key, _ in made] == ["failed"] * 12
    assert all(chunk.digest.hex() in log for _, chunk in made)
    assert "and 9 more" in status


async def test_the_datastores_tuning_says_how_many_workers(world: Maintained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the call or the job does."""
    ns = await space(world)
    await world.backup(t.GroupRef(STORE, ns, "vm", "1"), files={"a.didx": Archive([plain_chunk(400)])})
    seen: list[int] = []
    original = Run.workers.fget  # type: ignore[attr-defined]

    def told(self: Run) -> int:
        seen.append(original(self))
        return seen[-1]

    monkeypatch.setattr(Run, "workers", property(told))
    tuning = {"tuning": "chunk-order=none,default-verification-workers=7,default-verification-readers=2"}
    await world.catalogue.update_datastore(ADMIN, STORE, tuning)
    for options in (VerifyOptions(ignore_verified=False), VerifyOptions(ignore_verified=False, verify_threads=3)):
        await run(world, VerifyScope(STORE, ns), options)
    await world.catalogue.update_datastore(ADMIN, STORE, {}, ["tuning"])
    await run(world, VerifyScope(STORE, ns), VerifyOptions(ignore_verified=False))
    assert seen == [7, 3, 4]


async def test_each_chunk_is_read_once(world: Maintained) -> None:
    ns = await space(world)
    shared, own = [plain_chunk() for _ in range(3)], [plain_chunk() for _ in range(2)]
    await world.backup(t.GroupRef(STORE, ns, "vm", "1"), files={"a.didx": Archive([*shared, shared[0], own[0]])})
    await world.backup(t.GroupRef(STORE, ns, "vm", "2"), files={"a.didx": Archive([own[1], *shared])})
    status, log, _ = await run(world, VerifyScope(STORE, ns))
    assert status == "OK"
    assert re.findall(r"verified (\d+) of (\d+) chunks", log) == [("4", "5"), ("1", "4")]


async def test_a_shared_damage_fails_all_and_the_next_backup_heals_all(world: Maintained) -> None:
    ns = await space(world)
    chunk, group = plain_chunk(), t.GroupRef(STORE, ns, "vm", "1")
    first = await world.backup(group, FIRST_TIME, {"a.didx": Archive([chunk])})
    second = await world.backup(t.GroupRef(STORE, ns, "vm", "2"), FIRST_TIME, {"a.didx": Archive([chunk])})
    damage(world, chunk)
    status, log, _ = await run(world, VerifyScope(STORE, ns))
    assert status.startswith("verification failed")
    assert log.count(f"corrupt chunk {chunk.digest.hex()}") == 2
    assert [await world.verdict(key) for key in (first, second)] == ["failed", "failed"]
    assert world.bad_files(chunk) == 1

    session = await world.open(group, FIRST_TIME + 60)
    assert session.base is None, "a failed snapshot is no base"
    await world.catalogue.close_session(ADMIN, session.session_id, error="test")
    await world.backup(group, FIRST_TIME + 120, {"a.didx": Archive([chunk])})
    status, log, _ = await run(world, VerifyScope(STORE, ns))
    assert status == "OK", log
    assert [await world.verdict(key) for key in (first, second)] == ["ok", "ok"]


async def test_a_digest_in_an_encrypted_and_a_plain_archive(world: Maintained) -> None:
    """The archive's mode counts also for a chunk that another archive has shown to be sound."""
    ns = await space(world)
    secret = encrypted_chunk()
    right = await world.backup(t.GroupRef(STORE, ns, "vm", "1"), files={"a.didx": Archive([secret], "encrypt")})
    wrong = await world.backup(t.GroupRef(STORE, ns, "vm", "2"), files={"a.didx": Archive([secret])})
    await run(world, VerifyScope(STORE, ns))
    assert [await world.verdict(key) for key in (right, wrong)] == ["ok", "failed"]


async def test_order_and_what_is_left_out(world: Maintained) -> None:
    ns = await space(world)
    for kind, name in (("vm", "20"), ("vm", "3"), ("vm", "abc"), ("host", "bench"), ("host", "h"), ("ct", "9")):
        await world.backup(t.GroupRef(STORE, ns, kind, name))
    await world.backup(t.GroupRef(STORE, ns, "vm", "3"), FIRST_TIME + 60)
    async with world.database.system() as connection:  # an adopted datastore may have one
        await connection.execute("UPDATE backup_group SET backup_id = 'benchmark' WHERE backup_id = 'bench'")
    session = await world.open(t.GroupRef(STORE, ns, "vm", "20"), FIRST_TIME + 60)
    status, log, _ = await run(world, VerifyScope(STORE, ns))
    await world.catalogue.close_session(ADMIN, session.session_id, error="test")
    assert status == "OK"
    seen = re.findall(rf"verify {ns}:([a-z]+/[^/]+)/\S+?T22:(\S+)Z$", log, re.MULTILINE)
    expected = ["ct/9", "host/h", "vm/3", "vm/3", "vm/20", "vm/abc"]
    assert [name for name, _ in seen] == expected
    assert [stamp for name, stamp in seen if name == "vm/3"] == ["14:20", "13:20"]
    assert re.search(rf"SKIPPED: {ns}:vm/20/2023-11-14T22:14:20Z - .*being written", log)


async def test_scopes_and_their_names(world: Maintained) -> None:
    ns = await space(world)
    await world.catalogue.create_namespace(ADMIN, STORE, f"{ns}/deep")
    group, deep = t.GroupRef(STORE, ns, "vm", "1"), t.GroupRef(STORE, f"{ns}/deep", "vm", "1")
    older, newer, below = await world.backup(group), await world.backup(group, FIRST_TIME + 1), await world.backup(deep)

    async def verified(scope: VerifyScope) -> tuple[str, str | None, list[bool]]:
        _, _, upid = await run(world, scope)
        task = await world.catalogue.get_task(ADMIN, upid)
        fresh = [
            any(item.verification is not None and item.verification.upid == upid for item in found)
            for found in (
                [s for s in await world.snapshots(ns) if s.backup_time == older.backup_time],
                [s for s in await world.snapshots(ns) if s.backup_time == newer.backup_time],
                await world.snapshots(below.group.ns),
            )
        ]
        return task.worker_type, task.worker_id, fresh

    snapshot = VerifyScope(STORE, ns, "vm", "1", FIRST_TIME)
    assert await verified(snapshot) == ("verify_snapshot", f"{STORE}:ns/{ns}/vm/1/6553F100", [True, False, False])
    assert await verified(VerifyScope(STORE, ns, "vm", "1")) == (
        "verify_group",
        f"{STORE}:ns/{ns}/vm/1",
        [True, True, False],
    )
    only = VerifyScope(STORE, ns, max_depth=0)
    assert await verified(only) == ("verify", f"{STORE}:ns/{ns}", [True, True, False])
    assert (await verified(VerifyScope(STORE, ns)))[2] == [True, True, True]


async def test_what_is_missing(world: Maintained) -> None:
    assert (await run(world, VerifyScope(STORE, backup_type="vm", backup_id="nosuch")))[0] == "OK"
    assert (await run(world, VerifyScope(STORE, "nosuch")))[0].startswith("verification failed")
    with pytest.raises(NotFound, match="no such datastore 'nosuch'"):
        await world.gc.verify(ADMIN, VerifyScope("nosuch"), ALL)
    for mixed in ({"backup_type": "vm"}, {"backup_id": "1"}, {"backup_time": 5}):
        with pytest.raises(InvalidArgument, match="do not specify a backup group or snapshot"):
            await world.gc.verify(ADMIN, VerifyScope(STORE, **mixed), ALL)  # type: ignore[arg-type]


async def test_who_may(world: Maintained) -> None:
    ns = await space(world)
    owner, other = member("owner@pbs", "DatastoreBackup"), member("other@pbs", "DatastoreBackup")
    mine = await world.backup(t.GroupRef(STORE, ns, "vm", "1"), ctx=owner)
    foreign = await world.backup(t.GroupRef(STORE, ns, "vm", "2"), ctx=other)
    for ctx in (member("x@pbs", "DatastoreAudit"), member("x@pbs", "NoAccess")):
        with pytest.raises(PermissionDenied, match=r"Datastore.Verify\|Datastore.Backup on"):
            await world.gc.verify(ctx, VerifyScope(STORE, ns), ALL)
    with pytest.raises(NotOwner):
        await world.gc.verify(owner, VerifyScope(STORE, ns, "vm", "2"), ALL)
    for missing in (VerifyScope(STORE, ns, "vm", "3"), VerifyScope(STORE, f"{ns}/none", "vm", "1", 5)):
        with pytest.raises(NotFound, match=r"^ENOENT: No such file or directory$"):
            await world.gc.verify(owner, missing, ALL)
    assert (await run(world, VerifyScope(STORE, ns), ctx=owner))[0] == "OK"
    assert [await world.verdict(key) for key in (mine, foreign)] == ["ok", None], "only its own groups"
    reader = member("r@pbs", "DatastoreReader")
    assert (await run(world, VerifyScope(STORE, ns), ctx=reader))[0] == "OK"
    assert await world.verdict(foreign) == "ok"


async def test_skipping_what_has_a_result(world: Maintained) -> None:
    ns = await space(world)
    chunk = plain_chunk()
    key = await world.backup(t.GroupRef(STORE, ns, "vm", "1"), files={"a.didx": Archive([chunk])})
    damage(world, chunk)
    assert (await run(world, VerifyScope(STORE, ns), VerifyOptions()))[0] != "OK"
    status, log, _ = await run(world, VerifyScope(STORE, ns), VerifyOptions())
    assert (status, "recently verified" in log) == ("OK", True), "a failed one is skipped too"
    assert (await run(world, VerifyScope(STORE, ns), VerifyOptions(outdated_after=0)))[0] == "OK", "not a day old"
    assert (await run(world, VerifyScope(STORE, ns), ALL))[0] != "OK"
    assert await world.verdict(key) == "failed"


NOW = time.time()


def state_of(age: float, result: VerifyResult = VerifyResult.OK) -> VerifyState:
    start = int(NOW - age)
    return VerifyState(Upid.parse(f"UPID:n:00000001:00000001:00000001:{start:08X}:verify:tank:root@pam:"), result)


@pytest.mark.parametrize(
    ("options", "state", "skipped"),
    [
        (VerifyOptions(False), state_of(0), False),
        (VerifyOptions(False, 10), state_of(0), False),
        (VerifyOptions(), None, False),
        (VerifyOptions(), state_of(9e8), True),
        (VerifyOptions(), state_of(9e8, VerifyResult.FAILED), True),
        (VerifyOptions(True, 0), state_of(DAY_SECONDS - 60), True),
        (VerifyOptions(True, 0), state_of(DAY_SECONDS + 60), False),
        (VerifyOptions(True, 0), state_of(-5 * DAY_SECONDS), True),
        (VerifyOptions(True, 3), state_of(4 * DAY_SECONDS - 60), True),
        (VerifyOptions(True, 3), state_of(4 * DAY_SECONDS + 60), False),
        (VerifyOptions(True, 3), state_of(4 * DAY_SECONDS + 60, VerifyResult.FAILED), False),
    ],
)
async def test_skip_rules(options: VerifyOptions, state: VerifyState | None, skipped: bool) -> None:
    assert may_skip(state, options, NOW) is skipped


async def test_an_unreadable_state_is_no_state(world: Maintained) -> None:
    ns = await space(world)
    state = {"state": "splendid", "upid": str(state_of(0).upid)}
    key = await world.backup(t.GroupRef(STORE, ns, "vm", "1"), unprotected={"verify_state": state})
    assert (await run(world, VerifyScope(STORE, ns), VerifyOptions()))[0] == "OK"
    assert await world.verdict(key) == "ok"


async def test_a_snapshot_that_was_adopted_without_a_readable_manifest_fails(world: Maintained) -> None:
    """Lists show it without a size, like one that is being written."""
    ns = await space(world)
    key = await world.backup(t.GroupRef(STORE, ns, "vm", "1"))
    world.file(key, "index.json.blob").write_bytes(b"garbage")
    async with world.database.system() as connection:
        await connection.execute(
            "UPDATE snapshot SET manifest = NULL WHERE group_id IN (SELECT g.id FROM backup_group g"
            " JOIN namespace n ON n.id = g.namespace_id WHERE n.path = $1)",
            ns,
        )
    status, log, _ = await run(world, VerifyScope(STORE, ns))
    assert status.startswith("verification failed"), log
    assert await world.verdict(key) is None


async def test_new_backups_are_verified_where_the_datastore_says_so(world: Maintained) -> None:
    system = SystemContext().for_tenant(ADMIN.tenant_id)
    await world.ended(await world.catalogue.create_datastore(system, "fresh", {"verify-new": "true"}), system)
    ns = "inner"
    await world.catalogue.create_namespace(ADMIN, "fresh", ns)
    claimed = {"verify_state": {"state": "ok", "upid": str(state_of(0).upid)}}
    made = await world.backup(t.GroupRef("fresh", ns, "vm", "1"), unprotected=claimed)
    elsewhere = await world.backup(t.GroupRef(STORE, "", "vm", f"{next(_numbers)}"))
    async with asyncio.timeout(30):
        while True:
            (snapshot,) = await world.snapshots(ns, "fresh")
            found = snapshot.verification
            if found is not None and found.state == "ok" and found.upid != claimed["verify_state"]["upid"]:
                break
            await asyncio.sleep(0.1)
    task = await world.catalogue.get_task(system, found.upid)
    assert (task.worker_type, task.worker_id, task.auth_id) == ("verify", f"fresh:vm/1/{FIRST_TIME:08X}", "root@pam")
    assert await world.ended(found.upid, system) == "OK"
    assert made.backup_time == FIRST_TIME
    assert await world.verdict(elsewhere) is None


async def test_a_stopped_verification_stores_nothing(world: Maintained, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snapshot is pinned while it is verified, and free afterwards."""
    from pbs_cloud.chunkstore.chunks.verification import Verification

    entered = asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        entered.set()
        await asyncio.Event().wait()

    ns = await space(world)
    key = await world.backup(t.GroupRef(STORE, ns, "vm", "1"), files={"a.didx": Archive([plain_chunk()])})
    monkeypatch.setattr(Verification, "check", hang)
    upid = await world.gc.verify(ADMIN, VerifyScope(STORE, ns), ALL)
    await asyncio.wait_for(entered.wait(), 10)
    with pytest.raises(Conflict):
        await world.catalogue.delete_snapshot(ADMIN, key)
    await world.catalogue.stop_task(ADMIN, upid)
    assert await world.ended(upid) == "task aborted"
    assert await world.verdict(key) is None
    await world.catalogue.delete_snapshot(ADMIN, key)


async def test_a_service_that_fails_leaves_no_state(world: Maintained, monkeypatch: pytest.MonkeyPatch) -> None:
    from pbs_cloud.chunkstore.chunks.verification import Verification
    from pbs_cloud.contracts.errors import Unavailable

    async def away(*_: object, **__: object) -> None:
        raise Unavailable("the database is away")

    ns = await space(world)
    key = await world.backup(t.GroupRef(STORE, ns, "vm", "1"), files={"a.didx": Archive([plain_chunk()])})
    monkeypatch.setattr(Verification, "check", away)
    status, log, _ = await run(world, VerifyScope(STORE, ns))
    assert status.startswith("verification failed")
    assert "the database is away" in log
    assert await world.verdict(key) is None


async def test_read_only_datastores_are_verified_and_offline_ones_are_not(world: Maintained) -> None:
    system = SystemContext().for_tenant(ADMIN.tenant_id)
    await world.ended(await world.catalogue.create_datastore(system, "quiet", {}), system)
    key = await world.backup(t.GroupRef("quiet", "", "vm", "1"))
    await world.catalogue.update_datastore(system, "quiet", {"maintenance-mode": "read-only"})
    assert (await run(world, VerifyScope("quiet")))[0] == "OK"
    assert await world.verdict(key) == "ok"
    await world.catalogue.update_datastore(system, "quiet", {"maintenance-mode": "offline"})
    with pytest.raises(Conflict, match="offline maintenance mode"):
        await world.gc.verify(ADMIN, VerifyScope("quiet"), ALL)


def keys_of(numbers: np.ndarray, size: int = 7) -> np.ndarray:
    digests = np.zeros((len(numbers), 32), dtype=np.uint8)
    digests[:, :4] = numbers.astype(">u4").view(np.uint8).reshape(-1, 4)
    return chunk_keys(digests.reshape(-1).view("S32"), np.full(len(numbers), size, dtype=np.uint64))


async def test_what_was_seen_is_remembered_in_files_too() -> None:
    seen = SeenChunks(run_entries=1000)
    random = np.random.default_rng(1)
    known: set[int] = set()
    for _ in range(40):
        numbers = random.integers(0, 20_000, 400)
        fresh = seen.unseen(keys_of(numbers))
        expected = sorted({int(number) for number in numbers} - known)
        assert split_keys(fresh)[0] == split_keys(keys_of(np.array(expected)))[0]
        seen.add(fresh)
        known.update(expected)
    assert len(seen) == len(known)
    assert len(seen._stored) > 2
    assert len(seen.unseen(keys_of(np.array(sorted(known)), size=8))) == len(known), "another size is another chunk"


async def test_batches_are_bounded_by_count_and_bytes() -> None:
    many = keys_of(np.arange(1000))
    assert [len(batch) for batch in batches(many)] == [256, 256, 256, 232]
    large = keys_of(np.arange(50), size=16 * 1024 * 1024)
    assert {len(batch) for batch in batches(large)} == {16, 2}
    assert b"".join(split_keys(batch)[0] for batch in batches(large)) == split_keys(large)[0]
    assert split_keys(large)[1][0] == 16 * 1024 * 1024
