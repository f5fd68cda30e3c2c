"""Whom this installation trusts when it calls others: receivers of webhooks, OpenID providers."""

import ssl

from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.runtime.settings import Settings


def outgoing_tls(settings: Settings) -> ssl.SSLContext:
    """TLS 1.2 or newer; names and certificates are checked against the system's authorities and the operator's own.

    Raises:
        ConfigError: `PBS_TRUSTED_CA_FILE` cannot be read or holds no certificate.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.trusted_ca_file is not None:
        try:
            context.load_verify_locations(cafile=settings.trusted_ca_file)
        except OSError as error:
            reason = "holds no certificate in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigError(f"PBS_TRUSTED_CA_FILE: {settings.trusted_ca_file}: {reason}") from error
    return context
