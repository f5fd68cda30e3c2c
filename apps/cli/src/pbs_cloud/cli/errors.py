"""What can go wrong in a command, and the exit codes that scripts rely on."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of all commands that talk to the API."""

    OK = 0
    FAILED = 1
    """The server refused or failed, or the answer makes no sense."""
    USAGE = 2
    """Wrong arguments or configuration."""
    UNREACHABLE = 3
    """No connection, no trust in the certificate, no answer in time."""
    DENIED = 4
    """Not authenticated, or without the right."""
    TASK_FAILED = 5
    """The task that the command started or followed ended with an error."""
    INTERRUPTED = 130
    """Ctrl-C."""


class CliError(Exception):
    """Ends the command: what failed, where, what may help, and the exit code."""

    def __init__(
        self, message: str, *, where: str | None = None, hint: str | None = None, code: ExitCode = ExitCode.FAILED
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        self.code = code

    def text(self) -> str:
        """As printed on the error stream, without a line break at the end."""
        lines = [f"pbs-cloud: {self.message}"]
        if self.where:
            lines.append(f"  at: {self.where}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class UsageError(CliError):
    """Wrong arguments or configuration."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, code=ExitCode.USAGE)


class Unreachable(CliError):
    """The server cannot be reached or trusted; the same call may work later."""

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, where=where, hint=hint, code=ExitCode.UNREACHABLE)
