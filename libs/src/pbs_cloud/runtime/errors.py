"""Errors of starting and configuring a process. What crosses gRPC is in `pbs_cloud.contracts.errors`."""

EXIT_CONFIG = 2


class ConfigError(Exception):
    """A setting is wrong or missing; the text names the environment variable. The process exits with code 2."""
