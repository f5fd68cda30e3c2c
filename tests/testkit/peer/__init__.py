"""A second PBS as sync peer: pulls from and pushes to the product with the calls of wire-protocol 7, in their order."""

from testkit.peer.pull import Pull
from testkit.peer.push import Push
from testkit.peer.replica import Place, Replica, SnapshotCopy

__all__ = ["Place", "Pull", "Push", "Replica", "SnapshotCopy"]
