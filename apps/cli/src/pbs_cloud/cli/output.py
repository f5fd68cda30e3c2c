"""Prints answers: tables for people, JSON for scripts. Only results go to the output stream."""

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from pbs_cloud.cli.common import Format
from pbs_cloud.cli.views import Column, Record, Table, View, Words, generic, plain

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 100_000


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
        from rich.table import Table as RichTable
        from rich.text import Text

        if view.sort is not None:
            rows = sorted(rows, key=view.sort)
        cells = [[_one_line(column.cell(row)) for column in view.columns] for row in rows]
        used = [place for place in range(len(view.columns)) if any(line[place] for line in cells)]
        table = RichTable(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for place in used:
            column = view.columns[place]
            short = max(len(line[place]) for line in cells) <= 20
            table.add_column(
                column.title,
                justify="right" if column.right else "left",
                overflow="fold",
                no_wrap=column.right or short,
            )
        for line in cells:
            table.add_row(*(Text(line[place], style=_style(line[place])) for place in used))
        _print(table)

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
        _print(table)


def console(*, stderr: bool = False) -> "Console":
    """Of the terminal's width; where there is none, lines are never broken."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else _WIDE
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def _print(table: Any) -> None:
    """Without blanks at the ends of lines where no terminal fills them."""
    screen = console()
    if screen.is_terminal:
        screen.print(table)
        return
    with screen.capture() as capture:
        screen.print(table)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))


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
