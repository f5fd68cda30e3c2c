"""Webhooks: where the tenant's events are sent."""

from typing import Any, Final

from pbs_cloud.cli.groups.find import only
from pbs_cloud.cli.session import Session
from pbs_cloud.cli.spec import Command, Param, argument, integer, pairs, secret, text
from pbs_cloud.cli.views import Column, Record, Table, count, moment_text

_EVENTS: Final = "backup_created, backup_deleted, data_restored, storage_updated, api_request"


def find_webhook(session: Session, given: str) -> str:
    """The id of a webhook by its address or the beginning of its id. Raises UsageError."""
    listed = session.api.get("billing/webhooks")
    found = [row["id"] for row in listed if row["url"] == given or row["id"].startswith(given)]
    return only(found, f"webhook '{given}'", "`pbs-cloud webhook list` shows them")


def _result(row: Any) -> str | None:
    return None if row["last_attempt"] is None else str(row["last_status"] or "no answer")


_COLUMNS: Final = (
    Column("Id", lambda row: row["id"][:8]),
    Column("Address", "url"),
    Column("Events", lambda row: row["event_filter"] or "all"),
    Column("Delivered", "delivered", count, right=True),
    Column("Waiting", "pending", count, right=True),
    Column("Dropped", "dropped", count, right=True),
    Column("Last answer", _result),
)
LIST_VIEW: Final = Table(_COLUMNS, empty="no webhooks", sort=lambda row: row["url"])
SHOW_VIEW: Final = Record(
    (
        Column("Id", "id"),
        *_COLUMNS[1:],
        Column("Last attempt", "last_attempt", moment_text),
        Column("Last success", "last_success", moment_text),
        Column("Left alone until", "paused_until", moment_text),
        Column("Signed", "signed"),
        Column("Headers", "header_names"),
        Column("Repetitions", "max_retries"),
        Column("Created", "created_at", moment_text),
        Column("First waiting", lambda row: [_waiting(entry) for entry in row.get("waiting", [])]),
    )
)


def _waiting(entry: Any) -> str:
    return f"{entry['event_type']} ({entry['last_error'] or 'not tried'})"


ID: Final = argument("id", "address, or the beginning of the id", metavar="WEBHOOK", find=find_webhook)
_FIELDS: Final = (
    Param(
        "event_filter", f"only these events, may be repeated; default: all ({_EVENTS})", type=list[str],
        flags=("--event",), convert=lambda given: list(given) or None, metavar="EVENT",
    ),
    secret("secret", "Secret", "key of the signature"),
    pairs("headers", "header of each delivery, may be repeated", flags=("--header",)),
    integer("max_retries", "repetitions of a delivery that failed (3)", flags=("--max-retries",)),
)  # fmt: skip
TOP: Final[dict[str, Command]] = {}
GROUPS: Final = {
    "webhook": (
        Command("list", "Webhooks and how their deliveries fare.", "GET", "billing/webhooks", view=LIST_VIEW),
        Command("show", "One webhook.", "GET", "billing/webhooks/{id}", (ID,), SHOW_VIEW),
        Command(
            "create",
            "Send events to an address.",
            "POST",
            "billing/webhooks",
            (argument("url", "https, to a public address"), *_FIELDS),
            SHOW_VIEW,
        ),
        Command(
            "update",
            "Change a webhook; one that was left alone is tried again.",
            "PUT",
            "billing/webhooks/{id}",
            (ID, text("url", "new address", flags=("--address",)), *_FIELDS),
            SHOW_VIEW,
        ),
        Command(
            "delete",
            "Remove a webhook and what waits for it.",
            "DELETE",
            "billing/webhooks/{id}",
            (ID,),
            danger="this removes the webhook {id} and what waits for it",
            done="webhook {id} removed",
        ),
    )
}
