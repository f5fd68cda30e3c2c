"""What the services promise each other: errors, rights, events and one typed client per service."""
