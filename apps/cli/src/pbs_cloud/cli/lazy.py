"""Groups and commands that are built when they are entered, so that the help and other commands start soon."""

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from typer.core import TyperCommand, TyperGroup


class LazyCommands(MutableMapping[str, Any]):
    """The commands of a group by name; each is made when it is asked for."""

    def __init__(self, names: Callable[[], list[str]], make: Callable[[str], Any]) -> None:
        self._names = names
        self._make = make
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            made = self._make(name)
            if made is None:
                raise KeyError(name)
            self._made[name] = made
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())


class LazyCommand(TyperCommand):
    """Name and help of a command; the command itself is loaded when it is entered."""

    def __init__(self, name: str, help: str, panel: str, load: Callable[[], TyperCommand]) -> None:
        super().__init__(name=name, help=help, rich_help_panel=panel)
        self._load = load

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """A context of the command itself."""
        return self._load().make_context(info_name, args, parent, **extra)


def lazy_group(
    name: str, help: str, panel: str, names: Callable[[], list[str]], make: Callable[[str], Any]
) -> TyperGroup:
    """A group whose commands are loaded when it is entered."""
    group = TyperGroup(name=name, help=help, rich_help_panel=panel, no_args_is_help=True)
    group.commands = LazyCommands(names, make)
    return group
