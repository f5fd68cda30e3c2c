"""Where this service stores sealed secrets."""

from typing import Final

from pbs_cloud.auth.keys import csrf_owner, seed_owner
from pbs_cloud.auth.openid.flow import key_owner, verifier_owner
from pbs_cloud.auth.second_factor import secret_owner
from pbs_cloud.runtime.resealing import SealedColumn

SEALED: Final = (
    SealedColumn(
        "signing_key.ticket_seed",
        "SELECT active_from, ticket_seed AS sealed FROM signing_key",
        "UPDATE signing_key SET ticket_seed = $2 WHERE ticket_seed = $1 AND active_from = $3",
        lambda row: seed_owner(row["active_from"]),
    ),
    SealedColumn(
        "signing_key.csrf_secret",
        "SELECT active_from, csrf_secret AS sealed FROM signing_key",
        "UPDATE signing_key SET csrf_secret = $2 WHERE csrf_secret = $1 AND active_from = $3",
        lambda row: csrf_owner(row["active_from"]),
    ),
    SealedColumn(
        "totp_entry.secret",
        "SELECT id, secret AS sealed FROM totp_entry",
        "UPDATE totp_entry SET secret = $2 WHERE secret = $1 AND id = $3",
        lambda row: secret_owner(row["id"]),
    ),
    SealedColumn(
        "openid_realm.client_key",
        "SELECT realm, client_key AS sealed FROM openid_realm WHERE client_key IS NOT NULL",
        "UPDATE openid_realm SET client_key = $2 WHERE client_key = $1 AND realm = $3",
        lambda row: key_owner(row["realm"]),
    ),
    SealedColumn(
        "openid_login.code_verifier",
        "SELECT state, code_verifier AS sealed FROM openid_login",
        "UPDATE openid_login SET code_verifier = $2 WHERE code_verifier = $1 AND state = $3",
        lambda row: verifier_owner(bytes(row["state"])),
    ),
)
