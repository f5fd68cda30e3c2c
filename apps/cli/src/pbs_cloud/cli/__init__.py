"""The command `pbs-cloud`: operates everything that the REST API can (docs/reference/cli.md)."""
