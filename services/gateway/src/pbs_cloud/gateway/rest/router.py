"""The tree of API paths: look-up of endpoints and the index of every inner node (rest-api A.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pbs_cloud.gateway.rest.endpoint import Endpoint


@dataclass(slots=True)
class Branch:
    """A node of the tree. ``template`` is its path below the format; ``parameter`` the name of its variable child."""

    template: str = ""
    children: dict[str, Branch] = field(default_factory=dict)
    variable: Branch | None = None
    parameter: str = ""
    endpoints: dict[str, Endpoint] = field(default_factory=dict)

    def index(self) -> list[dict[str, str]]:
        """``subdir`` entries of the fixed children, sorted."""
        return [{"subdir": name} for name in sorted(self.children)]


@dataclass(frozen=True, slots=True)
class Match:
    """A path that exists, with the text of its variable segments."""

    branch: Branch
    matched: Mapping[str, str]


class Router:
    """All endpoints as one tree; a fixed segment wins over a variable one."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self.root = Branch()
        for endpoint in endpoints:
            self._add(endpoint)

    def find(self, segments: Sequence[str]) -> Match | None:
        """The node of a path below the format; None if there is no such path."""
        branch, matched = self.root, {}
        for segment in segments:
            child = branch.children.get(segment)
            if child is None:
                if branch.variable is None:
                    return None
                matched[branch.parameter] = segment
                child = branch.variable
            branch = child
        return Match(branch, matched)

    def _add(self, endpoint: Endpoint) -> None:
        branch = self.root
        for segment in endpoint.path.split("/"):
            template = f"{branch.template}/{segment}" if branch.template else segment
            if segment.startswith("{"):
                if branch.variable is None:
                    branch.variable, branch.parameter = Branch(template), segment[1:-1]
                if branch.parameter != segment[1:-1]:
                    raise ValueError(f"{endpoint.path}: {segment} is already {branch.parameter} there")
                branch = branch.variable
            else:
                branch = branch.children.setdefault(segment, Branch(template))
        if endpoint.method in branch.endpoints:
            raise ValueError(f"{endpoint.method} {endpoint.path} is registered twice")
        branch.endpoints[endpoint.method] = endpoint
