"""What happens in a world: drawn from a seed, readable, and cut down to what a failure needs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

CHUNKS = 8
GROUPS = 3
NAMESPACES = ("", "a", "b")
_GUESTS = 0x6E57
_SHARE_OF_GUESTS = 0.1


@dataclass(frozen=True, slots=True)
class Op:
    """Something that somebody does at a time, or that befalls somebody."""

    kind: str
    at: float
    args: dict[str, Any]

    def to_json(self) -> list[Any]:
        return [self.kind, round(self.at, 3), self.args]


@dataclass(frozen=True, slots=True)
class Script:
    """A world and its story. The same script always ends the same."""

    seed: int
    config: dict[str, Any]
    ops: tuple[Op, ...]

    def to_json(self) -> dict[str, Any]:
        return {"seed": self.seed, "config": self.config, "ops": [op.to_json() for op in self.ops]}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Script:
        return cls(found["seed"], found["config"], tuple(Op(*op) for op in found["ops"]))

    def without(self, positions: set[int]) -> Script:
        """The same without some of its operations."""
        return replace(self, ops=tuple(op for number, op in enumerate(self.ops) if number not in positions))


def draw(seed: int) -> Script:
    """The script of a seed."""
    rng = random.Random(seed)
    config = _config(rng)
    return Script(seed, config, _Story(rng, config, random.Random(seed ^ _GUESTS)).ops())


def _theme(rng: random.Random, config: dict[str, Any], universe: list[int], at: float) -> list[Op]:
    from testkit.simulator.themes import THEMES, Teller

    return rng.choice(THEMES)(Teller(rng, config, universe), at)


def _config(rng: random.Random) -> dict[str, Any]:
    s3 = rng.random() < 0.65
    several = 2 if s3 and rng.random() < 0.5 else 1
    skews = {}
    if rng.random() < 0.3:
        days = rng.choice((-86400.0, 86400.0))
        skews = {"gateway-0": days, "gc-0": -days}
        if s3:
            skews |= {"chunks-0": rng.choice((-800.0, 840.0)), "catalogue-0": rng.choice((-800.0, 840.0))}
    return {
        "backend": "s3" if s3 else "filesystem",
        "chunks": several,
        "catalogue": 2 if rng.random() < 0.3 else 1,
        "grace": rng.choice((0.0, 0.0, 5.0, 300.0)),
        "trouble": rng.choice((0.0, 0.0, 0.05, 0.2)) if s3 else 0.0,
        "network": rng.choice((0.0, 0.0, 0.0, 0.02)),
        "database": rng.choice((0.0, 0.0, 0.0, 0.01)),
        "pace": rng.choice((40.0, 600.0, 1200.0, 1200.0, 1200.0)),
        "skews": skews,
        "slow": rng.choice((0.0, 0.0, 0.0, 0.1)),
        "disk": rng.choice((0.002, 0.002, 0.002, 0.3)),
        "orphans": rng.random() < 0.15,
    }


class _Story:
    """Draws operations in rounds: what is in a round happens together. `guests`: decides about other servers."""

    def __init__(self, rng: random.Random, config: dict[str, Any], guests: random.Random) -> None:
        self._rng = rng
        self._guests = guests
        self._config = config
        self._calm = rng.random() < 0.3
        self._universe = rng.sample(range(CHUNKS), rng.randint(3, CHUNKS))
        self._groups = rng.randint(1, GROUPS)

    def ops(self) -> tuple[Op, ...]:
        found = self._drawn()
        if self._guests.random() < _SHARE_OF_GUESTS:
            found = self._with_guest(found)
        return tuple(self._with_times(sorted(found, key=lambda op: op.at)))

    def _with_guest(self, found: list[Op]) -> list[Op]:
        """Another server uses the store, in a story of its own or in the middle of this one."""
        from testkit.simulator.themes import Teller, mixed_mode, visit

        rng = self._guests
        tell = Teller(rng, self._config, self._universe)
        if rng.random() < 0.5:
            return mixed_mode(tell, 1.0)
        return [*found, *visit(tell, rng.choice(found).at + tell.soon())]

    def _drawn(self) -> list[Op]:
        rng, found, at = self._rng, list[Op](), 1.0
        if rng.random() < 0.7:
            if rng.random() < 0.6:
                self._config |= {"trouble": 0.0, "network": 0.0, "database": 0.0, "slow": 0.0, "disk": 0.002}
            found = _theme(rng, self._config, self._universe, at)
            noise = [self._any(at + rng.random() * 10.0) for _ in range(rng.choice((0, 0, 0, 1, 3)))]
            return [*found, *noise]
        for _ in range(rng.randint(1, 2)):
            found.append(self._backup(at, calm=True))
            at += rng.choice((0.1, 5.0))
        for _ in range(rng.randint(1, 4)):
            at += rng.choice((0.0, 0.5, 3.0, 70.0, 70.0, self._config["grace"] + 5))
            at += 2200.0 if rng.random() < 0.08 else 0.0
            spread = rng.choice((0.05, 0.5, 3.0, 30.0, 90.0))
            for _ in range(rng.randint(2, 6)):
                found.append(self._any(at + rng.random() * spread))
            at += spread
        return found

    def _with_times(self, ops: list[Op]) -> Iterator[Op]:
        """Backups in the order of their times; now and then a time is used again."""
        time, used = 1_700_000_000, dict[int, int]()
        for op in ops:
            if op.kind == "backup":
                group = op.args["group"]
                if group not in used or not (op.args.pop("again", False) or self._rng.random() < 0.05):
                    time += 1
                    used[group] = time
                op.args["time"] = used[group]
            if op.kind == "foreign":
                op.args["times"] = list(range(time + 1, time + 1 + len(op.args["groups"])))
                time += len(op.args["groups"])
            yield op

    def _any(self, at: float) -> Op:
        roll = self._rng.random()
        for limit, make in (
            (0.30, self._backup),
            (0.47, self._gc),
            (0.62, self._forget),
            (0.66, self._restore),
            (0.69, self._prune),
            (0.72, self._verify),
            (0.74, self._corrupt),
            (0.77, self._move),
        ):
            if roll < limit:
                return make(at)
        return self._gc(at) if self._calm else self._fault(at)

    def _think(self) -> list[float]:
        """Pauses of a client between its steps."""
        rng = self._rng
        return [rng.choice((0.0, 0.0, 0.0, 0.02, 0.3, 5.0, 40.0)) for _ in range(5)]

    def _backup(self, at: float, *, calm: bool = False) -> Op:
        rng = self._rng
        picks = rng.sample(self._universe, rng.randint(1, min(4, len(self._universe))))
        return Op("backup", at, {
            "gateway": rng.randint(0, 1), "group": rng.randrange(self._groups), "time": 0, "picks": picks,
            "keep": rng.choice((0, 255, 255, 0b10101, 0b1)), "think": [0.0] * 5 if calm else self._think(),
            "abort": rng.randint(1, 5) if not calm and rng.random() < 0.12 else 0,
        })  # fmt: skip

    def _gc(self, at: float) -> Op:
        rng = self._rng
        stop = rng.choice((0.0, 0.05, 1.0)) if rng.random() < 0.1 else None
        return Op("gc", at, {"worker": rng.randint(0, 1), "stop": stop})

    def _forget(self, at: float) -> Op:
        rng = self._rng
        which = rng.choice(("oldest", "newest", "newest", "all", "group"))
        return Op("forget", at, {"gateway": rng.randint(0, 1), "group": rng.randrange(self._groups), "which": which})

    def _restore(self, at: float) -> Op:
        rng = self._rng
        think = self._think()
        return Op("restore", at, {"gateway": rng.randint(0, 1), "group": rng.randrange(self._groups), "think": think})

    def _prune(self, at: float) -> Op:
        return Op("prune", at, {"worker": self._rng.randint(0, 1), "last": self._rng.randint(1, 2)})

    def _verify(self, at: float) -> Op:
        return Op("verify", at, {"worker": self._rng.randint(0, 1)})

    def _corrupt(self, at: float) -> Op:
        return Op("corrupt", at, {"chunk": self._rng.choice(self._universe), "gone": self._rng.random() < 0.3})

    def _move(self, at: float) -> Op:
        rng = self._rng
        return Op("move", at, {"gateway": rng.randint(0, 1), "group": rng.randrange(self._groups),
                               "to": rng.choice(NAMESPACES)})  # fmt: skip

    def _fault(self, at: float) -> Op:
        rng, s3 = self._rng, self._config["backend"] == "s3"
        names = ["chunks-0", "chunks-0", "catalogue-0", "catalogue-0", "gc-0", "gc-1", "gateway-0", "gateway-1"]
        kind = rng.choice(("kill", "kill", "kill", "pause", "pause", "cut", "storm", "host"))
        seconds = rng.choice((0.02, 0.3, 3.0, 30.0, 70.0, 130.0))
        if kind == "storm":
            return Op("storm", at, {"seconds": seconds, "trouble": rng.choice((0.1, 0.5, 1.0))})
        if kind == "host":
            if not s3:
                return Op(rng.choice(("power", "full")), at, {"seconds": seconds})
            kind = "pause"
        if kind == "pause":
            seconds = rng.choice((1.0, 30.0, 70.0, 130.0, 2200.0))
        if kind == "cut":
            pair = rng.choice((("gateway-0", "chunks-0"), ("gateway-1", "catalogue-0"), ("gc-0", "catalogue-0"),
                               ("gc-0", "chunks-0")))  # fmt: skip
            return Op("cut", at, {"pair": list(pair), "seconds": seconds})
        return Op(kind, at, {"name": rng.choice(names), "seconds": seconds})
