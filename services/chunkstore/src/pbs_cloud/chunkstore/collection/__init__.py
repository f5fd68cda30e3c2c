"""Garbage collection (formats 9.9): what the catalogue does of it, and the deletion in the process of the chunks."""
