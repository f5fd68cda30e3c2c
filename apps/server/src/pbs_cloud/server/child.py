"""Start a program that dies with its supervisor. Standard library only: it runs as a script before the program.

    python child.py '{"signal": 2, "user": [65534, 65534], "keep_search": false, "pipe": 7}' program argument…

On Linux the kernel sends `signal` when the thread that forked us ends (PR_SET_PDEATHSIG), and we become the program.
Elsewhere we stay as its parent and watch a pipe whose other end only the supervisor holds.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 1, 28, 47, 2
_SECBIT_NO_SETUID_FIXUP = 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
IS_LINUX = sys.platform == "linux"


class CannotKeepRights(Exception):
    """The capabilities to enter closed folders cannot be kept over the change of user."""


def die_with(parent: int, number: int) -> None:
    """Ask for signal `number` at the parent's death; must come after a change of user, which clears it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def watch_pipe(descriptor: int, number: int, pid: int) -> None:
    """Send `number` to `pid` when the supervisor's end of the pipe is closed."""

    def wait() -> None:
        while os.read(descriptor, 1):
            pass
        os.kill(pid, number)

    threading.Thread(target=wait, daemon=True, name="supervisor-watch").start()


def change_user(uid: int, gid: int, keep_search: bool) -> None:
    """Become another user; with `keep_search` still able to pass through folders that only root may enter."""
    libc = ctypes.CDLL(None)
    # Without the fix-up, setuid keeps capabilities, and access(2), with which initdb looks for postgres, honours them.
    if keep_search and libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0) != 0:
        raise CannotKeepRights
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if keep_search:
        _raise_capabilities(libc, (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH))


def _raise_capabilities(libc: Any, wanted: tuple[int, ...]) -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    libc.capget(header, data)
    bits = data[1] & sum(1 << bit for bit in wanted)
    if not bits:
        raise CannotKeepRights
    data[0], data[1], data[2] = bits, bits, bits
    data[3], data[4], data[5] = 0, 0, 0
    if libc.capset(header, data) != 0:
        raise CannotKeepRights
    for bit in wanted:
        if bits & (1 << bit) and libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, bit, 0, 0) != 0:
            raise CannotKeepRights


def _become(options: dict[str, Any], command: list[str]) -> None:
    parent = os.getppid()
    if options["user"]:
        uid, gid = options["user"]
        try:
            change_user(uid, gid, options["keep_search"])
        except CannotKeepRights:
            sys.exit(
                f"user {uid} may not enter the folders on the way to its data or to {command[0]}: use folders that"
                " everybody may enter, or set PBS_DATABASE_URL"
            )
    if IS_LINUX:
        die_with(parent, options["signal"])
        os.execv(command[0], command)
    child = subprocess.Popen(command)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, lambda received, _frame: child.send_signal(received))
    watch_pipe(options["pipe"], options["signal"], child.pid)
    sys.exit(child.wait())


if __name__ == "__main__":
    _become(json.loads(sys.argv[1]), sys.argv[2:])
