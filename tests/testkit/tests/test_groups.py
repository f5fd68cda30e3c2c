"""Tests that share a running product share a process: pytest-xdist has to see their groups."""

import os

import pytest


@pytest.mark.xdist_group("group-of-this-test")
def test_groups_are_in_force(request: pytest.FixtureRequest) -> None:
    """pytest-xdist tells the group in the node's id; a pytest that keeps ids elsewhere would ignore it in silence."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@group-of-this-test")
