"""Prints answers: tables for people, JSON for scripts. Only results go to the output stream."""

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from pbs_cloud.cli.common import Format
from pbs_cloud.cli.layout import GAP, INDENT, column_widths, table_width
from pbs_cloud.cli.views import Column, Record, Table, View, Words, generic, plain

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table as RichTable

_WIDE: Final = 100_000
_TRAILING: Final = re.compile(r" +$")


class Output:
    """One command's way to print."""

    def __init__(self, format: Format) -> None:
        self.format = format

    @property
    def for_people(self) -> bool:
        """Whether text is wanted."""
        return self.format == "text"

    def answer(self, data: Any, view: View | None, done: str | None = None) -> None:
        """The answer of a call; `done` is what people read where there is no data to show."""
        if not self.for_people:
            self.json(data)
        elif done is not None:
            sys.stdout.write(f"{done}\n")
        else:
            self.show(data, view or generic(data))

    def json(self, data: Any) -> None:
        """On one line, or indented."""
        indent = 2 if self.format == "json-pretty" else None
        sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=indent) + "\n")

    def show(self, data: Any, view: View) -> None:
        """For people."""
        if isinstance(view, Table):
            self._table(data or [], view)
        elif isinstance(view, Record) and data:
            self._record(data, view)
        elif isinstance(view, Words):
            words = data if isinstance(data, str) else plain(data)
            sys.stdout.write(words if words.endswith("\n") or not words else f"{words}\n")
        else:
            self.note(view.empty)

    def note(self, words: str) -> None:
        """A remark for people beside the data."""
        sys.stderr.write(f"{words}\n")

    def _table(self, rows: list[Any], view: Table) -> None:
        if not rows:
            self.note(view.empty)
            return
        if view.sort is not None:
            rows = sorted(rows, key=view.sort)
        cells = [[column.title for column in view.columns]]
        cells += [[_one_line(column.cell(row)) for column in view.columns] for row in rows]
        used = [place for place in range(len(view.columns)) if any(line[place] for line in cells[1:])]
        shown = [[line[place] for place in used] for line in cells]
        numbers = [view.columns[place].right for place in used]
        screen = console()
        widths = column_widths(shown, numbers, screen.width)
        if table_width(widths) <= screen.width or len(used) < 2:
            _print(screen, _grid(shown, numbers, widths, headed=True), table_width(widths))
        else:
            _print(screen, _stacked(shown, numbers, screen.width), 0)

    def _record(self, data: Any, view: Record) -> None:
        from rich.table import Table as RichTable
        from rich.text import Text

        columns = view.columns or tuple(Column(name, name, plain) for name in data)
        table = RichTable(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for column in columns:
            cell = column.cell(data)
            if cell:
                table.add_row(column.title, Text(cell, style=_style(cell)))
        _print(console(), table, 0)


def console(*, stderr: bool = False) -> "Console":
    """Of the terminal's width; where there is none, lines are never broken."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else _WIDE
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def _grid(lines: list[list[str]], numbers: list[bool], widths: list[int], *, headed: bool) -> "RichTable":
    """Lines of cells; the first one are the headings if it is `headed`."""
    from rich.table import Table as RichTable
    from rich.text import Text

    table = RichTable(box=None, show_header=False, pad_edge=False, padding=(0, GAP, 0, 0))
    for number, width in zip(numbers, widths, strict=True):
        table.add_column(justify="right" if number else "left", overflow="fold", width=width)
    for place, line in enumerate(lines):
        bold = headed and place == 0
        table.add_row(*(Text(cell, style="bold" if bold else _style(cell)) for cell in line))
    return table


def _stacked(lines: list[list[str]], numbers: list[bool], width: int) -> "Group":
    """Too wide for the terminal: the name of each row on a line of its own, the rest below it."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    widths = column_widths([line[1:] for line in lines], numbers[1:], width - INDENT)
    parts: list[Any] = []
    for place, line in enumerate(lines):
        parts.append(Text(line[0], style="" if place else "bold", overflow="fold"))
        parts.append(Padding(_grid([line[1:]], numbers[1:], widths, headed=place == 0), (0, 0, 0, INDENT)))
    return Group(*parts)


def _print(screen: "Console", table: Any, least: int) -> None:
    """At least that wide, so that nothing is cut off; without blanks at the ends of lines."""
    screen.width = max(screen.width, least)
    with screen.capture() as capture:
        screen.print(table)
    sys.stdout.write("".join(f"{_TRAILING.sub('', line)}\n" for line in capture.get().splitlines()))


def _one_line(cell: str) -> str:
    return "".join(char if char.isprintable() else " " for char in cell)


def _style(cell: str) -> str:
    if cell in ("OK", "ok", "ready", "active"):
        return "green"
    if cell.startswith("WARNINGS"):
        return "yellow"
    if cell in ("failed", "error", "unknown") or "error" in cell[:40].lower():
        return "red"
    return "cyan" if cell == "running" else ""
