"""Where this service stores sealed secrets."""

from typing import Final

from pbs_cloud.billing.webhooks.service import headers_owner, secret_owner
from pbs_cloud.runtime.resealing import SealedColumn

SEALED: Final = (
    SealedColumn(
        "webhook.secret",
        "SELECT tenant_id, id, secret AS sealed FROM webhook WHERE secret IS NOT NULL",
        "UPDATE webhook SET secret = $2 WHERE secret = $1 AND tenant_id = $3 AND id = $4",
        lambda row: secret_owner(row["tenant_id"], str(row["id"])),
    ),
    SealedColumn(
        "webhook.headers",
        "SELECT tenant_id, id, headers AS sealed FROM webhook WHERE headers IS NOT NULL",
        "UPDATE webhook SET headers = $2 WHERE headers = $1 AND tenant_id = $3 AND id = $4",
        lambda row: headers_owner(row["tenant_id"], str(row["id"])),
    ),
)
