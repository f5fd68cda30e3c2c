"""The commands by concept. Each module has `TOP` (commands of the first level) and `GROUPS`."""
