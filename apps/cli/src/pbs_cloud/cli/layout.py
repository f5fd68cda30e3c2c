"""Widths of a table's columns where the terminal is narrow: text is broken, never cut off."""

from collections.abc import Sequence
from typing import Final

GAP: Final = 2
_SHORT: Final = 14
"""Cells up to this length are never broken, nor are numbers."""
_NAME_SHARE: Final = 0.75
"""Nor is the first column, which names the row, as long as it leaves this part of the width to the others."""
_LONGEST_WORD: Final = 24
_LEAST: Final = 10


def column_widths(cells: Sequence[Sequence[str]], numbers: Sequence[bool], width: int) -> list[int]:
    """Widths of the columns of a table with its headings in the first row.

    Breakable columns shrink: to their longest words first, then further. What still does not fit is left wider than the
    terminal.
    """
    columns = list(zip(*cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    breakable = [
        not number and found > _SHORT and (place > 0 or found > width * _NAME_SHARE)
        for place, (number, found) in enumerate(zip(numbers, widths, strict=True))
    ]
    available = width - GAP * (len(columns) - 1)
    for least in (
        [max(_LEAST, min(_LONGEST_WORD, _longest_word(column))) for column in columns],
        [_LEAST] * len(columns),
    ):
        while sum(widths) > available:
            places = [place for place, may in enumerate(breakable) if may and widths[place] > least[place]]
            if not places:
                break
            widths[max(places, key=lambda place: widths[place])] -= 1
    return widths


def _longest_word(column: Sequence[str]) -> int:
    return max((len(word) for cell in column for word in cell.split()), default=0)
