"""The texts of rest-api A.6 and the rules of A.3, A.4, exactly."""

from __future__ import annotations

from typing import Any

import pytest

from pbs_cloud.contracts.errors import InvalidArgument
from pbs_cloud.gateway.schema import (
    Array,
    Enum,
    Integer,
    ParameterErrors,
    PropertyString,
    Schema,
    String,
    common,
    optional,
    parse_query,
    parse_request,
    required,
)
from pbs_cloud.gateway.schema.parse import names_parameter
from pbs_cloud.gateway.schema.types import Nullable, StringMap, split_properties
from pbs_cloud.gateway.schema.upgrades import BACKUP_UPGRADE

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
SCHEMA = Schema(
    {
        "store": required(common.STORE),
        "ns": optional(common.NAMESPACE, default=""),
        "keep-last": optional(common.KEEP),
        "dry-run": optional(common.BOOLEAN, default=False),
        "delete": optional(Array(Enum(("comment", "email")))),
        "backup-type": optional(common.BACKUP_TYPE),
        "name": optional(String(pattern="[a-z]+", minimum=2, maximum=4)),
    }
)


def reasons(call: Any) -> dict[str, str]:
    with pytest.raises(ParameterErrors) as caught:
        call()
    return caught.value.errors


def query_reason(query: str) -> dict[str, str]:
    return reasons(lambda: parse_query(SCHEMA, "store=tank&" + query))


def json_reason(body: str) -> dict[str, str]:
    return reasons(lambda: parse_request(SCHEMA, JSON, "", body.encode(), {"store": "tank"}))


@pytest.mark.parametrize(
    ("query", "name", "text"),
    [
        ("foo=1", "foo", "schema does not allow additional properties."),
        ("ns=&ns=", "ns", "duplicate parameter."),
        ("store=tank", "store", "duplicate parameter."),
        ("ns=a//b", "ns", "value does not match the regex pattern"),
        ("ns=/a", "ns", "value does not match the regex pattern"),
        ("ns=a%0A", "ns", "value does not match the regex pattern"),
        ("ns=" + "a" * 257, "ns", "value may only be 256 characters long"),
        ("name=a", "name", "value must be at least 2 characters long"),
        ("name=abcde", "name", "value may only be 4 characters long"),
        ("name=AB", "name", "value does not match the regex pattern"),
        ("keep-last=0", "keep-last", "value must have a minimum value of 1 (got 0)"),
        ("keep-last=x", "keep-last", "invalid digit found in string"),
        ("keep-last=1_0", "keep-last", "invalid digit found in string"),
        ("keep-last=%D9%A1", "keep-last", "invalid digit found in string"),
        ("keep-last=" + "9" * 30, "keep-last", "number too large to fit in target type"),
        ("dry-run=maybe", "dry-run", "Unable to parse boolean option."),
        ("dry-run=", "dry-run", "Unable to parse boolean option."),
        ("delete=comment,email", "delete", "value 'comment,email' is not defined in the enumeration."),
    ],
)
def test_query_errors_name_the_parameter(query: str, name: str, text: str) -> None:
    assert query_reason(query) == {name: text}


@pytest.mark.parametrize(
    ("body", "name", "text"),
    [
        ('{"foo": 1}', "foo", "schema does not allow additional properties"),
        ('{"keep-last": "5"}', "keep-last", "Expected integer value."),
        ('{"keep-last": null}', "keep-last", "Expected integer value."),
        ('{"keep-last": true}', "keep-last", "Expected integer value."),
        ('{"keep-last": 3.5}', "keep-last", "Expected integer value."),
        ('{"keep-last": 0}', "keep-last", "value must have a minimum value of 1 (got 0)"),
        ('{"dry-run": 1}', "dry-run", "Expected boolean value."),
        ('{"name": 5}', "name", "Expected string value."),
        ('{"name": "\\ud800x"}', "name", "value does not match the regex pattern"),
        ('{"delete": "comment"}', "delete", "Expected array - got scalar value."),
        ('{"delete": ["x"]}', "delete", "value 'x' is not defined in the enumeration."),
    ],
)
def test_json_errors_name_the_parameter(body: str, name: str, text: str) -> None:
    assert json_reason(body) == {name: text}


def test_missing_parameters_have_two_texts() -> None:
    texts = reasons(lambda: parse_request(SCHEMA, FORM, "", b""))
    assert texts == {"store": "parameter is missing and it is not optional."}
    values = reasons(lambda: parse_request(SCHEMA, JSON, "store=tank", b""))
    assert values == {"store": "property is missing and it is not optional"}


def test_one_error_stands_on_one_line_and_several_on_lines_of_their_own() -> None:
    with pytest.raises(ParameterErrors) as one:
        parse_query(SCHEMA, "store=a")
    assert one.value.message == ("parameter verification failed - 'store': value must be at least 3 characters long")
    with pytest.raises(ParameterErrors) as two:
        parse_query(SCHEMA, "store=tank&ns=a//b&foo=1")
    assert two.value.message == (
        "parameter verification failed:\n"
        "- 'foo': schema does not allow additional properties.\n"
        "- 'ns': value does not match the regex pattern"
    )


def test_query_form_and_path_are_merged_and_dc_is_ignored() -> None:
    values = parse_request(SCHEMA, None, "dry-run=1&_dc=17", b"ns=a%2Fb&delete=comment&delete=email", {"store": "tank"})
    assert values == {"store": "tank", "ns": "a/b", "dry-run": True, "delete": ["comment", "email"]}


def test_json_ignores_the_query_and_accepts_an_empty_body() -> None:
    body = b'{"ns": "a", "keep-last": 3}'
    values = parse_request(SCHEMA, JSON + "; charset=utf-8", "foo=1&ns=b", body, {"store": "tank"})
    assert values == {"store": "tank", "ns": "a", "keep-last": 3, "dry-run": False}
    assert parse_request(SCHEMA, JSON, "", b"", {"store": "tank"})["ns"] == ""


def test_a_form_that_looks_like_json_is_json() -> None:
    values = parse_request(SCHEMA, FORM, "", b' {"store": "tank", "dry-run": true}')
    assert values["dry-run"] is True


@pytest.mark.parametrize("body", ["{", "[]", "5", "null", '"x"', '{"a": NaN}', "[" * 100_000])
def test_bodies_that_are_no_json_object_are_refused(body: str) -> None:
    with pytest.raises(InvalidArgument, match="unable to parse parameters"):
        parse_request(SCHEMA, JSON, "", body.encode(), {"store": "tank"})


@pytest.mark.parametrize("kind", ["text/xml", "Application/JSON", "multipart/form-data; boundary=x"])
def test_other_content_types_are_refused(kind: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^unsupported content type"):
        parse_request(SCHEMA, kind, "", b"<a/>", {"store": "tank"})


@pytest.mark.parametrize("text", ["1", "on", "yes", "true", "True", "YES", "0", "off", "no", "false", "False"])
def test_boolean_texts(text: str) -> None:
    expected = text.lower() in ("1", "on", "yes", "true")
    assert parse_query(SCHEMA, f"store=tank&dry-run={text}")["dry-run"] is expected


def test_plus_is_a_blank_and_percent_2b_a_plus() -> None:
    schema = Schema({"notes": required(common.NOTES)})
    assert parse_request(schema, FORM, "", b"notes=a+b%2Bc%0Ad")["notes"] == "a b+c\nd"
    assert parse_query(schema, "notes=%C3%A4%FF")["notes"] == "ä\ufffd"


def test_some_values_are_checked_only_when_decoded() -> None:
    with pytest.raises(InvalidArgument) as kind:
        parse_query(SCHEMA, "store=tank&backup-type=xx")
    assert not isinstance(kind.value, ParameterErrors)
    assert kind.value.message == "unknown variant `xx`, expected one of `vm`, `ct`, `host`"
    with pytest.raises(InvalidArgument) as deep:
        parse_query(SCHEMA, "store=tank&ns=a/b/c/d/e/f/g/h")
    assert not isinstance(deep.value, ParameterErrors)
    assert query_reason("backup-type=xx&foo=1") == {"foo": "schema does not allow additional properties."}


def test_upgrades_check_the_type_as_an_enumeration() -> None:
    query = "store=tank&backup-type=xx&backup-id=a&backup-time=5"
    assert reasons(lambda: parse_query(BACKUP_UPGRADE, query)) == {
        "backup-type": "value 'xx' is not defined in the enumeration."
    }
    assert parse_query(BACKUP_UPGRADE, query.replace("xx", "vm")) == {
        "store": "tank", "backup-type": "vm", "backup-id": "a", "backup-time": 5,
        "ns": "", "benchmark": False, "no-cache": False,
    }  # fmt: skip


def test_open_schemas_ignore_what_they_do_not_know() -> None:
    assert parse_query(Schema(open=True), "foo=1&foo=2") == {}


def test_user_ids_split_at_the_last_at_sign() -> None:
    schema = Schema({"userid": required(common.USER_ID), "auth-id": optional(common.AUTH_ID)})
    assert parse_query(schema, "userid=a@b@pbs")["userid"] == "a@b@pbs"
    for bad in ("bad", "a@pbs!t", "a b@pbs", "a@p", "x" * 61 + "@pbs"):
        assert "userid" in reasons(lambda bad=bad: parse_query(schema, f"userid={bad}"))
    assert parse_query(schema, "userid=a@pbs&auth-id=a@pbs!t1")["auth-id"] == "a@pbs!t1"


def test_nul_never_passes() -> None:
    assert query_reason("name=a%00") == {"name": "value does not match the regex pattern"}
    assert reasons(lambda: parse_query(Schema({"notes": required(common.NOTES)}), "notes=a%00b"))


def test_property_strings() -> None:
    kind = PropertyString({"gc": Enum(("error",)), "count": Integer(0)})
    schema = Schema({"notify": required(kind)})
    assert parse_query(schema, "notify=gc=error,count=3")["notify"] == "gc=error,count=3"
    for bad in ("gc=x", "gc=error,gc=error", "other=1", "error", "count=-1"):
        assert "notify" in reasons(lambda bad=bad: parse_query(schema, f"notify={bad}"))
    assert dict(split_properties('offline,message="disk, \\"swap\\""', "type")) == {
        "type": "offline", "message": 'disk, "swap"',
    }  # fmt: skip


def test_null_and_objects_only_where_they_are_declared() -> None:
    schema = Schema({"quota": optional(Nullable(Integer(0))), "metadata": optional(StringMap())})
    assert parse_request(schema, JSON, "", b'{"quota": null, "metadata": {"a": "b"}}') == {
        "quota": None, "metadata": {"a": "b"},
    }  # fmt: skip
    assert reasons(lambda: parse_request(schema, JSON, "", b'{"metadata": {"a": 1}}')) == {
        "metadata": "Expected string value."
    }


def test_the_body_decides_which_form_a_shared_path_takes() -> None:
    assert names_parameter(JSON, "", b'{"username": "a@pbs"}', "username")
    assert names_parameter(None, "", b"username=a@pbs", "username")
    assert not names_parameter(JSON, "username=a@pbs", b'{"userid": "a@pbs"}', "username")


def test_json_schema_describes_everything() -> None:
    described = SCHEMA.json_schema()
    assert described["required"] == ["store"]
    assert described["properties"]["store"]["minLength"] == 3
    assert described["properties"]["store"]["pattern"] == "^(?:[A-Za-z0-9_][A-Za-z0-9._\\-]*)$"
    assert described["properties"]["keep-last"] == {"type": "integer", "minimum": 1}
    assert described["properties"]["dry-run"] == {"type": "boolean", "default": False}


def test_own_calls_take_hyphens_for_underscores() -> None:
    schema = Schema({"dry_run": optional(common.BOOLEAN), "keep_last": optional(common.KEEP)}, kebab=True)
    assert parse_query(schema, "dry-run=1&keep_last=2") == {"dry_run": True, "keep_last": 2}
    assert parse_request(schema, JSON, "", b'{"dry-run": true, "keep_last": 2}') == {"dry_run": True, "keep_last": 2}
    for twice in (
        lambda: parse_query(schema, "dry-run=1&dry_run=1"),
        lambda: parse_request(schema, JSON, "", b'{"dry-run": true, "dry_run": true}'),
    ):
        assert reasons(twice) == {"dry_run": "duplicate parameter."}
    assert "dry-Run" in reasons(lambda: parse_query(schema, "dry-Run=1"))
    assert "max_depth" in reasons(lambda: parse_query(Schema({"max-depth": optional(common.MAX_DEPTH)}), "max_depth=1"))
