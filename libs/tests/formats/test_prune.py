"""Retention against the vectors (conformance 55 to 57)."""

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.names import format_time, parse_time
from pbs_cloud.formats.prune import KeepOptions, PruneCandidate, PruneMark, decide


def test_own_cases(vectors):
    data = vectors("prune")
    snapshots = [
        PruneCandidate(parse_time(item["time"]), item["finished"], item["protected"]) for item in data["snapshots"]
    ]
    assert len(data["cases"]) == 10
    for case in data["cases"]:
        decisions = decide(snapshots, KeepOptions.parse(case["options"]), ZoneInfo(case["timezone"]))
        marks = [[format_time(decision.candidate.backup_time), decision.mark.value] for decision in decisions]
        assert marks == case["marks"], case["name"]


def test_decisions_of_the_real_server(vectors):
    cases = vectors("prune")["server_cases"]
    assert len({case["timezone"] for case in cases}) == 4
    for case in cases:
        snapshots = [
            PruneCandidate(at, bool(finished), bool(protected)) for at, finished, protected in case["snapshots"]
        ]
        decisions = decide(snapshots, KeepOptions.parse(case["options"]), ZoneInfo(case["timezone"]))
        assert [decision.mark.value for decision in decisions] == case["marks"]
        assert "".join("k" if decision.keep else "r" for decision in decisions) == case["keep"]


def test_without_options_everything_is_kept():
    snapshots = [PruneCandidate(1, finished=False), PruneCandidate(2), PruneCandidate(3, protected=True)]
    decisions = decide(snapshots, KeepOptions())
    assert [decision.keep for decision in decisions] == [True] * 3
    assert [decision.mark for decision in decisions] == [PruneMark.PROTECTED, PruneMark.REMOVE, PruneMark.REMOVE]


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "3"])
def test_bad_counts_are_refused_by_name(value):
    with pytest.raises(FormatError, match="keep-daily"):
        KeepOptions.parse({"keep-daily": value})


def test_text_forms():
    options = KeepOptions.parse({"keep-yearly": 1, "keep-last": 2, "keep-daily": None, "other": 5})
    assert str(options) == "--keep-last 2 --keep-yearly 1"
    assert options.to_dict() == {"keep-last": 2, "keep-yearly": 1}


@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.booleans(), st.booleans()), unique_by=lambda item: item[0]),
    st.builds(KeepOptions, *[st.none() | st.integers(1, 5)] * 6),
)
def test_what_never_goes(items, options):
    snapshots = [PruneCandidate(*item) for item in items]
    decisions = decide(snapshots, options)
    times = [decision.candidate.backup_time for decision in decisions]
    assert times == sorted((item[0] for item in items), reverse=True)
    for position, decision in enumerate(decisions):
        assert decision.keep or not decision.candidate.protected
        if position == 0:
            assert decision.keep
