"""What crosses gRPC comes back as it was: contexts, errors and domain types."""

import grpc
import pytest
from google.protobuf.message import DecodeError

from pbs_cloud.contracts import errors
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.codec import from_message, to_message
from pbs_cloud.contracts.context import AclEntry, CallContext, Caller
from pbs_cloud.contracts.events import Event, EventType
from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2 as pb


@pytest.mark.parametrize("quota", [None, 0, 1 << 40])
def test_a_context_survives_the_metadata(quota: int | None) -> None:
    caller = Caller("t", "a@pbs!x", (AclEntry("/", "a@pbs", "Admin", False),), quota_bytes=quota, maintenance="")
    context = CallContext(caller, "r1", "192.0.2.1")
    assert CallContext.from_bytes(context.to_bytes()) == context


def test_bytes_that_are_no_context_are_refused() -> None:
    with pytest.raises(DecodeError):
        CallContext.from_bytes(b"\xff\xff\xff")


def test_absent_optional_fields_stay_absent() -> None:
    running = t.Snapshot("host", "h", 5, "a@pbs", False, (t.File("a.blob"),))
    assert from_message(to_message(running, pb.Snapshot), t.Snapshot) == running
    done = t.Snapshot("host", "h", 5, "a@pbs", True, (), comment="", verification=t.Verification("U", "ok"), size=0)
    assert from_message(to_message(done, pb.Snapshot), t.Snapshot) == done


def _all_errors(base: type[errors.PbsError]) -> list[type[errors.PbsError]]:
    return [found for sub in base.__subclasses__() for found in [sub, *_all_errors(sub)]]


@pytest.mark.parametrize("cls", _all_errors(errors.PbsError), ids=lambda c: c.__name__)
@pytest.mark.parametrize("field", [None, "backup-id"])
def test_every_error_keeps_its_class_text_and_field(cls: type[errors.PbsError], field: str | None) -> None:
    trailing = grpc.aio.Metadata(*errors.to_metadata(cls("nö such thing", field=field)))
    seen = errors.from_rpc_error(grpc.aio.AioRpcError(cls.status, grpc.aio.Metadata(), trailing))
    assert (type(seen), seen.message, seen.field) == (cls, "nö such thing", field)


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.Unavailable),
        (grpc.StatusCode.UNKNOWN, errors.Internal),
    ],
)
def test_a_status_without_our_metadata_tells_nothing_of_the_inside(
    status: grpc.StatusCode, cls: type[errors.PbsError]
) -> None:
    seen = errors.from_rpc_error(
        grpc.aio.AioRpcError(status, grpc.aio.Metadata(), grpc.aio.Metadata(), details="secret path")
    )
    assert type(seen) is cls
    assert "secret" not in seen.message


def test_events_survive_json() -> None:
    event = Event(EventType.BACKUP_CREATED, "t", 5, 7, {"store": "s"})
    assert Event.from_json(event.to_json()) == event
    assert event.subject("chunkstore") == "pbs.chunkstore.backup_created"
