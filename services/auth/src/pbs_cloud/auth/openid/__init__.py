"""Logins at OpenID Connect providers: realms, their configuration, and the authorization code flow."""
