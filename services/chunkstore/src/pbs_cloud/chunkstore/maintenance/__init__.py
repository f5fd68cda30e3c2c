"""An operator's commands on whole datastores: adopt a directory, rebuild the catalogue, compare (formats 7.4)."""
