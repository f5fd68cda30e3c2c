"""Logins at an OpenID provider: a real one on loopback, and one that misbehaves (rest-api A.10, E.2)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from testkit.auth_service import AuthWorld, start_auth
from testkit.authority import Authority
from testkit.openid_provider import CLIENT_ID, CLIENT_KEY, OpenidProvider, SigningKey
from testkit.servers import temporary_folder

from pbs_cloud.auth.openid.fetch import Fetcher, ProviderError, is_public
from pbs_cloud.auth.openid.flow import OpenidLogins
from pbs_cloud.contracts.auth import TokenSettings, UserSettings
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from pbs_cloud.contracts.login import Login
from pbs_cloud.contracts.realms import OpenidRealm
from pbs_cloud.runtime.outgoing_tls import outgoing_tls
from pbs_cloud.runtime.settings import Settings

BACK = "https://pbs.example.com:8007"
Claims = dict[str, Any]


async def make_realm(world: AuthWorld, provider: OpenidProvider, name: str = "sso", **more: Any) -> OpenidRealm:
    """A realm of the default tenant."""
    key = more.pop("client_key", CLIENT_KEY)
    realm = OpenidRealm(name, provider.issuer, CLIENT_ID, **{"autocreate": True, **more})
    await world.client.realms.create_openid(await world.root_token(), realm, key)
    return realm


async def log_in(world: AuthWorld, provider: OpenidProvider, realm: str = "sso") -> Login:
    code, state = await provider.log_in(await world.client.realms.start_login(realm, BACK))
    return await world.client.realms.finish_login(state, code, BACK)


async def refused(world: AuthWorld, state: str, code: str, back: str = BACK) -> None:
    with pytest.raises(Unauthenticated, match=r"^permission check failed\.$"):
        await world.client.realms.finish_login(state, code, back)


async def test_a_login_makes_the_user_without_rights_and_gives_a_ticket(world: AuthWorld) -> None:
    async with OpenidProvider() as provider:
        await make_realm(world, provider, scopes="email", prompt="login", acr_values="high")
        url = await world.client.realms.start_login("sso", BACK)
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert (asked["scope"], asked["prompt"], asked["acr_values"]) == ("openid email", "login", "high")
        assert (asked["redirect_uri"], asked["code_challenge_method"]) == (BACK, "S256")
        provider.user = {"sub": "0815", "given_name": "Ada", "family_name": "L", "email": "ada@example.com"}
        login = await log_in(world, provider)
        assert login.username == "0815@sso"
        caller = await world.ticket(login)
        assert (caller.auth_id, caller.tenant_id, caller.acl) == ("0815@sso", "default", ())
        user, _ = await world.client.get_user(await world.root_token(), "0815@sso")
        assert (user.firstname, user.lastname, user.email, user.enable) == ("Ada", None, "ada@example.com", True)
        again = await log_in(world, provider)
        assert (await world.ticket(again)).auth_id == "0815@sso"
        renewed = await world.client.login("0815@sso", again.ticket)
        assert (await world.ticket(renewed)).auth_id == "0815@sso"


async def test_keys_and_ways_to_show_the_client_key(world: AuthWorld) -> None:
    methods = {"form": {"token_endpoint_auth_methods_supported": ["client_secret_post"]}}
    for algorithm, secret in (("RS256", "basic"), ("ES256", "form"), ("ES256", "none")):
        key = None if secret == "none" else CLIENT_KEY
        keys = [SigningKey.make("one", algorithm)]
        async with OpenidProvider(keys=keys, client_key=key, described=methods.get(secret, {})) as provider:
            await make_realm(world, provider, secret, client_key=key)
            assert (await log_in(world, provider, secret)).username == f"0815@{secret}"


NAMES: list[tuple[str | None, Claims, Claims, str | None]] = [
    (None, {"sub": "s1"}, {}, "s1"),
    ("subject", {"sub": "s1"}, {}, "s1"),
    ("username", {"sub": "s1", "preferred_username": "ada"}, {}, "ada"),
    ("email", {"sub": "s1", "email": "a@b.org", "email_verified": True}, {}, "a@b.org"),
    ("upn", {"sub": "s1", "upn": "corp.ada"}, {}, "corp.ada"),
    ("username", {"sub": "s1"}, {"sub": "s1", "preferred_username": "ada"}, "ada"),
    ("username", {"sub": "s1"}, {"sub": "other", "preferred_username": "ada"}, None),
    ("email", {"sub": "s1", "email": "a@b.org", "email_verified": False}, {}, None),
    ("username", {"sub": "s1", "preferred_username": "a b"}, {"sub": "s1"}, None),
    ("username", {"sub": "s1", "preferred_username": "a!b"}, {"sub": "s1"}, None),
    ("username", {"sub": "s1", "preferred_username": ["ada"]}, {"sub": "s1"}, None),
    ("username", {"sub": "s1", "preferred_username": "x" * 80}, {"sub": "s1"}, None),
]


async def test_the_claim_that_names_the_user(world: AuthWorld) -> None:
    async with OpenidProvider() as provider:
        for number, (claim, user, info, name) in enumerate(NAMES):
            provider.user, provider.userinfo = user, info
            await make_realm(world, provider, f"r{number}", username_claim=claim)
            if name is None:
                with pytest.raises(Unauthenticated):
                    await log_in(world, provider, f"r{number}")
            else:
                assert (await log_in(world, provider, f"r{number}")).username == f"{name}@r{number}"


def unsigned(claims: Claims) -> str:
    return jwt.encode(claims, None, algorithm="none")  # type: ignore[arg-type]


def signed_with_the_public_key(provider: OpenidProvider, claims: Claims) -> str:
    """The old trick: the public key as the secret of an HMAC."""
    pem = provider.keys[0].private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    parts = [{"alg": "HS256", "typ": "JWT", "kid": "one"}, claims]
    text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    mac = base64.urlsafe_b64encode(hmac.digest(pem, text, hashlib.sha256)).rstrip(b"=")
    return (text + b"." + mac).decode()


def tampered(provider: OpenidProvider, claims: Claims) -> str:
    head, _, signature = provider.keys[0].sign(claims).split(".")
    body = base64.urlsafe_b64encode(json.dumps({**claims, "sub": "root"}).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


Spoil = Callable[[Claims], Claims]
BAD_CLAIMS: dict[str, Spoil] = {
    "wrong nonce": lambda c: {**c, "nonce": "other"},
    "no nonce": lambda c: {k: v for k, v in c.items() if k != "nonce"},
    "wrong audience": lambda c: {**c, "aud": "somebody"},
    "several audiences, no azp": lambda c: {**c, "aud": [CLIENT_ID, "somebody"]},
    "several audiences, other azp": lambda c: {**c, "aud": [CLIENT_ID, "somebody"], "azp": "somebody"},
    "one audience, other azp": lambda c: {**c, "azp": "somebody"},
    "wrong issuer": lambda c: {**c, "iss": "https://evil.example.com"},
    "expired": lambda c: {**c, "iat": c["iat"] - 900, "exp": c["iat"] - 600},
    "no expiry": lambda c: {k: v for k, v in c.items() if k != "exp"},
    "expiry is text": lambda c: {**c, "exp": "never"},
    "expiry is true": lambda c: {**c, "exp": True},
    "from the future": lambda c: {**c, "iat": c["iat"] + 900, "exp": c["iat"] + 1200},
    "no subject": lambda c: {k: v for k, v in c.items() if k != "sub"},
    "subject is a number": lambda c: {**c, "sub": 815},
}
BAD_TOKENS: dict[str, Callable[[OpenidProvider, Claims], str]] = {
    "alg none": lambda _, claims: unsigned(claims),
    "HMAC with the public key": signed_with_the_public_key,
    "another key, same id": lambda _, claims: SigningKey.make("one").sign(claims),
    "another key, other id": lambda _, claims: SigningKey.make("two").sign(claims),
    "changed after signing": tampered,
    "RS512": lambda p, claims: jwt.encode(claims, p.keys[0].private, algorithm="RS512", headers={"kid": "one"}),
    "no token": lambda _, claims: "not.a.token",
    "empty": lambda _, claims: "",
}


async def test_an_id_token_that_is_wrong_in_any_way_is_refused(world: AuthWorld) -> None:
    async with OpenidProvider() as provider:
        await make_realm(world, provider)
        assert (await log_in(world, provider)).username == "0815@sso"
        for name, spoil in BAD_CLAIMS.items():
            provider.spoil = spoil
            with pytest.raises(Unauthenticated):
                await log_in(world, provider)
                pytest.fail(name)
        provider.spoil = lambda claims: claims
        for name, sign in BAD_TOKENS.items():
            provider.sign = lambda claims, sign=sign: sign(provider, claims)  # type: ignore[misc]
            with pytest.raises(Unauthenticated):
                await log_in(world, provider)
                pytest.fail(name)
        provider.sign = None
        assert (await log_in(world, provider)).username == "0815@sso"


async def test_a_state_works_once_for_its_redirect_url_and_not_for_ever(world: AuthWorld) -> None:
    async with OpenidProvider() as provider:
        await make_realm(world, provider)
        code, state = await provider.log_in(await world.client.realms.start_login("sso", BACK))
        await world.client.realms.finish_login(state, code, BACK)
        await refused(world, state, code)
        code, state = await provider.log_in(await world.client.realms.start_login("sso", BACK))
        await refused(world, state, code, "https://evil.example.com")
        await refused(world, state, code)
        code, state = await provider.log_in(await world.client.realms.start_login("sso", BACK))
        await refused(world, secrets.token_urlsafe(32), code)
        await refused(world, state, "a code that was never given")
        code, state = await provider.log_in(await world.client.realms.start_login("sso", BACK))
        world.clock.shift += 601
        await refused(world, state, code)


async def test_a_code_of_another_login_is_refused(world: AuthWorld) -> None:
    """PKCE and nonce bind a code to the login that began it."""
    async with OpenidProvider() as provider:
        await make_realm(world, provider)
        stolen, _ = await provider.log_in(await world.client.realms.start_login("sso", BACK))
        _, own_state = await provider.log_in(await world.client.realms.start_login("sso", BACK))
        await refused(world, own_state, stolen)


async def test_users_that_may_not_log_in(world: AuthWorld) -> None:
    root = await world.root_token()
    async with OpenidProvider() as provider:
        await make_realm(world, provider, autocreate=False)
        with pytest.raises(Unauthenticated):
            await log_in(world, provider)
        await world.client.create_user(root, "0815@sso", UserSettings())
        assert (await log_in(world, provider)).username == "0815@sso"
        for settings in (UserSettings(enable=False), UserSettings(enable=True, expire=5)):
            await world.client.update_user(root, "0815@sso", settings)
            with pytest.raises(Unauthenticated):
                await log_in(world, provider)


async def test_users_of_a_realm_have_no_password(world: AuthWorld) -> None:
    root = await world.root_token()
    async with OpenidProvider() as provider:
        await make_realm(world, provider)
        with pytest.raises(Unsupported):
            await world.client.create_user(root, "x@sso", UserSettings(password="first-secret"))
        await world.client.create_user(root, "x@sso", UserSettings())
        with pytest.raises(Unsupported):
            await world.client.update_user(root, "x@sso", UserSettings(password="first-secret"))
        with pytest.raises(Unsupported):
            await world.client.change_password(await world.root(), "x@sso", "first-secret", None)


async def test_new_keys_of_a_provider_are_fetched(world: AuthWorld) -> None:
    async with OpenidProvider() as provider:
        await make_realm(world, provider)
        await log_in(world, provider)
        provider.keys.append(SigningKey.make("two"))
        world.clock.shift += 60
        provider.now = world.clock.time
        assert (await log_in(world, provider)).username == "0815@sso"
        asked = provider.requests.count("GET /realm/keys")
        await log_in(world, provider)
        assert provider.requests.count("GET /realm/keys") == asked == 2
        assert provider.requests.count("GET /realm/.well-known/openid-configuration") == 1


BAD_DESCRIPTIONS: list[Claims] = [
    {"issuer": "http://127.0.0.1:1/other"},
    {"issuer": None},
    {"token_endpoint": None},
    {"token_endpoint": "file:///etc/passwd"},
    {"jwks_uri": "http://user:secret@127.0.0.1/keys"},
    {"authorization_endpoint": 5},
    {"filler": "x" * 600_000},
]


async def test_a_provider_that_cannot_be_used_is_told_without_details(world: AuthWorld) -> None:
    async with OpenidProvider() as provider:
        await make_realm(world, provider)
        for described in BAD_DESCRIPTIONS:
            provider.described = described
            with pytest.raises(Unavailable, match=r"^the OpenID provider of realm 'sso' cannot be used$"):
                await world.client.realms.start_login("sso", BACK)
        provider.described = {}
        assert await world.client.realms.start_login("sso", BACK)


async def test_redirect_urls_are_https_or_local(world: AuthWorld) -> None:
    async with OpenidProvider() as provider:
        await make_realm(world, provider)
        for good in (BACK, f"{BACK}/ui?x=1", "http://localhost:5173/back", "http://127.0.0.1:1/"):
            assert await world.client.realms.start_login("sso", good)
        for bad in (
            "http://pbs.example.com",
            "https://",
            "pbs.example.com",
            "javascript:alert(1)",
            "https://u:p@pbs.example.com",
            f"{BACK}#x",
            f"{BACK}/a\nb",
            "https://[::1",
            "",
        ):
            with pytest.raises(InvalidArgument) as wrong:
                await world.client.realms.start_login("sso", bad)
            assert wrong.value.field == "redirect-url"
        with pytest.raises(NotFound):
            await world.client.realms.start_login("nosuch", BACK)


async def test_configuration_shows_no_client_key_and_stores_none_readable(world: AuthWorld) -> None:
    root = await world.root_token()
    async with OpenidProvider() as provider:
        made = await make_realm(world, provider, comment="Our own")
        (listed,), digest = await world.client.realms.list_openid(root)
        assert listed == made and CLIENT_KEY not in str(listed)
        async with world.process.database.system() as connection:
            await world.client.realms.start_login("sso", BACK)
            rows = [*await connection.fetch("SELECT * FROM openid_realm"), *await connection.fetch("TABLE audit_log")]
            logins = await connection.fetch("SELECT * FROM openid_login")
        assert CLIENT_KEY not in str([tuple(row) for row in rows]) and len(logins) == 1
        await world.client.realms.update_openid(root, "sso", {"scopes": "email"}, ["comment"], digest)
        changed, _ = await world.client.realms.get_openid(root, "sso")
        assert (changed.scopes, changed.comment, changed.autocreate) == ("email", None, True)
        assert (await log_in(world, provider)).username == "0815@sso", "the key stays"
        with pytest.raises(Conflict):
            await world.client.realms.delete_openid(root, "sso", digest)
        await world.client.realms.update_openid(root, "sso", {}, ["client-key", "autocreate"])
        with pytest.raises(Unauthenticated):
            await log_in(world, provider)
        await world.client.realms.delete_openid(root, "sso")
        with pytest.raises(NotFound):
            await world.client.realms.get_openid(root, "sso")


async def ended(world: AuthWorld, login: Login) -> None:
    """A ticket neither works nor renews."""
    with pytest.raises(Unauthenticated):
        await world.ticket(login)
    with pytest.raises(Unauthenticated):
        await world.client.login(login.username, login.ticket)


async def test_tickets_end_with_their_realm_and_renew_with_nothing_else_than_their_user(world: AuthWorld) -> None:
    """The user stays, with its tokens; a realm of the same name later on gives old tickets no life."""
    root = await world.root_token()
    async with OpenidProvider() as provider:
        await make_realm(world, provider)
        first, bob = await log_in(world, provider), await world.make_user("bob@pbs")
        renewed = await world.client.login("0815@sso", first.ticket)
        await world.client.update_user(root, "0815@sso", UserSettings(enable=False))
        await ended(world, renewed)
        await world.client.update_user(root, "0815@sso", UserSettings(enable=True))
        await ended(world, renewed)
        login = await log_in(world, provider)
        _, secret = await world.client.create_token(root, "0815@sso", "ci", TokenSettings())
        await world.client.realms.delete_openid(root, "sso")
        await ended(world, login)
        user, _ = await world.client.get_user(root, "0815@sso")
        assert user.enable
        assert (await world.token("0815@sso!ci", secret)).caller.auth_id == "0815@sso!ci"
        await make_realm(world, provider)
        await ended(world, login)
        again = await log_in(world, provider)
        assert (await world.ticket(again)).auth_id == "0815@sso"
    assert bob.caller.auth_id == "bob@pbs"


async def test_another_provider_ends_the_tickets_of_a_realm(world: AuthWorld) -> None:
    """Its users may be others; what does not say who is who ends nothing."""
    root = await world.root_token()
    async with OpenidProvider() as provider, OpenidProvider() as other:
        await make_realm(world, provider)
        await make_realm(world, provider, "neighbour")
        near, far = await log_in(world, provider), await log_in(world, provider, "neighbour")
        for harmless in ({"comment": "x"}, {"scopes": "email"}, {"client_key": CLIENT_KEY}):
            await world.client.realms.update_openid(root, "sso", harmless)
        await world.client.realms.update_openid(root, "sso", {"issuer_url": provider.issuer})
        near = await world.client.login("0815@sso", near.ticket)
        for change in ({"issuer_url": other.issuer}, {"client_id": "another"}):
            await world.client.realms.update_openid(root, "sso", change)
            await ended(world, near)
            await world.client.realms.update_openid(root, "sso", {"client_id": CLIENT_ID})
            near = await log_in(world, other)
        assert (await world.client.login("0815@neighbour", far.ticket)).username == "0815@neighbour"


@pytest.mark.parametrize("what", ["removed", "changed"])
async def test_a_realm_that_goes_while_somebody_is_at_the_provider(
    world: AuthWorld, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    root, claims = await world.root_token(), OpenidLogins._claims

    async def slow(*args: Any) -> Any:
        found = await claims(*args)
        if what == "removed":
            await world.client.realms.delete_openid(root, "sso")
        else:
            await world.client.realms.update_openid(root, "sso", {"issuer_url": "http://127.0.0.1:1/"})
        return found

    monkeypatch.setattr(OpenidLogins, "_claims", slow)
    async with OpenidProvider() as provider:
        await make_realm(world, provider)
        code, state = await provider.log_in(await world.client.realms.start_login("sso", BACK))
        await refused(world, state, code)


async def test_realms_belong_to_tenants_and_their_names_never_collide(world: AuthWorld) -> None:
    root = await world.root_token()
    _, acme = await world.make_tenant("acme")
    _, other = await world.make_tenant("other")
    async with OpenidProvider() as provider:

        async def create(ctx: CallContext, name: str) -> None:
            realm = OpenidRealm(name, provider.issuer, CLIENT_ID, autocreate=True)
            await world.client.realms.create_openid(ctx, realm, CLIENT_KEY)

        await make_realm(world, provider)
        await create(acme, "acme.sso")
        for ctx, name in ((other, "acme.x"), (other, "google"), (acme, "acme"), (acme, "other.sso")):
            with pytest.raises(InvalidArgument, match=r"^realm: must begin with"):
                await create(ctx, name)
        for name in ("pam", "PBS", "acme", "Other", "sso", "ACME.sso"):
            with pytest.raises(AlreadyExists, match=f"^realm '{name}' cannot be used$"):
                await create(root, name)
        login = await log_in(world, provider, "acme.sso")
        assert (await world.ticket(login)).tenant_id == acme.tenant_id
        for ctx in (root, other):
            with pytest.raises(NotFound, match=r"^no such realm 'acme\.sso'$"):
                await world.client.realms.get_openid(ctx, "acme.sso")
            with pytest.raises(InvalidArgument, match=r"^unknown realm"):
                await world.client.create_user(ctx, "eve@acme.sso", UserSettings())
        public = await world.client.realms.list_public()
        assert [realm.realm for realm in public] == ["pam", "pbs", "sso"]
        with pytest.raises(AlreadyExists):
            await world.client.create_tenant(root, "Squatter", slug="sso")
        user = await world.make_user("plain@pbs")
        for call in (
            world.client.realms.list_openid(user),
            world.client.realms.get_openid(user, "sso"),
            world.client.realms.delete_openid(user, "sso"),
            world.client.realms.delete_openid(user, "nosuch"),
        ):
            with pytest.raises(PermissionDenied):
                await call
        await world.grant("plain@pbs", "/access/domains", "Audit")
        auditor = await world.user("plain@pbs")
        assert [realm.realm for realm in (await world.client.realms.list_openid(auditor))[0]] == ["sso"]
        with pytest.raises(PermissionDenied):
            await world.client.realms.delete_openid(auditor, "sso")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True), ("2606:4700::1111", True), ("127.0.0.1", False), ("10.1.2.3", False), ("::1", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False), ("fd00::1", False), ("fe80::1", False),
        ("::ffff:127.0.0.1", False), ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False), ("224.0.0.1", False),
    ],
)  # fmt: skip
def test_addresses_of_the_open_internet(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_internal_addresses_and_plain_http_are_not_asked_unless_the_operator_allows_it() -> None:
    async with OpenidProvider() as provider:
        trust = ssl.create_default_context()
        allowed, limited = Fetcher(True, trust), Fetcher(False, trust)
        url = f"{provider.issuer}/keys"
        assert (await allowed.get(url)).keys() == {"keys"}
        for refused_url in (url, url.replace("http:", "https:"), url.replace("http://127.0.0.1", "https://localhost")):
            with pytest.raises(ProviderError):
                await limited.get(refused_url)
        assert provider.requests == ["GET /realm/keys"]
        await allowed.stop()
        await limited.stop()


async def test_a_provider_behind_an_own_authority(tmp_path: Path) -> None:
    """https as far as certificate and name are good, by an authority that the operator names."""
    own, other = Authority(tmp_path), Authority(tmp_path, "other")
    served: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    good = Fetcher(True, outgoing_tls(Settings(trusted_ca_file=own.file)))
    cases = ((own, "localhost", True), (other, "localhost", False), (own, "sso.example.com", False))
    for authority, name, accepted in cases:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authority.server(name))
        async with server:
            url = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
            if accepted:
                assert await good.get(url) == {}
                continue
            with pytest.raises(ProviderError, match="CERTIFICATE_VERIFY_FAILED"):
                await good.get(url)
    assert len(served) == 1
    await good.stop()


async def test_any_replica_finishes_a_login(service_database: Callable[[str], Awaitable[str]]) -> None:
    url = await service_database("auth")
    one, two = [await start_auth(url, temporary_folder("auth")) for _ in range(2)]
    try:
        async with OpenidProvider() as provider:
            world = await AuthWorld.create(one)
            await make_realm(world, provider)
            code, state = await provider.log_in(await one.client.realms.start_login("sso", BACK))
            login = await two.client.realms.finish_login(state, code, BACK)
            assert (await world.ticket(login)).auth_id == "0815@sso"
            await refused(world, state, code)
    finally:
        await two.stop()
        await one.stop()
