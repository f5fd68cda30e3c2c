"""`pbs-cloud fsck` at the end of a story: silent about a healthy store, and it names what was damaged on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testkit.simulator.directory import DirectoryBackend
from testkit.simulator.truth import BY_DIGEST

from pbs_cloud.chunkstore.backends.opening import open_backend
from pbs_cloud.chunkstore.catalogue.rows import store_by_id
from pbs_cloud.chunkstore.maintenance.fsck import Check
from pbs_cloud.chunkstore.maintenance.fsck_report import Finding, Problem

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from testkit.simulator.world import World


async def check_fsck(world: World, executor: Executor, needed: set[bytes], *, orphans: bool) -> None:
    """`needed`: digests of committed snapshots; `orphans`: a run has looked for objects without a row."""
    async with world.observer.system() as connection:
        store = await store_by_id(connection, world.datastore)
    settings = world.product.settings
    backend = (
        open_backend(settings, store.place, executor) if world.on_s3 else DirectoryBackend(world.directory, executor)
    )
    report = await Check(settings, world.observer, backend, store).run(read_data=True)
    wrong = {digest.hex() for digest in needed if world.chunk_object(digest) != BY_DIGEST[digest].data}
    named = set()
    for finding in report.findings:
        digest = finding.name.rpartition("/")[2].removeprefix("chunk ")
        if digest in wrong or bytes.fromhex(_hex(digest)) in world.truth.damaged:
            named.add(digest)
        elif not _is_late(finding, orphans):
            world.fail(f"fsck: {finding.problem} {finding.name} {finding.detail}")
    for digest in wrong - named:
        world.fail(f"fsck does not name the damaged chunk {digest[:8]}")


def _hex(text: str) -> str:
    return text if len(text) == 64 and set(text) <= set("0123456789abcdef") else ""


def _is_late(finding: Finding, orphans: bool) -> bool:
    """What came late, or was left by the dead, has no row; of chunks only until a run looks for it."""
    return finding.problem is Problem.OBJECT_WITHOUT_ROW and not (orphans and finding.name.startswith("chunk "))
