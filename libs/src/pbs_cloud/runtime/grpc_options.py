"""What both ends of a gRPC connection agree on."""

import json
from pathlib import Path
from typing import Any

import grpc

from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.runtime.settings import Settings

MAX_MESSAGE_BYTES = 17 * 1024 * 1024 + 64 * 1024
INTERNAL_NAME = "pbs-cloud.internal"
"""Name that every service certificate carries (mTLS), whatever the host is called."""

_MAX_METADATA_BYTES = 1024 * 1024
_COMMON: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", _MAX_METADATA_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]
# Calls that may be repeated although the first attempt may have had its effect: reads, and writes idempotent by key.
_REPEATABLE = {
    "auth.v1.Auth": (
        "Authenticate ListPermissions ListAcl CheckAuthId ListUsers GetUser ListTokens GetToken ListTenants GetTenant"
        " ListTenantUsers"
    ),
    "auth.v1.SecondFactor": "ListUserFactors GetUserFactors",
    "auth.v1.Realms": "ListRealms ListOpenidRealms GetOpenidRealm",
    "chunkstore.v1.Chunks": "PutChunk GetChunk PutSharedChunk GetSharedChunk Flush",
    "chunkstore.v1.Catalogue": (
        "RenewLeases ExpireProcess ExpireDeadSessions Finish CloseSession EnsureDatastore ListDatastores"
        " GetDatastoreStatus GetTenantUsage ListNamespaces ListGroups GetGroupNotes SetGroupNotes ListSnapshots"
        " ListFiles GetNotes SetNotes GetProtected SetProtected ListTasks GetTask ReadTaskLog StopTask"
    ),
    "gc.v1.Gc": "GetStatus",
    "gc.v1.Configuration": "ListEntries GetEntry",
    "billing.v1.Billing": "GetUsage GetHistory ListWebhooks GetWebhook",
}
_RETRY = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def server_options() -> list[tuple[str, Any]]:
    """Options of a server; several processes never share a port by accident."""
    pings = [("grpc.http2.min_ping_interval_without_data_ms", 5_000), ("grpc.http2.max_ping_strikes", 0)]
    return [*_COMMON, ("grpc.so_reuseport", 0), *pings]


def repeatable_methods() -> list[dict[str, str]]:
    """Names of the calls that a channel may repeat, as gRPC's service configuration writes them."""
    return [
        {"service": f"pbs_cloud.proto.{service}", "method": method}
        for service, methods in _REPEATABLE.items()
        for method in methods.split()
    ]


def channel_options(*, mtls: bool, retry: bool) -> list[tuple[str, Any]]:
    """Options of a channel: calls wait for the service, cut off ones are repeated if allowed, replicas take turns."""
    methods: list[dict[str, Any]] = [{"name": [{}], "waitForReady": True}]
    if retry:
        methods.append({"name": repeatable_methods(), "waitForReady": True, "retryPolicy": _RETRY})
    config = {"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": methods}
    options = [
        *_COMMON,
        ("grpc.service_config", json.dumps(config)),
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.dns_min_time_between_resolutions_ms", 2_000),
    ]
    return [*options, ("grpc.ssl_target_name_override", INTERNAL_NAME)] if mtls else options


def _files(settings: Settings) -> tuple[bytes, bytes, bytes]:
    paths = (settings.mtls_key, settings.mtls_cert, settings.mtls_ca)
    if any(path is None for path in paths):
        raise ConfigError(
            "PBS_MTLS_CERT, PBS_MTLS_KEY, PBS_MTLS_CA: must be set when a service address is no unix socket"
        )
    key, chain, ca = (Path(str(path)).read_bytes() for path in paths)
    return key, chain, ca


def server_credentials(settings: Settings) -> grpc.ServerCredentials:
    """Both sides show a certificate of the installation's own authority.

    Raises:
        ConfigError: the files are not set.
    """
    key, chain, ca = _files(settings)
    return grpc.ssl_server_credentials([(key, chain)], root_certificates=ca, require_client_auth=True)


def channel_credentials(settings: Settings) -> grpc.ChannelCredentials:
    """As `server_credentials`, for the calling side."""
    key, chain, ca = _files(settings)
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=chain)
