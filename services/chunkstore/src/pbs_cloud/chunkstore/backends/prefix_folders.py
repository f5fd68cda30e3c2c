"""The 65,536 folders of `.chunks`, made by a process of its own: umask and user ids are a process's, and it is seconds
of busy work (formats 7.4).

    python -m pbs_cloud.chunkstore.backends.prefix_folders DIRECTORY [UID GID]
"""

from __future__ import annotations

import os
import sys

from pbs_cloud.formats.layout import CHUNK_DIR

COUNT = 0x10000
MODE = 0o750


def make(directory: str, uid: int | None = None, gid: int | None = None) -> None:
    """Make those that are missing. Raises OSError."""
    os.umask(0o777 & ~MODE)
    os.chdir(f"{directory}/{CHUNK_DIR}")
    there = {entry.name for entry in os.scandir(".")}
    if uid is not None and gid is not None:
        os.setgroups([])
        os.setegid(gid)
        os.seteuid(uid)
    for number in range(COUNT):
        if f"{number:04x}" not in there:
            make_one(f"{number:04x}")


def make_one(path: str, dir_fd: int | None = None) -> None:
    """One folder, unless somebody else made it at the same time."""
    try:
        os.mkdir(path, MODE, dir_fd=dir_fd)
    except FileExistsError:
        return


if __name__ == "__main__":
    make(sys.argv[1], *(int(argument) for argument in sys.argv[2:4]))
