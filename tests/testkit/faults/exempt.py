"""Call sites at which no fault of its own is provoked, each with its reason."""

from __future__ import annotations

from fnmatch import fnmatch

from testkit.faults.places import Storage
from testkit.faults.sites import Kind, Site

_NO_ACT = "has no act yet: its own tests provoke failures"
_BUCKET = "only with a bucket"
_DIRECTORY = "only with a directory"
_DEVICE = "needs a device with one-time codes: tests of second factors"
_SECOND_FAULT = "only reached while another fault strikes; the walk comes by there, but strikes nothing on top of it"
EXEMPT = {
    "runtime/migrations.py:*": "before the product serves; the command says whether it worked",
    "runtime/database.py:_connect:*": "waits for the database for ever: its own tests take the server away",
    "runtime/database.py:ping:*": "its answer is whether the database can be reached",
    "runtime/resealing.py:*": "a command, which says whether it worked and can be repeated",
    "auth/keys.py:replace:*": "a command, in one transaction, which says whether it worked",
    "runtime/bus.py:_connect_for_ever:*": "waits for NATS for ever: its own tests take the server away",
    "runtime/bus.py:_subscribe:*": "only of a bus that is connected before it is asked to listen",
    "runtime/bus.py:hint:*": "a hint may be lost by definition",
    "runtime/bus.py:_pull_subscription:*": "at the start of a process, again and again until it works",
    "runtime/bus.py:_ensure_stream:*": "at the start of a process, again and again until it works",
    "runtime/bus.py:nak:*": _SECOND_FAULT,
    "runtime/bus.py:_read:*": "only for a message that nobody of ours has written",
    "auth/openid/flow.py:*": "needs an OpenID provider: walked by the tests of that flow",
    "auth/db/openid.py:*_login:*": "needs an OpenID provider",
    "auth/login.py:_second_step:*": _DEVICE,
    "auth/login_guard.py:_failed:*": "waits of seconds after failed logins: tests of logins",
    "auth/db/attempts.py:add_failure:*": "waits of seconds after failed logins: tests of logins",
    "auth/db/attempts.py:clean_up:*": "waits of seconds after failed logins: tests of logins",
    "auth/second_factor.py:check:*": _DEVICE,
    "auth/db/factors.py:*_entry:*": _DEVICE,
    "auth/db/factors.py:accept_step:*": _DEVICE,
    "auth/db/factors.py:unused_recovery:*": _DEVICE,
    "auth/db/factors.py:use_recovery:*": _DEVICE,
    "auth/keys.py:_read:*": "only for keys of an earlier version",
    "auth/user_service.py:_find:*": "one line with two transactions, of which the other is struck",
    "billing/sampling.py:follow:*": "in the transaction of an event that comes when it likes; the rest of it is struck",
    "billing/webhooks/queue.py:forget_old:*": "only with deliveries older than a month",
    "chunkstore/catalogue/background.py:_renew:*": "every 15 s of a task that lasts so long",
    "chunkstore/catalogue/closing.py:_end_tasks:*": "only with tasks of the dead: reached by restarts during the walk",
    "chunkstore/catalogue/datastores.py:_clear_place:*": _SECOND_FAULT,
    "chunkstore/catalogue/finish.py:_locked_until:*": "retention locks are off unless an operator sets them",
    "chunkstore/catalogue/retention.py:*": "retention locks are off unless an operator sets them",
    "chunkstore/catalogue/session_files.py:_require_live:*": _SECOND_FAULT,
    "chunkstore/chunks/claim_db.py:forget:*": _SECOND_FAULT,
    "chunkstore/chunks/claim_db.py:live_among:*": _SECOND_FAULT,
    "chunkstore/chunks/publishing.py:_storage_failed:*": _SECOND_FAULT,
    "chunkstore/chunks/claim_db.py:used_bytes:*": "asked once a second, kept in between",
    "chunkstore/chunks/stores.py:start:*": "at the start of a process, which fails and is started again",
    "chunkstore/chunks/stores.py:release_removed:*": "every 30 s; what fails is done in the next round",
    "chunkstore/chunks/service.py:get_into:*": "shared memory between processes: the rounds of kills read through it",
    "chunkstore/chunks/service.py:_second_look:*": _SECOND_FAULT,
    "chunkstore/chunks/store.py:_forget:*": _SECOND_FAULT,
    "chunkstore/collection/condemning.py:transaction:*": "an alias of the transactions in chunk_rows",
    "chunkstore/collection/marking.py:_mark_one:*": "an index that is not read ahead: moved in between (races)",
    "chunkstore/collection/sweeping.py:_still_ours:*": _DIRECTORY,
    "chunkstore/collection/strays.py:*": _DIRECTORY,
    "chunkstore/collection/deleting.py:delete:*": _DIRECTORY,
    "chunkstore/chunks/store.py:_unfinished:*": _DIRECTORY,
    "chunkstore/chunks/store.py:_recover:*": _DIRECTORY,
    "chunkstore/chunks/store.py:_is_whole:*": _DIRECTORY,
    "chunkstore/chunks/store.py:set_aside_leftover:*": _DIRECTORY,
    "chunkstore/chunks/publishing.py:publish_now:*": _DIRECTORY,
    "chunkstore/chunks/claim_db.py:unfinished:*": _DIRECTORY,
    "chunkstore/chunks/claim_db.py:adopt:*": _DIRECTORY,
    "chunkstore/collection/lost.py:*": _NO_ACT,
    "chunkstore/catalogue/removal.py:_let_rest:*": _BUCKET,
    "chunkstore/catalogue/removal.py:holding_place:*": _SECOND_FAULT,
    "chunkstore/catalogue/removal.py:_put_group_files:*": _SECOND_FAULT,
    "chunkstore/catalogue/session_files.py:_writing_index:*": _SECOND_FAULT,
    "chunkstore/catalogue/open_backup.py:_require_no_folder:*": _DIRECTORY,
    "chunkstore/maintenance/adopt_bucket.py:*": _BUCKET,
    "chunkstore/maintenance/adopt.py:*": _DIRECTORY,
    "chunkstore/maintenance/reimport.py:*": _NO_ACT,
    "chunkstore/maintenance/refreshing.py:*": _NO_ACT,
    "chunkstore/maintenance/importing.py:_insert_store:*": "one of its two statements is for re-imports",
    "chunkstore/maintenance/adopt.py:_find:*": "only a directory with a mark: an adoption that is repeated",
}


_GUARDS = {
    "retain_until": "retention locks are off unless an operator sets them: tests of retention",
    "outcome.refused": _SECOND_FAULT,
    "doubtful": _SECOND_FAULT,
    "rest is not None": _BUCKET,
}


def reason(site: Site, storage: Storage) -> str | None:
    """Why nothing strikes there; None if something must."""
    if site.kind is Kind.BUCKET and storage is Storage.DIRECTORY:
        return _BUCKET
    here = {Storage.DIRECTORY: _DIRECTORY, Storage.BUCKET: _BUCKET}[storage]
    reasons = [why for word, why in _GUARDS.items() if word in site.guard]
    reasons += [why for pattern, why in EXEMPT.items() if fnmatch(str(site), pattern)]
    return next((why for why in reasons if why != here), None)
