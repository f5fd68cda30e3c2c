"""Task ids (rest-api A.11)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.upid import Upid, escape_worker_id, unescape_worker_id

EXAMPLES = [
    "UPID:pbs1:000F3A21:0BCD1234:00000000000004D2:69A4F290:garbage_collection:tank:alice@pbs:",
    "UPID:pbs1:000F3A21:0BCD1234:00000000000004D3:69A4EF24:backup:tank\\x3avm-100:alice@pbs!pve1:",
    "UPID:pbs-0:0000002A:00001234:00000001:6955B900:backup:store1\\x3ahost-h\\x2d1:root@pam:",
]
ESCAPES = {
    "tank": "tank",
    "tank:vm/100": "tank\\x3avm-100",
    "tank-01:host/web-01": "tank\\x2d01\\x3ahost-web\\x2d01",
    "-:src:dst::job1": "\\x2d\\x3asrc\\x3adst\\x3a\\x3ajob1",
    ".a.b": "\\x2ea.b",
    "": "",
    "ä b": "\\xc3\\xa4\\x20b",
}


def test_escapes():
    for text, escaped in ESCAPES.items():
        assert (escape_worker_id(text), unescape_worker_id(escaped)) == (escaped, text)


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples(text):
    parsed = Upid.parse(text)
    assert Upid.parse(str(parsed)) == parsed
    assert Upid.parse(text.replace("F", "f")).pid == parsed.pid


def test_parts():
    upid = Upid.parse(EXAMPLES[2])
    assert upid == Upid("pbs-0", 42, 0x1234, 1, 0x6955B900, "backup", "store1:host/h-1", "root@pam")
    assert str(upid) == EXAMPLES[2]
    assert str(Upid("n", 1, 2, 2**64 - 1, 3, "t", "", "u@pam")).split(":")[4] == "F" * 16


@pytest.mark.parametrize(
    "bad",
    [
        "",
        None,
        EXAMPLES[0][:-1],
        EXAMPLES[0] + "x",
        EXAMPLES[0].replace("000F3A21", "80000000"),
        EXAMPLES[0].replace("pbs1", "pbs.1"),
        EXAMPLES[0].replace("tank", "\\"),
        EXAMPLES[0].replace("tank", "\\xff"),
        EXAMPLES[0].replace("tank", "a b"),
        EXAMPLES[0].replace(":69A4F290:", ":069A4F290:"),
        EXAMPLES[0] + "\n",
        EXAMPLES[0].replace("alice", "a\0"),
        EXAMPLES[0].replace("alice", "a\ud800"),
    ],
)
def test_bad_ones(bad):
    with pytest.raises(FormatError, match="upid"):
        Upid.parse(bad)


@given(
    st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", fullmatch=True),
    st.integers(0, 0x7FFFFFFF),
    st.integers(0, 2**36 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_round_trip(node, pid, pstart, task, start, worker_id):
    upid = Upid(node, pid, pstart, task, start, "verify", worker_id, "root@pam")
    assert Upid.parse(str(upid)) == upid
