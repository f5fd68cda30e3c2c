"""Configuration that is kept for clients: remotes, sync jobs and traffic rules (rest-api C.11, C.12)."""
