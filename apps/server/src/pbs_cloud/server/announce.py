"""What a person needs to know after the start, on standard output."""

import ipaddress
import sys

from pbs_cloud.runtime.settings import Settings

ROOT_AUTH_ID = "root@pam!root-token"


def public_host(settings: Settings) -> str:
    """The name under which this machine's port can be reached from here."""
    host = settings.listen.host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host or "localhost"
    if address.is_unspecified:
        return "localhost"
    return f"[{host}]" if address.version == 6 else host


def first_steps(settings: Settings, fingerprint: str | None, secret: str | None) -> str:
    """The lines to print; the secret only when it was made just now and may be printed."""
    address = f"{public_host(settings)}:{settings.listen.port}"
    scheme = "http" if settings.tls_disabled else "https"
    lines = ["", f"PBS Cloud is ready at {scheme}://{address}"]
    if fingerprint is not None:
        lines.append(f"Fingerprint: {fingerprint}")
    if secret is None:
        lines.append("The root token's secret was shown at the first start.")
        return "\n".join([*lines, ""])
    if not settings.print_root_token:
        lines.append(f"Root token: {ROOT_AUTH_ID} (secret not printed: PBS_PRINT_ROOT_TOKEN is off)")
        return "\n".join([*lines, ""])
    lines += [
        f"Root token: {ROOT_AUTH_ID}",
        f"Secret: {secret}",
        "",
        "The secret is shown this once. To back up with the stock client:",
        "",
        f"  export PBS_REPOSITORY='{ROOT_AUTH_ID}@{address}:default'",
        f"  export PBS_PASSWORD='{secret}'",
        f"  export PBS_FINGERPRINT='{fingerprint or ''}'",
        "  proxmox-backup-client backup etc.pxar:/etc",
        "",
    ]
    return "\n".join(lines)


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
