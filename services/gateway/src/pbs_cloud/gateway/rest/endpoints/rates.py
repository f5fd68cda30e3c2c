"""Transfer rates and sizes as people write them: ``10MiB``, ``1.5 GB``, ``4096`` (rest-api C.11, C.12)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pbs_cloud.gateway.schema import String
from pbs_cloud.gateway.schema.errors import Invalid

_NUMBER: Final = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{1,6})?)\s*([KMGTPE]?i?)B?\s*")
_UNITS: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


@dataclass(frozen=True)
class ByteRate(String):
    """A number of bytes; the value is the canonical text, ``10 MiB``."""

    def from_text(self, text: str) -> str:
        super().from_text(text)
        match = _NUMBER.fullmatch(text)
        if match is None or match[2] == "i":
            raise Invalid("unable to parse byte size")
        number, unit = float(match[1]), match[2]
        if not unit:
            number, unit = _binary(number)
        return f"{round(number, 3):.3f}".rstrip("0").rstrip(".") + f" {unit}B"


def _binary(number: float) -> tuple[float, str]:
    """Bytes in the largest binary unit that leaves at least one."""
    index = 0
    while number >= 1024 and index < len(_UNITS) - 1:
        number, index = number / 1024, index + 1
    return number, _UNITS[index]


RATE: Final = ByteRate(maximum=64)
