"""Widths of a table's columns where the terminal is narrow: text is broken, never cut off."""

from collections.abc import Sequence
from typing import Final

GAP: Final = 2
INDENT: Final = 4
"""Of what stands below the name of a row, where a whole row does not fit."""
_SHORT: Final = 14
"""Cells up to this length are never broken, nor are numbers, nor the first column, which names the row."""
_LONGEST_WORD: Final = 24
_LEAST: Final = 10


def column_widths(cells: Sequence[Sequence[str]], numbers: Sequence[bool], width: int) -> list[int]:
    """Widths of the columns of a table with its headings in the first row.

    Breakable columns shrink: to their longest words first, then further. What still does not fit is left wider.
    """
    columns = list(zip(*cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    breakable = [
        not number and found > _SHORT and (place > 0 or found > width)
        for place, (number, found) in enumerate(zip(numbers, widths, strict=True))
    ]
    for least in (
        [max(_LEAST, min(_LONGEST_WORD, _longest_word(column))) for column in columns],
        [_LEAST] * len(columns),
    ):
        while table_width(widths) > width:
            places = [place for place, may in enumerate(breakable) if may and widths[place] > least[place]]
            if not places:
                break
            widths[max(places, key=lambda place: widths[place])] -= 1
    return widths


def table_width(widths: Sequence[int]) -> int:
    """Width of the whole table."""
    return sum(widths) + GAP * (len(widths) - 1)


def _longest_word(column: Sequence[str]) -> int:
    return max((len(word) for cell in column for word in cell.split()), default=0)
