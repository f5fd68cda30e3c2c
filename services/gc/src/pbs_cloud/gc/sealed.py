"""Where this service stores sealed secrets."""

from typing import Final

from pbs_cloud.gc.configuration.service import secret_owner
from pbs_cloud.runtime.resealing import SealedColumn

SEALED: Final = (
    SealedColumn(
        "config_entry.secret",
        "SELECT tenant_id, section, id, secret AS sealed FROM config_entry WHERE secret IS NOT NULL",
        "UPDATE config_entry SET secret = $2 WHERE secret = $1 AND tenant_id = $3 AND section = $4 AND id = $5",
        lambda row: secret_owner(row["tenant_id"], row["section"], row["id"]),
    ),
)
