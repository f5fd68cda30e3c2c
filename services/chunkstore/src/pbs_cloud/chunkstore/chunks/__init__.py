"""The process that moves chunk bytes: checks them, claims their digests, writes and serves them (formats 1.7, 9.9)."""
