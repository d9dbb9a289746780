"""Settings of a service: read once from `WINDTUNNEL_*` variables, all bad ones reported together."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from windtunnel.errors import InvalidInput

S = TypeVar("S", bound=BaseSettings)
PREFIX = "WINDTUNNEL_"


class InvalidSetting(InvalidInput):
    """A variable of the environment has a value that cannot be used."""

    code = "invalid_setting"


class ServiceSettings(BaseSettings):
    """What every service takes. Each field is the variable `WINDTUNNEL_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    home: Path = Field(Path("~/.windtunnel"), description="Folder for everything that a service keeps.")
    nats_url: str = Field(
        "nats://127.0.0.1:4222",
        description="The NATS server, nats:// or tls://; user:password@ in it is percent-encoded.",
    )
    nats_replicas: int = Field(1, ge=1, le=5, description="Copies of each stream; 3 in a cluster.")
    nats_max_bytes: int = Field(4 * 1024**3, ge=1024**2, description="Bytes that the event stream may take.")
    json_events: bool = Field(
        False, description="Also publish every event as JSON, on windtunnel.json.<thing>.<past verb>."
    )
    artifacts_url: str = Field("", description="Artifact store: a folder, s3://bucket/prefix?endpoint=..., gs://...")
    file_roots: str = Field(
        "", description="Folders that file:// URIs may name, in addition to <home>/inbox; ':' between them."
    )
    https_hosts: str = Field(
        "", description="Hosts that https:// URIs may name, ',' between them, each with its port unless it is 443."
    )
    catalog_file: str = Field(
        "",
        description="Catalog of base apps and benchmark binaries, a YAML file (docs/catalog.md); app_builder and "
        "farm_dispatcher read it.",
    )
    max_source_bytes: int = Field(20 * 1024**3, ge=1, description="Largest file that is fetched from a URI.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    grpc_port: int = Field(0, ge=0, le=65535, description="Port of the gRPC API; 0: any free one.")
    metrics_port: int = Field(0, ge=0, le=65535, description="Port of /metrics; 0: any free one.")
    log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="Least severe level that is logged."
    )
    slots: int = Field(1, ge=1, le=256, description="Jobs at once.")
    ack_wait_s: float = Field(30.0, gt=0.1, description="Lease of a message; renewed while its job runs.")
    attempts: int = Field(5, ge=1, le=100, description="Deliveries before a message is given up.")
    drain_s: float = Field(20.0, ge=0, description="Time that running jobs have after SIGTERM.")
    job_timeout_s: float = Field(900.0, gt=0, description="Time limit of native work on one input.")
    job_memory_mb: int = Field(6000, ge=64, description="Memory limit of native work on one input, in MB (10^6 bytes).")

    @property
    def home_folder(self) -> Path:
        """The folder of all local data, absolute."""
        return self.home.expanduser().absolute()

    @property
    def artifact_store(self) -> str:
        """URL of the artifact store; the folder `<home>/artifacts` if none is set."""
        return self.artifacts_url or str(self.home_folder / "artifacts")

    @property
    def catalog_path(self) -> Path | None:
        """File of the catalog; None: none is set."""
        return Path(self.catalog_file).expanduser() if self.catalog_file else None

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """Hosts that `https://` URIs may name."""
        return tuple(host.strip() for host in self.https_hosts.split(",") if host.strip())

    @property
    def allowed_roots(self) -> tuple[Path, ...]:
        """Folders that `file://` URIs may name."""
        roots = (Path(part) for part in self.file_roots.split(":") if part)
        return (self.home_folder / "inbox", *roots)


def load(kind: type[S]) -> S:
    """Reads settings from the environment.

    Args:
        kind: of the settings.

    Returns:
        The settings.

    Raises:
        InvalidSetting: some are wrong; the message names every bad variable.
    """
    try:
        return kind()
    except ValidationError as error:
        prefix = str(kind.model_config.get("env_prefix", ""))
        lines = [
            f"{prefix}{'.'.join(map(str, item['loc'])).upper()}={item.get('input')!r}: {item['msg']}"
            for item in error.errors()
        ]
        raise InvalidSetting(
            "settings: " + "; ".join(lines), hint="see the table of variables in docs/settings.md"
        ) from error
