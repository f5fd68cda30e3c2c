"""The settings of every process: environment variables of rest-api D.13 and those of the deployment.

`load_settings()` is the way in: a wrong value raises `ConfigError`, which names the variable.
"""

import hashlib
import ipaddress
import os
import re
import socket
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pbs_cloud.runtime import database_urls
from pbs_cloud.runtime.addresses import Endpoint, Services, parse_endpoint, parse_target
from pbs_cloud.runtime.errors import ConfigError

_STORE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{2,31}")
_TENANT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_DEFAULT_STORE = "default"
_RUN_PATH_LIMIT = 72  # what a socket's path leaves of 107 bytes for the longest name below


def _default_data_dir() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/pbs-cloud")
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "pbs-cloud"


class Settings(BaseSettings):
    """All settings; immutable. An empty variable counts as not set."""

    model_config = SettingsConfigDict(env_prefix="PBS_", env_ignore_empty=True, frozen=True, extra="ignore")

    # The public port and what it shows.
    listen_addr: str = Field("0.0.0.0:8007", description="listen address of the public port")
    tls_disabled: bool = Field(False, description="any value: plain HTTP")
    tls_cert: Path | None = Field(None, description="certificate chain, PEM")
    tls_key: Path | None = Field(None, description="private key, PEM")
    metrics_public: bool = Field(True, description="unauthenticated /metrics on the public port")
    dashboard_enabled: bool = Field(False, description="status page at GET /")
    rate_limit_enabled: bool = Field(True, description="request limits (rest-api D.11)")
    gateway_workers: int = Field(default_factory=lambda: min(max(os.cpu_count() or 2, 2), 8), ge=1, le=64)
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="networks whose PROXY-protocol header is believed, comma-separated"
    )

    # First start.
    default_tenant: str = Field("default", description="id of the built-in tenant")
    datastores: Annotated[tuple[str, ...], NoDecode] = Field((), description="more datastores, comma-separated")
    print_root_token: bool = Field(True, description="print the root token at first start")
    root_token_file: Path | None = Field(None, description="file that receives the root token's secret")

    # Storage.
    data_dir: Path = Field(default_factory=_default_data_dir, description="local storage and state")
    s3_bucket: str | None = Field(None, description="bucket; switches object storage on")
    s3_region: str = "us-east-1"
    s3_endpoint: str | None = None
    s3_prefix: str = ""
    aws_access_key_id: str | None = Field(None, validation_alias="AWS_ACCESS_KEY_ID")
    aws_secret_access_key: SecretStr | None = Field(None, validation_alias="AWS_SECRET_ACCESS_KEY")
    worm_enabled: bool | None = Field(None, description="lock new snapshots; also on when the days are set")
    worm_retention_days: int | None = Field(None, ge=1, le=36_500, description="how long new snapshots are locked")
    worm_allow_override: bool = False
    encryption_key: SecretStr | None = None
    encryption_key_file: str | None = None

    # Logins.
    openid_allow_internal: bool = Field(False, description="OpenID providers at internal addresses, and without TLS")
    openid_redirect_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="origins (https://host[:port]) that OpenID logins may return to, comma-separated; empty: any"
    )

    # Jobs and billing.
    gc_enabled: bool = True
    gc_disabled: bool = Field(False, description="any value switches automatic collection off too")
    gc_interval_hours: int = Field(24, ge=1)
    gc_grace_seconds: float = Field(86_400.0, ge=0, description="least time between unreferenced and deleted")
    webhook_receiver_secret: SecretStr | None = None
    webhook_allow_internal: bool = Field(False, description="webhooks may go to internal addresses and plain HTTP")
    secret_key_file: Path | None = Field(None, description="keys for stored secrets: 64 hexadecimal digits a line")
    trusted_ca_file: Path | None = Field(None, description="authorities beside the system's: webhooks, OpenID (PEM)")

    # Where the parts are. Empty: embedded (URLs) or a unix socket in the run directory (services).
    database_url: SecretStr | None = None
    auth_database_url: SecretStr | None = None
    chunkstore_database_url: SecretStr | None = None
    gc_database_url: SecretStr | None = None
    billing_database_url: SecretStr | None = None
    nats_url: str | None = None
    run_dir: Path | None = None
    auth_addr: str | None = None
    chunks_addr: str | None = None
    catalogue_addr: str | None = None
    gc_addr: str | None = None
    billing_addr: str | None = None
    chunks_shm_addr: str | None = Field(None, description="socket for chunk buffers; one host only, 'off' disables")
    mtls_cert: Path | None = None
    mtls_key: Path | None = None
    mtls_ca: Path | None = None

    # Observation.
    health_addr: str | None = Field(None, description="address of /health, /ready and /metrics of one supervisor")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"
    otlp_endpoint: str | None = Field(None, description="OpenTelemetry collector; tracing is off without it")
    shutdown_seconds: float = Field(5.0, ge=0, le=86_400, description="limit for sessions that still run at a stop")

    # Set by the supervisor for each process.
    worker_index: int = Field(0, ge=0)
    process_name: str = "pbs-cloud"

    @field_validator("tls_disabled", "gc_disabled", mode="before")
    @classmethod
    def _any_value(cls, value: Any) -> bool:
        return value is not None and value is not False

    @field_validator("datastores", "trusted_proxies", "openid_redirect_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            ipaddress.ip_network(text, strict=False)
        return value

    @field_validator("datastores")
    @classmethod
    def _store_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _STORE_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no datastore name (3 to 32 of letters, digits, '.', '_', '-')")
        return value

    @field_validator("default_tenant")
    @classmethod
    def _tenant_name(cls, value: str) -> str:
        if not _TENANT_NAME.fullmatch(value):
            raise ValueError("no tenant id (letters, digits, '.', '_', '-')")
        return value

    @field_validator("listen_addr", "health_addr")
    @classmethod
    def _endpoint(cls, value: str | None) -> str | None:
        if value is not None:
            parse_endpoint(value)
        return value

    @field_validator("auth_addr", "chunks_addr", "catalogue_addr", "gc_addr", "billing_addr")
    @classmethod
    def _target(cls, value: str | None) -> str | None:
        if value is not None:
            parse_target(value)
        return value

    @field_validator("nats_url")
    @classmethod
    def _nats(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme not in ("nats", "tls") or not urlsplit(value).hostname):
            raise ValueError("must look like nats://host:4222")
        return value

    @field_validator(
        "database_url", "auth_database_url", "chunkstore_database_url", "gc_database_url", "billing_database_url"
    )
    @classmethod
    def _postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            database_urls.check(value.get_secret_value())
        return value

    @field_validator("s3_endpoint", "otlp_endpoint")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise ValueError("must be an http or https URL")
        return value

    @field_validator("tls_cert", "tls_key", "mtls_cert", "mtls_key", "mtls_ca", "trusted_ca_file")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None and not os.access(value, os.R_OK):
            raise ValueError(f"cannot read {value}")
        return value

    @field_validator("data_dir", "run_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("encryption_key", "encryption_key_file")
    @classmethod
    def _no_server_side_encryption(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError("server-side encryption is not available; unset it (clients can encrypt)")
        return value

    @field_validator("worm_allow_override")
    @classmethod
    def _no_override(cls, value: bool) -> bool:
        if value:
            raise ValueError("retention per backup is not available; unset it")
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.worm_enabled and self.worm_retention_days is None:
            raise ValueError("PBS_WORM_RETENTION_DAYS: must be set together with PBS_WORM_ENABLED")
        _all_or_none(PBS_TLS_CERT=self.tls_cert, PBS_TLS_KEY=self.tls_key)
        _all_or_none(PBS_MTLS_CERT=self.mtls_cert, PBS_MTLS_KEY=self.mtls_key, PBS_MTLS_CA=self.mtls_ca)
        if self.s3_bucket:
            _all_or_none(AWS_ACCESS_KEY_ID=self.aws_access_key_id, AWS_SECRET_ACCESS_KEY=self.aws_secret_access_key)
        return self

    @property
    def listen(self) -> Endpoint:
        """Host and port of the public port."""
        return parse_endpoint(self.listen_addr)

    @property
    def health(self) -> Endpoint | None:
        """Host and port of the supervisor's health page."""
        return None if self.health_addr is None else parse_endpoint(self.health_addr)

    @property
    def all_datastores(self) -> tuple[str, ...]:
        """`default` and the further ones, each once."""
        return tuple(dict.fromkeys((_DEFAULT_STORE, *self.datastores)))

    @property
    def automatic_gc(self) -> bool:
        """Whether garbage collection runs by itself."""
        return self.gc_enabled and not self.gc_disabled

    @property
    def retention_days(self) -> int | None:
        """How long new snapshots are locked; None: not at all. Setting the days alone switches it on."""
        return None if self.worm_enabled is False else self.worm_retention_days

    @property
    def run_path(self) -> Path:
        """Folder of the unix sockets: `PBS_RUN_DIR`, else `run` in the data folder; a temporary one if too long."""
        run = self.run_dir or self.data_dir / "run"
        if len(os.fsencode(run)) <= _RUN_PATH_LIMIT:
            return run
        digest = hashlib.sha256(os.fsencode(run)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"pbs-cloud-{os.geteuid()}-{digest}"

    @property
    def secret_key_path(self) -> Path:
        """File with the key for stored secrets; made in the data folder unless one is set."""
        return self.secret_key_file or self.data_dir / "secrets.key"

    @property
    def host_name(self) -> str:
        """Name of this machine, as certificates and tasks show it."""
        return socket.gethostname()

    @property
    def services(self) -> Services:
        """Addresses of all services, with the defaults in the run directory filled in."""
        run = self.run_path
        return Services(
            auth=self.auth_addr or f"unix:{run}/auth.sock",
            chunks=self.chunks_addr or f"unix:{run}/chunks.sock",
            catalogue=self.catalogue_addr or f"unix:{run}/catalogue.sock",
            gc=self.gc_addr or f"unix:{run}/gc.sock",
            billing=self.billing_addr or f"unix:{run}/billing.sock",
            chunks_shm=self._shm_path(),
        )

    def _shm_path(self) -> Path | None:
        if self.chunks_shm_addr == "off":
            return None
        if self.chunks_shm_addr:
            return Path(self.chunks_shm_addr.removeprefix("unix:"))
        if (self.chunks_addr or "unix:").startswith("unix:"):
            return self.run_path / "chunks-shm.sock"
        return None

    def database_url_for(self, service: str) -> str:
        """The URL with which `service` logs in as its own role.

        `PBS_<SERVICE>_DATABASE_URL` as it is; else `PBS_DATABASE_URL` with role `pbs_<service>` and its derived
        password.
        """
        own: SecretStr | None = getattr(self, f"{service}_database_url")
        if own is not None:
            return own.get_secret_value()
        return database_urls.for_service(self.admin_database_url, service)

    @property
    def admin_database_url(self) -> str:
        """`PBS_DATABASE_URL`; the supervisor sets it for its children when the database is embedded."""
        if self.database_url is None:
            raise ConfigError("PBS_DATABASE_URL: must be set when a service runs alone")
        return self.database_url.get_secret_value()

    @property
    def required_nats_url(self) -> str:
        """`PBS_NATS_URL`; the supervisor sets it for its children when NATS is embedded."""
        return self._require_nats()

    def _require_nats(self) -> str:
        if self.nats_url is None:
            raise ConfigError("PBS_NATS_URL: must be set when a service runs alone")
        return self.nats_url

    def require_external_parts(self, service: str) -> None:
        """Refuse to run `service` alone without the addresses it needs.

        Raises:
            ConfigError: names the variable.
        """
        if service in database_urls.SERVICES_WITH_SCHEMA:
            self.database_url_for(service)
        self._require_nats()


def _all_or_none(**values: object) -> None:
    missing = [name for name, value in values.items() if value is None]
    if missing and len(missing) < len(values):
        raise ValueError(f"{', '.join(missing)}: must be set together with {', '.join(values.keys() - set(missing))}")


def variable_name(field: str) -> str:
    """The environment variable of a settings field."""
    return field.upper() if field.upper().startswith("AWS_") else f"PBS_{field.upper()}"


def load_settings(**overrides: Any) -> Settings:
    """Read the environment.

    Raises:
        ConfigError: one line for each wrong variable, each beginning with its name.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise ConfigError("\n".join(_describe(item) for item in error.errors())) from None


def _describe(item: Any) -> str:
    text = str(item["msg"]).removeprefix("Value error, ")
    if not item["loc"]:
        return text
    shown = "" if "key" in str(item["loc"][0]).lower() or "url" in str(item["loc"][0]) else f" (is {item['input']!r})"
    return f"{variable_name(str(item['loc'][0]))}: {text}{shown}"
