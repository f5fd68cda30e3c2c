"""Configured prune and verification jobs and when they run (rest-api C.11, C.12, D.9)."""
