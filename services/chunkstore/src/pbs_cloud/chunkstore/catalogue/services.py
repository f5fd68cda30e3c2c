"""All services of the catalogue, put together once."""

from __future__ import annotations

from dataclasses import dataclass

from pbs_cloud.chunkstore.catalogue.background import Background
from pbs_cloud.chunkstore.catalogue.client_log import ClientLogs
from pbs_cloud.chunkstore.catalogue.closing import Closing
from pbs_cloud.chunkstore.catalogue.datastores import Datastores
from pbs_cloud.chunkstore.catalogue.finish import Finish
from pbs_cloud.chunkstore.catalogue.groups import Groups
from pbs_cloud.chunkstore.catalogue.leases import Leases
from pbs_cloud.chunkstore.catalogue.listing import Listings
from pbs_cloud.chunkstore.catalogue.moves import Moves
from pbs_cloud.chunkstore.catalogue.namespace_moves import NamespaceMoves
from pbs_cloud.chunkstore.catalogue.namespaces import Namespaces
from pbs_cloud.chunkstore.catalogue.open_backup import BackupOpening
from pbs_cloud.chunkstore.catalogue.open_reader import ReaderOpening
from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.pruning import Pruning
from pbs_cloud.chunkstore.catalogue.removal import Removal
from pbs_cloud.chunkstore.catalogue.session_files import SessionFiles
from pbs_cloud.chunkstore.catalogue.snapshots import Snapshots
from pbs_cloud.chunkstore.catalogue.status import StoreStatus
from pbs_cloud.chunkstore.catalogue.tasks import Tasks
from pbs_cloud.chunkstore.catalogue.upkeep import Upkeep


@dataclass(frozen=True, slots=True)
class Services:
    """One object for each concept."""

    opening: BackupOpening
    readers: ReaderOpening
    leases: Leases
    files: SessionFiles
    finish: Finish
    closing: Closing
    datastores: Datastores
    status: StoreStatus
    namespaces: Namespaces
    groups: Groups
    moves: Moves
    namespace_moves: NamespaceMoves
    snapshots: Snapshots
    pruning: Pruning
    logs: ClientLogs
    listings: Listings
    tasks: Tasks
    upkeep: Upkeep
    background: Background

    @classmethod
    def build(cls, parts: Parts) -> Services:
        removal = Removal(parts)
        closing = Closing(parts, removal)
        background = Background(parts)
        datastores = Datastores(parts, background)
        groups = Groups(parts, closing, removal)
        snapshots = Snapshots(parts, closing, removal)
        namespaces = Namespaces(parts, groups)
        moves = Moves(parts, closing, removal, background)
        return cls(
            opening=BackupOpening(parts, closing),
            readers=ReaderOpening(parts),
            leases=Leases(parts),
            files=SessionFiles(parts),
            finish=Finish(parts),
            closing=closing,
            datastores=datastores,
            status=StoreStatus(parts),
            namespaces=namespaces,
            groups=groups,
            moves=moves,
            namespace_moves=NamespaceMoves(parts, moves, namespaces, background),
            snapshots=snapshots,
            pruning=Pruning(parts, snapshots),
            logs=ClientLogs(parts, snapshots),
            listings=Listings(parts),
            tasks=Tasks(parts),
            upkeep=Upkeep(parts, closing, removal, datastores),
            background=background,
        )
