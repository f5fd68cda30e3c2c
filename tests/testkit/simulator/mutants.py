"""Rules of formats 9.9, each switched off by a change of the services' own source while a world runs.

A change names a function, method or SQL text and what in it is replaced; one that does not fit any more is an error.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import textwrap
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_STORE = "pbs_cloud.chunkstore"


@dataclass(frozen=True, slots=True)
class Change:
    """`where`: `module:name` or `module:Class.method` below the chunkstore."""

    where: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A rule that is not kept.

    `rule`: what of formats 9.9 it breaks; `loses`: data; else garbage stays, or a second wall holds.
    """

    rule: str
    changes: tuple[Change, ...]
    loses: bool = True


MUTANTS: dict[str, Mutant] = {
    "no-pin": Mutant(
        "the base of a session is pinned",
        (
            Change(
                "catalogue.open_backup:_pin_base",
                "INSERT INTO pin (snapshot_id, session_id, tenant_id) VALUES ($1, $2, $3)",
                "DELETE FROM pin WHERE snapshot_id = $1 AND session_id = $2 AND tenant_id = $3",
            ),
        ),
    ),
    "pins-ignored": Mutant(
        "a pinned snapshot is not removed",
        (
            Change("catalogue.removal:require_unpinned", 'if pin["alive"]:', "if False:"),
            Change("catalogue.removal:require_unpinned", "    if pins:\n", "    if False:\n"),
        ),
        loses=False,
    ),
    "vanished-index-skipped": Mutant(
        "an index that vanished makes the mark list all snapshots again",
        (Change("collection.marking:Marking._mark", "while marks.vanished:", "while False:"),),
    ),
    "unreadable-index-skipped": Mutant(
        "any other unreadable index aborts the run",
        (
            Change("collection.marking:Marking._mark_all", "except Vanished:", "except Exception:"),
            Change("collection.marking:Marking._mark_all", "marks.vanished = True", "pass"),
        ),
    ),
    "cut-marks-accepted": Mutant(
        "marks that were cut off are no marks",
        (Change("collection.rpc:_whole", '    raise Unavailable("the marks ended too early")', "    return"),),
    ),
    "no-epoch": Mutant(
        "a run begins with a new epoch",
        (Change("collection.runs:begin", "epoch = epoch + 1", "epoch = epoch"),),
        loses=False,
    ),
    "store-not-shared": Mutant(
        "the start of a session and of a run exclude each other",
        (Change("catalogue.open_backup:BackupOpening._attempt", ", share=True", ""),),
    ),
    "cutoff-ignores-sessions": Mutant(
        "the cutoff is not beyond the start of an active session",
        (Change("collection.marking:_CUTOFF", "state = 'active'", "state = 'none'"),),
    ),
    "touch-epoch-ignored": Mutant(
        "only what was touched before the cutoff is condemned",
        (
            Change("collection.condemning:_CONDEMN", " AND touch_epoch < $3", " AND touch_epoch < $3 + 1000000"),
            Change("collection.condemning:_LOCK", " AND touch_epoch < $3", " AND touch_epoch < $3 + 1000000"),
            Change(
                "collection.condemning:Condemning.condemn", "run.cutoff, self._batch_rows", "1 << 60, self._batch_rows"
            ),
        ),
    ),
    "claim-does-not-touch": Mutant(
        "a claim of a live chunk touches it",
        (
            Change(
                "chunks.claim_rules:judge",
                "touched = None if epoch == row.touch_epoch else replace(row, touch_epoch=epoch)",
                "touched = None",
            ),
        ),
    ),
    "condemned-not-revived": Mutant(
        "a claim of a condemned chunk makes it live",
        (
            Change(
                "chunks.claim_rules:judge",
                "replace(row, state=ChunkState.LIVE, touch_epoch=epoch, owner=None, writer=None)",
                "None",
            ),
        ),
    ),
    "deleting-usable": Mutant(
        "a chunk that is being deleted is not usable",
        (Change("chunks.claim_rules:judge", "return Verdict(Next.WAIT_FOR_DELETE)", "return Verdict(Next.PRESENT)"),),
    ),
    "deleted-without-recheck": Mutant(
        "only what is condemned still when its row is locked is deleted",
        (
            Change("collection.sweeping:_LOCK_CONDEMNED", " FOR NO KEY UPDATE SKIP LOCKED", ""),
            Change("collection.sweeping:_START", " AND state IN (4, 5)", ""),
        ),
    ),
    "no-fence": Mutant(
        "a DELETE is not sent long after its transaction",
        (Change("collection.deleting:_refuse_late", 'boot_time() > getattr(_fence, "until", 0.0)', "False"),),
    ),
    "no-quiescence": Mutant(
        "after an unanswered DELETE its row rests for Q",
        (
            Change(
                "collection.sweeping:Sweeping._pick", "late = 0.0 if store.local else self._late_seconds", "late = 0.0"
            ),
        ),
    ),
    "unanswered-is-deleted": Mutant(
        "a row goes only when its DELETE was answered",
        (
            Change(
                "collection.deleting:S3Deleter._request",
                "except BotoCoreError:\n        return set(), set()",
                "except BotoCoreError:\n        return set(keys), set()",
            ),
        ),
    ),
    "live-before-durable": Mutant(
        "a row goes live only when its object is stored",
        (
            Change(
                "chunks.store:ChunkStore._write",
                "if not await self._write_object(claim, attempt):\n            return None",
                "pass",
            ),
            Change(
                "chunks.store:ChunkStore._write",
                "handed_over = True",
                "handed_over = True\n"
                "        await asyncio.wait([live])\n"
                "        await self._write_object(claim, attempt)",
            ),
        ),
    ),
    "live-before-sync": Mutant(
        "in a directory a row goes live only after the group sync",
        (Change("chunks.publishing:Publisher._round", "await self._backend.sync()", "await asyncio.sleep(0)"),),
    ),
    "close-does-not-wait": Mutant(
        "an index is closed only when all its chunks are live",
        (
            Change("chunks.store:ChunkStore.flush", "await self._publisher.flush()", "return"),
            Change("catalogue.session_files:SessionFiles._require_live", "if waiting and", "if False and"),
        ),
    ),
    "commit-without-lease": Mutant(
        "a commit requires an active session with a valid lease",
        (
            Change("catalogue.finish:Finish._commit", "await require_writable(connection, found.key)", "pass"),
            Change("catalogue.finish:Finish._require_still_open", "await require_writable(connection, key)", "pass"),
        ),
    ),
    "corrupt-not-healed": Mutant(
        "a corrupt chunk is written again by the next upload",
        (
            Change(
                "chunks.claim_rules:judge",
                "return Verdict(Next.HEAL, replace(row, touch_epoch=epoch, owner=who.session, writer=who.writer))",
                "return Verdict(Next.PRESENT, replace(row, state=ChunkState.LIVE))",
            ),
        ),
    ),
    "strays-ignored": Mutant(
        "in a directory indexes without a row protect their chunks",
        (
            Change(
                "collection.marking:Marking._mark_strays",
                "async for entry, key in strays.find():",
                "for entry, key in ():",
            ),
        ),
    ),
    "condemned-not-rescued": Mutant(
        "what a snapshot needs that is taken in is not condemned any more",
        (Change("maintenance.reimport:_RESCUE", "c.state = 4 ORDER", "c.state = 0 ORDER"),),
    ),
    "uploads-not-taken": Mutant(
        "what a snapshot needs that is taken in is live, also after an upload that broke off",
        (Change("maintenance.reimport:_TAKE_UPLOADS", "c.state = 1 ORDER", "c.state = 0 ORDER"),),
    ),
    "left-by-others-deleted": Mutant(
        "a failed upload deletes no object that was there before",
        (Change("chunks.store:ChunkStore._forget", "if attempt.made:", "if True:"),),
    ),
}


def changes_of(mutant: Mutant) -> list[tuple[Any, str, Any]]:
    """For `patched`: holder, name, and what is put there."""
    together: dict[str, list[Change]] = {}
    for change in mutant.changes:
        together.setdefault(change.where, []).append(change)
    return [place for where, changes in together.items() for place in _changed(where, tuple(changes))]


@lru_cache(maxsize=128)
def _changed(where: str, changes: tuple[Change, ...]) -> list[tuple[Any, str, Any]]:
    """The place itself, and every module that has imported what is there by its name."""
    module_name, _, path = where.partition(":")
    module = importlib.import_module(f"{_STORE}.{module_name}")
    *holders, name = path.split(".")
    holder: Any = module
    for part in holders:
        holder = getattr(holder, part)
    found = holder.__dict__[name]
    source = found if isinstance(found, str) else textwrap.dedent(inspect.getsource(found))
    for change in changes:
        old = change.old if change.old in source else textwrap.dedent(change.old)
        if old not in source:
            raise LookupError(f"{where}: there is no {change.old!r} any more")
        source = source.replace(old, change.new)
    made: dict[str, Any] = {name: source}
    if not isinstance(found, str):
        exec(compile(f"from __future__ import annotations\n{source}", where, "exec"), module.__dict__, made)
    importers = [] if holders else [other for other in _modules() if other.__dict__.get(name) is found]
    return [(each, name, made[name]) for each in dict.fromkeys([holder, *importers])]


def _modules() -> list[Any]:
    return [module for name, module in list(sys.modules.items()) if name.startswith("pbs_cloud.") and module]
