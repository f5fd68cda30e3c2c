from pbs_cloud.proto.common.v1 import common_pb2 as _common_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class GcServiceStatus(_message.Message):
    __slots__ = ("last_sweep", "sweeps", "expired_sessions")
    LAST_SWEEP_FIELD_NUMBER: _ClassVar[int]
    SWEEPS_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    last_sweep: int
    sweeps: int
    expired_sessions: int
    def __init__(self, last_sweep: _Optional[int] = ..., sweeps: _Optional[int] = ..., expired_sessions: _Optional[int] = ...) -> None: ...
