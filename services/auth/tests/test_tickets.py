"""The text form of tickets and CSRF tokens (wire-protocol 3.3), without a server."""

from __future__ import annotations

import base64
import re
import uuid

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from pbs_cloud.auth.tickets import (
    TicketKey,
    encode_data,
    is_valid_csrf,
    key_for,
    make_csrf,
    make_ticket,
    read_ticket,
)

KEY = TicketKey(0, bytes(range(32)), b"c" * 32)
OTHER = TicketKey(1000, b"o" * 32, b"d" * 32)
USER = uuid.UUID(int=1)
TOKEN = uuid.UUID(int=2)
NOW = 0x6955B900


def test_the_text_form_is_that_of_the_specification() -> None:
    ticket = make_ticket(KEY, "root@pam", USER, NOW)
    assert re.fullmatch(r"PBS:root@pam:6955B900::[A-Za-z0-9+/]+", ticket)
    assert make_ticket(KEY, "gäste@pbs", USER, NOW).startswith("PBS:g%C3%A4ste@pbs:6955B900::")
    assert re.search(r"([A-Z0-9]{8})::", ticket)[1] == "6955B900"  # type: ignore[index]


def test_the_signature_is_ed25519_over_the_visible_part_and_the_ids() -> None:
    ticket = make_ticket(KEY, "root@pam", USER, NOW)
    sealed = base64.b64decode(ticket.rpartition("::")[2] + "==")
    public = Ed25519PrivateKey.from_private_bytes(KEY.ticket_seed).public_key()
    public.verify(sealed[:64], b"PBS:root@pam:6955B900:" + USER.bytes)


def test_tickets_and_csrf_tokens_depend_on_user_and_second_only() -> None:
    assert make_ticket(KEY, "a@pbs", USER, NOW) == make_ticket(KEY, "a@pbs", USER, NOW)
    assert make_csrf(KEY, "a@pbs", NOW) == make_csrf(KEY, "a@pbs", NOW)
    different = {make_ticket(KEY, "a@pbs", USER, NOW + n) for n in range(3)}
    assert len(different) == 3


def test_the_csrf_token_is_a_sha3_mac() -> None:
    # openssl dgst -sha3-256 -mac HMAC over "6955B900:root@pam:" with this key
    assert make_csrf(KEY, "root@pam", NOW) == "6955B900:HrjUyjCCFG/4FywbK/UhBrf48amqcFOOLIx+VqHojo8"


@pytest.mark.parametrize("login_id", [None, TOKEN])
def test_what_was_made_is_read_back(login_id: uuid.UUID | None) -> None:
    subject = read_ticket([OTHER, KEY], make_ticket(KEY, "a%b@pbs", USER, NOW, login_id), NOW)
    assert subject is not None
    assert (subject.userid, subject.ticket_id, subject.login_id) == ("a%b@pbs", USER, login_id)


@pytest.mark.parametrize(("age", "valid"), [(0, True), (7200, True), (7201, False), (-300, True), (-301, False)])
def test_the_accepted_age(age: int, valid: bool) -> None:
    ticket, csrf = make_ticket(KEY, "a@pbs", USER, NOW), make_csrf(KEY, "a@pbs", NOW)
    assert (read_ticket([KEY], ticket, NOW + age) is not None) is valid
    assert is_valid_csrf([KEY], csrf, "a@pbs", NOW + age) is valid


def test_any_changed_character_is_refused() -> None:
    for text in (make_ticket(KEY, "a@pbs", USER, NOW), make_ticket(KEY, "a@pbs", USER, NOW, TOKEN)):
        for place in range(len(text)):
            for letter in "AB":
                changed = text[:place] + letter + text[place + 1 :]
                assert changed == text or read_ticket([KEY], changed, NOW) is None, changed


def test_a_token_ticket_cannot_be_turned_into_a_user_ticket() -> None:
    ticket = make_ticket(KEY, "a@pbs", USER, NOW, TOKEN)
    head, _, tail = ticket.partition("::")
    sealed = base64.b64decode(tail + "=" * (-len(tail) % 4))
    for cut in (64, 80, 95, 97):
        shorter = base64.b64encode((sealed + b"x")[:cut]).decode().rstrip("=")
        assert read_ticket([KEY], f"{head}::{shorter}", NOW) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PBS:",
        "PBS:foo",
        "PBS:a@pbs:6955B900::",
        "PBS:a@pbs:6955B900::=",
        "PVE:a@pbs:6955B900::AAAA",
        "PBS:a:b:c::d",
    ],
)
def test_other_texts_are_no_tickets(text: str) -> None:
    assert read_ticket([KEY], text, NOW) is None


def test_a_key_that_is_not_known_any_more_is_not_accepted() -> None:
    assert read_ticket([OTHER], make_ticket(KEY, "a@pbs", USER, NOW), NOW) is None
    assert not is_valid_csrf([OTHER], make_csrf(KEY, "a@pbs", NOW), "a@pbs", NOW)


def test_a_key_signs_from_its_time_on() -> None:
    assert key_for([KEY, OTHER], 999) is KEY
    assert key_for([OTHER, KEY], 1000) is OTHER
    with pytest.raises(LookupError):
        key_for([OTHER], 999)


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_users_have_different_data_parts(one: str, two: str) -> None:
    try:
        first, second = encode_data(one), encode_data(two)
    except UnicodeEncodeError:
        return
    assert (first == second) == (one == two)
    assert ":" not in first and first.isascii() and first.isprintable()


@given(st.text())
def test_no_text_makes_the_reader_fail(text: str) -> None:
    assert read_ticket([KEY], "PBS:" + text, NOW) is None
    assert not is_valid_csrf([KEY], text, "a@pbs", NOW)
