"""What a running command works with."""

import os
import sys
from collections.abc import Callable
from functools import cached_property

from pbs_cloud.cli.api import Api
from pbs_cloud.cli.asking import ask_secret, ask_yes
from pbs_cloud.cli.errors import UsageError
from pbs_cloud.cli.output import Output
from pbs_cloud.cli.spec import Command, Values
from pbs_cloud.cli.target import Options, Target, resolve


class Session:
    """The server to talk to (connected when first needed), and the way to print."""

    def __init__(self, options: Options, output: Output) -> None:
        self.options = options
        self.output = output

    @cached_property
    def target(self) -> Target:
        """The server and the credentials. Raises UsageError."""
        return resolve(self.options, os.environ)

    @cached_property
    def api(self) -> Api:
        """The API; a login that is some minutes old is renewed first."""
        if self.target.login is not None:
            from pbs_cloud.cli.login import renewed

            return Api(renewed(self.target))
        return Api(self.target)

    def confirm(self, question: str, values: Values) -> None:
        """Ask before something is lost. Raises UsageError where nobody can answer, or the answer is no."""
        if values.get("yes"):
            return
        if not sys.stdin.isatty():
            raise UsageError(f"{question}: nobody there to confirm it", hint="--yes goes on without a question")
        if not ask_yes(f"{question}. Go on?"):
            raise UsageError("nothing was done")

    def fill(self, template: str, values: Values) -> str:
        """A sentence with what was typed in its braces."""
        words = {name.replace("-", "_"): "" if value is None else value for name, value in values.items()}
        return template.format_map(words)


def path_and_params(command: Command, values: Values) -> tuple[str, Values]:
    """The call's path, and its parameters in the API's own terms. Raises UsageError."""
    from pbs_cloud.cli.api import segment

    path, params = command.path, {}
    for param in command.params:
        given = values.get(param.name)
        given = param.default if given is None else given
        if param.local or given is None:
            continue
        converted = param.convert(given) if param.convert is not None else given
        if param.spread:
            params.update(converted)
        elif f"{{{param.name}}}" in path:
            path = path.replace(f"{{{param.name}}}", segment(str(converted)))
        else:
            params[param.name] = converted
    return path, params


def execute(command: Command, session: Session, values: Values) -> None:
    """Run one command. Raises CliError."""
    typed = values
    if command.danger is not None:
        session.confirm(session.fill(command.danger, values), values)
    values = values | {
        param.name: param.find(session, values[param.name])
        for param in command.params
        if param.find is not None and values.get(param.name) is not None
    }
    for param in command.params:
        if param.ask is not None:
            given = values.get(param.name)
            values[param.name] = ask_secret(param.ask, twice=param.ask.startswith("New")) if given else None
    runner: Callable[[Session, Values], None] | None = command.run
    if runner is not None:
        runner(session, values)
        return
    path, params = path_and_params(command, values)
    answer = session.api.call(command.method, path, params)
    if command.task:
        from pbs_cloud.cli.follow import finish

        finish(session, answer.data, wait=not values.get("no-wait"))
        return
    done = session.fill(command.done, typed) if command.done is not None else None
    session.output.answer(answer.data, command.view, done)
