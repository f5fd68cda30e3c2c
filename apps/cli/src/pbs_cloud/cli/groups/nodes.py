"""The server as a node."""

from typing import Any, Final

from pbs_cloud.cli.spec import Command, Param, choice, text
from pbs_cloud.cli.views import Column, Record, Table, View, duration, moment, share, size

TIMEFRAME: Final = choice(
    "timeframe", "how far back (hour)", ("hour", "day", "week", "month", "year", "decade"), default="hour"
)
CONSOLIDATION: Final = choice(
    "cf", "the average of each step, or its maximum (AVERAGE)", ("AVERAGE", "MAX"), default="AVERAGE"
)
STATUS_VIEW: Final = Record(
    (
        Column("Up for", "uptime", duration),
        Column("Load", "loadavg"),
        Column("CPU", "cpu", share),
        Column("I/O wait", "wait", share),
        Column("Memory", lambda row: _part(row["memory"])),
        Column("Swap", lambda row: _part(row["swap"])),
        Column("Root disk", lambda row: _part(row["root"])),
        Column("Processors", lambda row: f"{row['cpuinfo']['cpus']}, {row['cpuinfo']['model']}"),
        Column("Kernel", "kversion"),
        Column("Fingerprint", lambda row: row["info"]["fingerprint"]),
    )
)
TIME_VIEW: Final = Record((Column("Time", "time", moment), Column("Server's time zone", "timezone")))
LOAD_VIEW: Final = Table(
    (
        Column("Time", "time", moment),
        Column("CPU", "cpu", share, right=True),
        Column("Load", "loadavg", right=True),
        Column("Memory", "memused", size, right=True),
        Column("Disk", "used", size, right=True),
        Column("In/s", "netin", size, right=True),
        Column("Out/s", "netout", size, right=True),
    ),
    empty="no values",
)
LINES_VIEW: Final = Table((Column("Line", "n", right=True), Column("Text", "t")), empty="no lines")


def _part(area: dict[str, Any]) -> str:
    return f"{size(area['used'])} of {size(area['total'])}"


def _node(
    name: str, help: str, path: str | None = None, params: tuple[Param, ...] = (), view: View | None = None
) -> Command:
    """A call on the node, which goes by `localhost` at every server."""
    below = path or name
    return Command(
        name, help, "GET", f"nodes/localhost/{below}", params=params, view=view, covers=(f"GET nodes/{{node}}/{below}",)
    )


_NODES = Command("list", "Names of the nodes.", "GET", "nodes", view=Table((Column("Node", "node"),), empty="no nodes"))
_LOG_PARAMS: Final = (
    text("since", "from this time on"),
    text("until", "up to this time"),
    text("start", "skip so many lines"),
    text("limit", "most lines"),
    text("service", "only of this service"),
    text("lastentries", "only so many of the last lines"),
    text("startcursor", "from this position on"),
    text("endcursor", "up to this position"),
)
TOP: Final = {"nodes": _NODES}
GROUPS: Final = {
    "node": (
        _NODES,
        _node("status", "Load, memory, disks, certificate.", view=STATUS_VIEW),
        _node("load", "Load over time.", "rrd", (TIMEFRAME, CONSOLIDATION), LOAD_VIEW),
        _node("identity", "Id of this installation."),
        _node("subscription", "State of the subscription."),
        _node("time", "Clock and time zone.", view=TIME_VIEW),
        _node("config", "Configuration of the node."),
        _node("dns", "Name servers."),
        _node("network", "Network interfaces."),
        _node("services", "System services."),
        _node("disks", "Disks.", "disks/list"),
        _node("certificates", "Certificates.", "certificates/info"),
        _node("updates", "Packages to update.", "apt/update"),
        _node("packages", "Versions of packages.", "apt/versions"),
        _node("repositories", "Package repositories.", "apt/repositories"),
        _node("syslog", "System log.", params=_LOG_PARAMS, view=LINES_VIEW),
        _node("journal", "Journal.", params=_LOG_PARAMS),
    ),
}
