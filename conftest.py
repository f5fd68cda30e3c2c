"""Fixtures for all tests of the workspace: throw-away servers and the running product."""

pytest_plugins = ["testkit.fixtures"]
