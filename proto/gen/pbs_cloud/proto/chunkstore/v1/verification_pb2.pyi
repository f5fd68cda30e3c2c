from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CheckChunksRequest(_message.Message):
    __slots__ = ("session_id", "digests", "sizes", "encrypted", "workers")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTED_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    digests: bytes
    sizes: _containers.RepeatedScalarFieldContainer[int]
    encrypted: bool
    workers: int
    def __init__(self, session_id: _Optional[str] = ..., digests: _Optional[bytes] = ..., sizes: _Optional[_Iterable[int]] = ..., encrypted: _Optional[bool] = ..., workers: _Optional[int] = ...) -> None: ...

class BadChunk(_message.Message):
    __slots__ = ("digest", "reason", "corrupt")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CORRUPT_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    reason: str
    corrupt: bool
    def __init__(self, digest: _Optional[bytes] = ..., reason: _Optional[str] = ..., corrupt: _Optional[bool] = ...) -> None: ...

class CheckChunksResponse(_message.Message):
    __slots__ = ("bad", "bytes")
    BAD_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    bad: _containers.RepeatedCompositeFieldContainer[BadChunk]
    bytes: int
    def __init__(self, bad: _Optional[_Iterable[_Union[BadChunk, _Mapping]]] = ..., bytes: _Optional[int] = ...) -> None: ...
