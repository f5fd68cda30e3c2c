"""The host as tenants see it: constant, since real load would tell them about each other (rest-api E.4)."""

from __future__ import annotations

import time
from typing import Any, Final

_GIB: Final = 1 << 30
MEMORY_TOTAL: Final = 8 * _GIB
MEMORY_USED: Final = 2 * _GIB
SWAP_TOTAL: Final = 1 * _GIB
ROOT_TOTAL: Final = 32 * _GIB
ROOT_USED: Final = 8 * _GIB
CPUS: Final = 4
SUMS: Final = frozenset({"net_in", "net_out", "disk_read", "disk_write"})
"""Metrics that count up; all others are present values (rest-api C.13)."""
NO_FINGERPRINT: Final = ":".join(["00"] * 32)


def node_status(started: float, fingerprint: str) -> dict[str, Any]:
    """Answer of ``nodes/{node}/status``; only uptime and fingerprint are real."""
    return {
        "uptime": int(time.time() - started),
        "loadavg": [0.0, 0.0, 0.0],
        "cpu": 0.0,
        "wait": 0.0,
        "memory": {"total": MEMORY_TOTAL, "used": MEMORY_USED, "free": MEMORY_TOTAL - MEMORY_USED},
        "swap": {"total": SWAP_TOTAL, "used": 0, "free": SWAP_TOTAL},
        "root": {"total": ROOT_TOTAL, "used": ROOT_USED, "avail": ROOT_TOTAL - ROOT_USED},
        "kversion": "Linux 6.8.0 #1 SMP",
        "current-kernel": {"sysname": "Linux", "release": "6.8.0", "version": "#1 SMP", "machine": "x86_64"},
        "cpuinfo": {"model": "virtual", "sockets": 1, "cpus": CPUS},
        "info": {"fingerprint": fingerprint},
        "boot-info": {"mode": "efi", "secureboot": False},
    }


def host_metrics() -> dict[str, float]:
    """The ``host`` values of ``status/metrics``."""
    return {
        **dict.fromkeys(("cpu_current", "cpu_iowait", "cpu_avg1", "cpu_avg5", "cpu_avg15"), 0.0),
        **dict.fromkeys(sorted(SUMS), 0.0),
        "mem_total": MEMORY_TOTAL,
        "mem_used": MEMORY_USED,
        "swap_total": SWAP_TOTAL,
        "swap_used": 0,
        "disk_total": ROOT_TOTAL,
        "disk_used": ROOT_USED,
        "disk_available": ROOT_TOTAL - ROOT_USED,
    }


def node_load() -> dict[str, float]:
    """One point of ``nodes/{node}/rrd``, without its time."""
    return {
        "cpu": 0.0,
        "iowait": 0.0,
        "loadavg": 0.0,
        "memtotal": MEMORY_TOTAL,
        "memused": MEMORY_USED,
        "swaptotal": SWAP_TOTAL,
        "swapused": 0,
        "total": ROOT_TOTAL,
        "used": ROOT_USED,
    }
