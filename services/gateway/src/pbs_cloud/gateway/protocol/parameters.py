"""Parameters of the requests inside sessions (wire-protocol 4.5-4.11, 5.2)."""

from __future__ import annotations

from typing import Final

from pbs_cloud.gateway.schema import Array, Integer, Schema, String, optional, required
from pbs_cloud.gateway.schema import common as c

MAX_ENCODED: Final = 16 * 1024 * 1024 + 44
MIN_CHUNK: Final = 13
MIN_BLOB: Final = 12

_WID: Final = required(Integer(minimum=1, maximum=256), "writer id")
_NAME: Final = required(c.FILE_NAME)
_COUNT: Final = Integer(minimum=0)
_POSITIVE: Final = Integer(minimum=1)

EMPTY: Final = Schema()
INDEX_LISTING: Final = Schema(open=True)
BLOB: Final = Schema(
    {"file-name": _NAME, "encoded-size": required(Integer(minimum=MIN_BLOB, maximum=MAX_ENCODED), "bytes of the body")}
)
CHUNK: Final = Schema(
    {
        "wid": _WID,
        "digest": required(c.DIGEST),
        "size": required(Integer(minimum=1, maximum=16 * 1024 * 1024), "plaintext bytes"),
        "encoded-size": required(Integer(minimum=MIN_CHUNK, maximum=MAX_ENCODED), "bytes of the body"),
    }
)
DYNAMIC_INDEX: Final = Schema({"archive-name": _NAME})
FIXED_INDEX: Final = Schema(
    {
        "archive-name": _NAME,
        "size": optional(_POSITIVE, "bytes of the image"),
        "reuse-csum": optional(c.DIGEST, "csum of the same archive in the previous snapshot"),
    }
)
APPEND: Final = Schema(
    {
        "wid": _WID,
        "digest-list": required(Array(c.DIGEST)),
        "offset-list": required(Array(_COUNT), "start offset of each chunk"),
    }
)
# The csum is checked when it is decoded: its errors come after those of the other parameters.
DYNAMIC_CLOSE: Final = Schema(
    {"wid": _WID, "chunk-count": required(_POSITIVE), "size": required(_POSITIVE), "csum": required(String())}
)
FIXED_CLOSE: Final = Schema(
    {"wid": _WID, "chunk-count": required(_COUNT), "size": required(_COUNT), "csum": required(String())}
)
PREVIOUS: Final = Schema({"archive-name": _NAME})
DOWNLOAD: Final = Schema({"file-name": _NAME})
READ_CHUNK: Final = Schema({"digest": required(c.DIGEST)})
