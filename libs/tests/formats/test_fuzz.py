"""A short run of every fuzz target, and a proof that the engine finds something."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "fuzz"))

from fuzz_engine import Target, fuzz
from fuzz_targets import targets

from pbs_cloud.formats.errors import FormatError

TARGETS = {target.name: target for target in targets()}


@pytest.mark.parametrize("name", TARGETS)
def test_only_the_own_error(name):
    assert fuzz(TARGETS[name], 2000, seed=20260101) == []


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in ("chunk", "names")])
def test_the_seeds_are_valid(name):
    target, accepted = TARGETS[name], 0
    for seed in target.seeds:
        try:
            target.run(seed)
            accepted += 1
        except FormatError:
            continue
    assert accepted >= (len(target.seeds) + 1) // 2


def test_the_engine_reports_other_errors():
    def broken(data: bytes) -> None:
        if len(data) < 5:
            raise IndexError("no bytes")
        raise FormatError("refused")

    findings = fuzz(Target("broken", [b"0123456789"], broken), 2000, seed=1)
    assert findings
    assert {type(finding.error) for finding in findings} == {IndexError}
