"""Remotes: other servers that sync jobs name (rest-api C.12). Their passwords are never shown."""

from __future__ import annotations

from pbs_cloud.contracts.configuration import Section
from pbs_cloud.contracts.rights import Privilege as P
from pbs_cloud.gateway.rest.access import Access, Anyone, Needs
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.kept_config import KeptConfig
from pbs_cloud.gateway.schema import Integer, String, common, optional, required

AREA = Area("Remotes")
_HOST = String(pattern=r"\[?[A-Za-z0-9_.:%-]+\]?", maximum=255)
_FINGERPRINT = String(pattern=r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){31}", after=str.lower)
_REMOTES = KeptConfig(
    Section.REMOTE,
    "name",
    {
        "host": required(_HOST, "name or address"),
        "auth-id": required(common.AUTH_ID),
    },
    {
        "port": optional(Integer(1, 65535), "default 8007"),
        "fingerprint": optional(_FINGERPRINT, "of its certificate"),
        "comment": optional(common.COMMENT),
        "use-node-proxy": optional(common.BOOLEAN, "kept, has no effect"),
    },
    "remote '{}' does not exist.",
    "remote",
    hidden="password",
)


def _change(one: bool) -> Access:
    return Needs("/remote/{name}" if one else "/remote", (P.REMOTE_MODIFY,))


_REMOTES.register(
    AREA,
    "config/remote",
    see=Needs("/remote/{name}", (P.REMOTE_AUDIT,)),
    seen=Anyone("remotes with `Remote.Audit`"),
    change=_change,
)
