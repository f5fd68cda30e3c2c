"""Stories that lead to the places where rules matter; what exactly happens in them is drawn."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from testkit.simulator.script import Op

ALL = 255
LATE_SECONDS = 2100.0
"""Requests of ours can come so late: over a bucket another server begins after them."""
_OF_REIMPORT = ("select datastore", "insert snapshot", "insert snapshot_file", "update chunk", "insert backup_group")
CALM = [0.0] * 5


class Teller:
    """Makes operations of one world."""

    def __init__(self, rng: random.Random, config: dict[str, Any], universe: list[int]) -> None:
        self.rng = rng
        self.config = config
        self.universe = universe

    def backup(self, at: float, group: int, picks: list[int], *, keep: int = 0, think: list[float] | None = None) -> Op:
        return Op("backup", at, {
            "gateway": self.rng.randint(0, 1), "group": group, "time": 0, "picks": picks, "keep": keep,
            "think": think or CALM, "abort": 0,
        })  # fmt: skip

    def gc(self, at: float) -> Op:
        return Op("gc", at, {"worker": self.rng.randint(0, 1), "stop": None})

    def forget(self, at: float, group: int, which: str) -> Op:
        return Op("forget", at, {"gateway": self.rng.randint(0, 1), "group": group, "which": which})

    def soon(self, most: float = 3.0) -> float:
        """A little time, often very little."""
        return self.rng.random() * self.rng.choice((0.05, 0.3, most))

    def picks(self, least: int = 2) -> list[int]:
        return self.rng.sample(self.universe, self.rng.randint(min(least, len(self.universe)), len(self.universe)))

    def trap(self, at: float, name: str, title: str, what: str, seconds: float) -> Op:
        """`name` dies or stands still when it has done a statement `title` for the n-th time."""
        kind = self.rng.choice(("statement", "commit", "committed"))
        return Op("trap", at, {"name": name, "title": title, "kind": kind, "what": what, "seconds": seconds,
                               "count": self.rng.choice((1, 1, 1, 2, 3))})  # fmt: skip


def base_removed(tell: Teller, at: float) -> list[Op]:
    """A backup inherits from a base that somebody removes, while runs go by (R11, R12, R14)."""
    rng, group = tell.rng, 0
    pause = [rng.choice((0.3, 4.0)), rng.choice((0.0, 2.0)), 0.0, rng.choice((0.0, 0.0, 2.0)), 0.0]
    second = at + 3.0 + tell.soon()
    gone = second + 0.1 + tell.soon(1.5)
    runs = [tell.gc(gone + tell.soon(1.5) + 0.7 * number) for number in range(2)]
    return [
        tell.backup(at, group, tell.picks()),
        tell.gc(at + 1.5),
        tell.backup(second, group, tell.picks(1)[:1], keep=ALL, think=pause),
        tell.forget(gone, group, rng.choice(("oldest", "all"))),
        *runs,
        tell.gc(gone + 20.0),
    ]


def claimed_again(tell: Teller, at: float) -> list[Op]:
    """Chunks that nobody refers to are uploaded again while runs go by (R1 to R5)."""
    rng, chunks = tell.rng, tell.picks()
    pause = [0.0, rng.choice((0.3, 2.0, 4.0)), rng.choice((0.0, 2.0)), 0.0, 0.0]
    found = [tell.backup(at, 0, chunks)]
    if rng.random() < 0.6:
        found += [tell.gc(at + 1.5), tell.forget(at + 2.8, 0, "all")]
    else:
        found += [tell.forget(at + 1.5, 0, "all"), tell.gc(at + 2.5)]
    again = at + rng.choice((4.0, 6.0 + tell.config["grace"])) + tell.soon()
    if rng.random() < 0.4:
        name, title, kind = rng.choice((
            ("catalogue-0", "insert snapshot", "statement"), ("chunks-0", "update chunk", "statement"),
            ("catalogue-0", "update chunk", "statement"),
        ))  # fmt: skip
        found.append(tell.trap(again - 0.5, name, title, "pause", rng.choice((0.5, 2.0))))
        found[-1].args["kind"] = kind
    found += [tell.backup(again, 1, chunks, think=pause)]
    found += [tell.gc(again + tell.soon(3.0)) for _ in range(rng.randint(1, 3))]
    return [*found, tell.gc(again + 15.0 + tell.config["grace"])]


def successor_while_marking(tell: Teller, at: float) -> list[Op]:
    """A base vanishes between the list and the reading, right after its successor's commit (R23)."""
    rng, second = tell.rng, at + 3.0
    finish = second + 0.4 + tell.soon(1.0)
    return [
        tell.backup(at, 0, tell.picks()),
        tell.gc(at + 1.5),
        tell.backup(second, 0, tell.picks(1)[:1], keep=ALL, think=[finish - second, 0.0, 0.0, 0.0, 0.0]),
        tell.trap(finish - 0.3, f"catalogue-{rng.randint(0, 1)}", rng.choice(("update gc_run", "select snapshot")),
                  "pause", rng.choice((0.5, 3.0))),
        tell.gc(finish - 0.25 + tell.soon(0.5)),
        tell.forget(finish + 0.15 + tell.soon(1.0), 0, "oldest"),
        tell.gc(finish + 20.0),
    ]  # fmt: skip


def late_deletes(tell: Teller, at: float) -> list[Op]:
    """Deletions whose answers get lost, and uploads of the same chunks afterwards (R8, R9, R18)."""
    rng, chunks = tell.rng, tell.picks(3)
    found = [tell.backup(at, 0, chunks), tell.forget(at + 1.5, 0, "all")]
    found.append(
        Op("storm", at + 1.8, {"seconds": rng.choice((1.0, 8.0, 40.0)), "trouble": rng.choice((0.3, 0.6, 1.0))})
    )
    found += [tell.gc(at + 2.0), tell.gc(at + rng.choice((4.0, 30.0, 70.0)))]
    again = at + rng.choice((10.0, 32.0, 75.0, 90.0)) + tell.soon()
    found += [tell.gc(again - 1.0), tell.backup(again, 1, chunks)]
    return [*found, tell.gc(again + 20.0)]


def claimed_while_deleted(tell: Teller, at: float) -> list[Op]:
    """A claim comes in between the steps of a deletion (R2, R3)."""
    _two_writers(tell)
    chunks = tell.picks(3)
    trap = tell.trap(at + 1.9, "chunks-0", "update chunk", "pause", tell.rng.choice((0.5, 2.0)))
    trap.args["count"] = 1
    again = at + 2.3 + tell.soon(1.0)
    return [
        tell.backup(at, 0, chunks), tell.forget(at + 1.5, 0, "all"), trap, tell.gc(at + 2.0),
        tell.backup(again, 1, chunks), tell.gc(again + 20.0),
    ]  # fmt: skip


def _two_writers(tell: Teller) -> None:
    """Another replica goes on while one stands still; a directory has only one."""
    if tell.config["backend"] == "s3":
        tell.config["chunks"] = 2


def sleeping_sweeper(tell: Teller, at: float) -> list[Op]:
    """The process that deletes stands still between its transaction and its request, longer than Q (R9)."""
    _two_writers(tell)
    chunks, wake = tell.picks(3), tell.rng.choice((5.0, 70.0, 2300.0, 2300.0))
    trap = tell.trap(at + 1.9, "chunks-0", "update chunk", "pause", wake)
    trap.args["kind"] = "committed"
    trap.args["count"] = 1
    resumed = at + 2.0 + wake
    return [
        tell.backup(at, 0, chunks), tell.forget(at + 1.5, 0, "all"), trap, tell.gc(at + 2.0),
        tell.gc(resumed - 60.0 if wake > 2000 else at + 3.0), tell.backup(max(resumed - 30.0, at + 4.0), 1, chunks),
        tell.gc(resumed + 30.0),
    ]  # fmt: skip


def dying_writer(tell: Teller, at: float) -> list[Op]:
    """A chunk process or the whole host dies while chunks are written; others write the same (R7, R10, R13, R25)."""
    rng, chunks = tell.rng, tell.picks()
    pause = [0.0, rng.choice((0.0, 0.5, 3.0)), 0.0, rng.choice((0.0, 1.0)), 0.0]
    found = [tell.backup(at, 0, chunks, think=pause), tell.backup(at + tell.soon(1.0), 1, chunks, think=pause)]
    name = rng.choice(("chunks-0", "chunks-0", "catalogue-0"))
    if tell.config["backend"] == "filesystem" and rng.random() < 0.6:
        found.append(Op("power", at + tell.soon(6.0), {"seconds": 1.0}))
    elif rng.random() < 0.5:
        found.append(Op("kill", at + tell.soon(1.0), {"name": name, "seconds": rng.choice((0.1, 3.0))}))
    else:
        title = rng.choice(("union usable", "update chunk", "insert snapshot_file"))
        found.append(tell.trap(at, name, title, rng.choice(("kill", "pause")), rng.choice((0.1, 3.0, 75.0))))
    found += [tell.backup(at + 8.0 + tell.soon(), 0, chunks), tell.gc(at + 5.0 + tell.soon(80.0))]
    return found


def time_used_again(tell: Teller, at: float) -> list[Op]:
    """A backup breaks off, and its time is used again (R24)."""
    rng = tell.rng
    first = tell.backup(at, 0, tell.picks(), think=[0.0, 0.0, rng.choice((0.0, 1.0)), rng.choice((0.0, 30.0)), 0.0])
    first.args["abort"] = rng.choice((0, 3, 4))
    found = [first, Op("storm", at + 0.05 + tell.soon(0.5), {"seconds": rng.choice((1.0, 30.0)), "trouble": 0.7})]
    if rng.random() < 0.4:
        title = rng.choice(("select snapshot_file", "insert snapshot_file"))
        tell.config["catalogue"] = 2
        found.append(tell.trap(at, "catalogue-0", title, "pause", 110.0))
        found[-1].args["kind"] = "committed"
    elif rng.random() < 0.5:
        found.append(Op("pause", at + tell.soon(1.0), {"name": f"gateway-{first.args['gateway']}", "seconds": 75.0}))
    for wait in (rng.choice((3.0, 35.0, 80.0)), rng.choice((95.0, 120.0))):
        again = tell.backup(at + wait, 0, tell.picks())
        again.args["again"] = True
        found.append(again)
    return found


def dying_collector(tell: Teller, at: float) -> list[Op]:
    """The replica that drives a run dies in the middle of it, or is stopped; another takes over (R8, R22)."""
    rng, run = tell.rng, at + 2.0
    found = [tell.backup(at, 0, tell.picks()), tell.backup(at + 0.5, 1, tell.picks()), tell.forget(at + 1.5, 1, "all")]
    for number in range(2):
        moment = run + 90.0 * number
        op = tell.gc(moment)
        if rng.random() < 0.3:
            op.args["stop"] = tell.soon(0.5)
        else:
            name = f"gc-{op.args['worker']}"
            found.append(Op("kill", moment + tell.soon(0.5), {"name": name, "seconds": rng.choice((0.5, 70.0))}))
        found += [op, tell.backup(moment + tell.soon(1.0), rng.randint(0, 2), tell.picks())]
    return [*found, tell.gc(run + 200.0)]


def rot(tell: Teller, at: float) -> list[Op]:
    """An object is damaged, found, and healed by a backup, while runs go by (R21)."""
    rng, chunks = tell.rng, tell.picks()
    bad = rng.choice(chunks)
    return [
        tell.backup(at, 0, chunks),
        Op("corrupt", at + 1.0, {"chunk": bad, "gone": rng.random() < 0.3}),
        Op("verify", at + 1.5 + tell.soon(), {"worker": rng.randint(0, 1)}),
        tell.backup(at + 2.5 + tell.soon(), rng.randint(0, 1), chunks, keep=rng.choice((0, ALL))),
        tell.backup(at + 8.0, rng.randint(0, 1), chunks),
        tell.gc(at + 2.0 + tell.soon(8.0)),
    ]


def visit(tell: Teller, at: float) -> list[Op]:
    """Another server uses the store and gives it back; people take in what it has left."""
    rng, groups = tell.rng, tell.rng.sample(range(3), tell.rng.randint(1, 2))
    seconds = rng.choice((0.5, 30.0))
    back = at + (LATE_SECONDS if tell.config["backend"] == "s3" else seconds) + 0.5
    die = None
    if rng.random() < 0.5:
        kind, title = rng.choice(("statement", "commit", "committed")), rng.choice(_OF_REIMPORT)
        die = {"kind": kind, "title": title, "count": rng.choice((1, 1, 2))}
    return [
        Op("foreign", at, {
            "seconds": seconds, "groups": groups, "times": [], "snapshots": [tell.picks(1) for _ in groups],
            "unfinished": tell.picks() if rng.random() < 0.3 else [],
        }),
        Op("reimport", back + tell.soon(20.0), {"die": die, "patience": rng.choice((1, 10))}),
    ]  # fmt: skip


def mixed_mode(tell: Teller, at: float) -> list[Op]:
    """Before and after such a visit people back up, remove and collect, also while it is taken in."""
    rng = tell.rng
    found = [tell.backup(at, 0, tell.picks()), tell.backup(at + 0.5, 1, tell.picks())]
    found += [tell.forget(at + 1.5, rng.randint(0, 1), "all")] if rng.random() < 0.6 else []
    found += [tell.gc(at + 2.0 + tell.soon())] if rng.random() < 0.6 else []
    came = visit(tell, at + 4.0 + tell.soon())
    command = came[-1].at
    for _ in range(rng.randint(2, 6)):
        moment, group = command - 1.0 + tell.soon(4.0), rng.randint(0, 2)
        found.append(rng.choice((
            tell.backup(moment, group, tell.picks(1), keep=rng.choice((0, ALL))),
            tell.backup(moment, group, tell.picks(1), think=[0.0, rng.choice((0.5, 3.0)), 0.0, 0.0, 0.0]),
            tell.gc(moment),
            tell.forget(moment, group, rng.choice(("oldest", "all", "group"))),
            Op("prune", moment, {"worker": 0, "last": 1}),
            Op("move", moment, {"gateway": 0, "group": group, "to": rng.choice(("", "a", "b"))}),
            Op("kill", moment, {"name": rng.choice(("chunks-0", "catalogue-0", "gc-0")), "seconds": 0.5}),
            tell.trap(moment, "reimport", rng.choice(_OF_REIMPORT), "pause", rng.choice((0.5, 3.0, 70.0))),
        )))  # fmt: skip
    return [*found, *came, tell.gc(command + 30.0 + tell.config["grace"])]


THEMES: tuple[Callable[[Teller, float], list[Op]], ...] = (
    base_removed, claimed_again, claimed_while_deleted, successor_while_marking, late_deletes, sleeping_sweeper,
    dying_writer, time_used_again, dying_collector, rot,
)  # fmt: skip
