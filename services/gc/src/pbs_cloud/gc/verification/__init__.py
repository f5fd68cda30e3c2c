"""Verification of snapshots (formats 11)."""
