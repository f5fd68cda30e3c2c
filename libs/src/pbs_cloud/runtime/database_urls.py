"""Postgres URLs: each service logs in as a role of its own, derived from the one URL an operator gives."""

import hashlib
import hmac
from urllib.parse import quote, unquote, urlsplit, urlunsplit

SERVICES_WITH_SCHEMA = ("auth", "chunkstore", "gc", "billing")


def check(url: str) -> None:
    """Refuse what is no Postgres URL with a database name.

    Raises:
        ValueError: says what is missing; never shows the URL, which may hold a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError("must be a postgresql:// URL")
    if len(parts.path) < 2:
        raise ValueError("must name a database: postgresql://user:password@host:5432/database")


def role_of(service: str) -> str:
    """The Postgres role of a service."""
    return f"pbs_{service}"


def derived_password(admin_url: str, service: str) -> str:
    """The role's password: 64 hex digits from the password of the given URL, so that no further secret is needed."""
    secret = unquote(urlsplit(admin_url).password or "")
    return hmac.new(secret.encode(), f"pbs-cloud role {role_of(service)}".encode(), hashlib.sha256).hexdigest()


def for_service(url: str, service: str) -> str:
    """`url` as it is if it logs in as the service's role already, else with the role and its derived password."""
    parts = urlsplit(url)
    if unquote(parts.username or "") == role_of(service):
        return url
    host = parts.netloc.rpartition("@")[2]
    login = f"{role_of(service)}:{quote(derived_password(url, service))}"
    # urlunsplit drops an empty authority; a socket URL (host in the query) still has the login.
    return urlunsplit((parts.scheme, f"{login}@{host}", parts.path, parts.query, ""))
