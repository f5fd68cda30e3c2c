"""A PBS client as a library: behaves on the wire like the stock client, for tests and benchmarks."""

from testkit.client.backup import Backup, try_backup
from testkit.client.codec import Codec, EncryptingCodec, PlainCodec, SigningCodec
from testkit.client.connection import Connection, Lost, Refused
from testkit.client.endpoint import Credential, Endpoint, Ticket, Token
from testkit.client.http2 import Answer, StreamReset
from testkit.client.rest import Rest
from testkit.client.restore import Restore
from testkit.client.session import BackupSession, ReaderSession
from testkit.client.snapshot import T1, T2, T3, Snapshot
from testkit.client.upload import ArchiveResult, KnownChunk

__all__ = [
    "T1",
    "T2",
    "T3",
    "Answer",
    "ArchiveResult",
    "Backup",
    "BackupSession",
    "Codec",
    "Connection",
    "Credential",
    "EncryptingCodec",
    "Endpoint",
    "KnownChunk",
    "Lost",
    "PlainCodec",
    "ReaderSession",
    "Refused",
    "Rest",
    "Restore",
    "SigningCodec",
    "Snapshot",
    "StreamReset",
    "Ticket",
    "Token",
    "try_backup",
]
