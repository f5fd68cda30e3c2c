"""Settings: defaults of rest-api D.13, and a wrong value is named and refused."""

from pathlib import Path

import pytest

from pbs_cloud.runtime import database_urls
from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.runtime.settings import load_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.startswith(("PBS_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PBS_DATA_DIR", str(tmp_path))


def test_defaults() -> None:
    settings = load_settings()
    assert str(settings.listen) == "0.0.0.0:8007"
    assert settings.metrics_public
    assert not settings.dashboard_enabled
    assert settings.print_root_token
    assert (settings.s3_bucket, settings.s3_region, settings.s3_prefix) == (None, "us-east-1", "")
    assert settings.all_datastores == ("default",)
    assert settings.default_tenant == "default"
    assert settings.automatic_gc
    assert settings.gc_interval_hours == 24
    assert settings.rate_limit_enabled
    assert not settings.tls_disabled


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PBS_LISTEN_ADDR", "8007"),
        ("PBS_LISTEN_ADDR", "host:99999"),
        ("PBS_LISTEN_ADDR", "::1:8007"),
        ("PBS_METRICS_PUBLIC", "perhaps"),
        ("PBS_GC_INTERVAL_HOURS", "0"),
        ("PBS_GATEWAY_WORKERS", "many"),
        ("PBS_DATASTORES", "good,no/slash"),
        ("PBS_DEFAULT_TENANT", "../x"),
        ("PBS_DATABASE_URL", "mysql://x/y"),
        ("PBS_DATABASE_URL", "postgresql://host"),
        ("PBS_NATS_URL", "http://host"),
        ("PBS_S3_ENDPOINT", "host:9000"),
        ("PBS_TLS_CERT", "/nonexistent/file"),
        ("PBS_AUTH_ADDR", "unix:relative"),
        ("PBS_LOG_LEVEL", "loud"),
        ("PBS_ENCRYPTION_KEY", "00" * 32),
        ("PBS_ENCRYPTION_KEY_FILE", "/etc/key"),
        ("PBS_WORM_ALLOW_OVERRIDE", "true"),
        ("PBS_WORM_RETENTION_DAYS", "0"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"^{name}: "):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "missing"),
    [
        ("PBS_TLS_CERT", __file__, "PBS_TLS_KEY"),
        ("PBS_MTLS_CA", __file__, "PBS_MTLS_CERT"),
        ("PBS_WORM_ENABLED", "true", "PBS_WORM_RETENTION_DAYS"),
    ],
)
def test_what_belongs_together(monkeypatch: pytest.MonkeyPatch, name: str, value: str, missing: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=missing):
        load_settings()


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PBS_DATABASE_URL", "http://user:hunter2@host/db")
    monkeypatch.setenv("PBS_ENCRYPTION_KEY", "hunter2")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_switches_with_any_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PBS_TLS_DISABLED", "0")
    monkeypatch.setenv("PBS_GC_DISABLED", "no")
    settings = load_settings()
    assert settings.tls_disabled
    assert not settings.automatic_gc
    monkeypatch.setenv("PBS_TLS_DISABLED", "")
    assert not load_settings().tls_disabled


def test_datastores_are_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PBS_DATASTORES", "tank, default,archive")
    assert load_settings().all_datastores == ("default", "tank", "archive")


def test_sockets_are_in_the_run_folder_even_when_the_path_is_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert load_settings().services.auth == f"unix:{load_settings().run_path}/auth.sock"
    monkeypatch.setenv("PBS_DATA_DIR", str(tmp_path / ("x" * 120)))
    path = load_settings().services.chunks_shm
    assert path is not None
    assert len(str(path)) < 100


def test_each_service_logs_in_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PBS_DATABASE_URL", "postgresql://admin:s3cret@host:5433/cloud?sslmode=require")
    settings = load_settings()
    auth, billing = settings.database_url_for("auth"), settings.database_url_for("billing")
    assert auth.startswith("postgresql://pbs_auth:")
    assert auth.endswith("@host:5433/cloud?sslmode=require")
    assert "s3cret" not in auth
    assert auth.partition("@")[0].partition("pbs_auth:")[2] != billing.partition("@")[0].partition("pbs_billing:")[2]
    assert database_urls.for_service(auth, "auth") == auth
    monkeypatch.setenv("PBS_AUTH_DATABASE_URL", "postgresql://a:b@c/d")
    assert load_settings().database_url_for("auth") == "postgresql://a:b@c/d"


def test_a_service_alone_needs_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"^PBS_DATABASE_URL: "):
        load_settings().require_external_parts("auth")
    with pytest.raises(ConfigError, match=r"^PBS_NATS_URL: "):
        load_settings().require_external_parts("gateway")
