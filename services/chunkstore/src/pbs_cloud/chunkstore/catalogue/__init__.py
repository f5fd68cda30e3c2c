"""The catalogue process: sessions, datastores, namespaces, groups, snapshots and tasks."""
