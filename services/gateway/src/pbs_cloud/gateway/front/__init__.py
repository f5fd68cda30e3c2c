"""The public port: TLS, HTTP/1.1 heads, upgrades to sessions, everything else to the REST workers (wire-protocol 1)."""
