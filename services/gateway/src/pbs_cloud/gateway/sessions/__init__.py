"""Sessions on live connections: the protocol machines, the calls they ask for, leases, task logs."""
