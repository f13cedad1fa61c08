"""Settings of a service: from flags, then `DIPTYCH_<SERVICE>_<FIELD>`, then `DIPTYCH_<FIELD>`, then defaults."""

import ipaddress
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field, FilePath, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

MIB = 2**20
_PREFIX = "DIPTYCH_"


class ServiceConfig(BaseSettings):
    """What every service can be told. A service subclasses it: sets `service` and the default `port`, adds its own."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_ignore_empty=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        extra="ignore",
        frozen=True,
    )
    service: ClassVar[str] = "service"

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(0, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    metrics_port: int = Field(0, ge=0, le=65535, description="Port of the Prometheus metrics page; 0 serves none.")
    max_message_bytes: int = Field(64 * MIB, ge=1024, le=2**31 - 1, description="Largest message, both ways, bytes.")
    max_image_bytes: int = Field(32 * MIB, ge=1, description="Largest encoded image, bytes.")
    max_image_pixels: int = Field(50_000_000, ge=1, description="Largest image, pixels.")
    max_running: int = Field(4, ge=1, description="Requests at work at once.")
    max_queue: int = Field(64, ge=0, description="Requests that may wait; more are refused with a retry delay.")
    drain_seconds: float = Field(30.0, ge=0, description="Time for accepted work to finish at a stop, seconds.")
    log_format: Literal["text", "json"] = Field("text", description="Form of the log lines on stderr.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
    models: Path = Field(
        Path(__file__).resolve().parents[2] / "models", description="Folder of model folders with a manifest.toml."
    )
    cache: Path | None = Field(None, description="Folder of pulled models; default: the user's cache folder.")
    engine: Literal["auto", "onnx", "tensorrt", "fake"] = Field("auto", description="What runs the models.")
    threads: int = Field(0, ge=0, description="Threads an engine may use; 0 leaves it to the engine.")
    tls_cert: FilePath | None = Field(None, description="Certificate chain of this server, PEM.")
    tls_key: FilePath | None = Field(None, description="Private key of this server, PEM.")
    tls_client_ca: FilePath | None = Field(None, description="CA whose client certificates are demanded (mTLS), PEM.")
    tokens_file: FilePath | None = Field(None, description="Who may call: lines `name:sha256 of the token, hex`.")
    allow_insecure: bool = Field(False, description="Listen beyond this machine without TLS or without credentials.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Adds the service's own variables before the shared ones, so one environment can configure three services."""
        own = EnvSettingsSource(settings_cls, env_prefix=f"{_PREFIX}{cls.service.upper()}_")
        return init_settings, own, env_settings

    @property
    def tls(self) -> bool:
        """Whether the server speaks TLS."""
        return self.tls_cert is not None

    @model_validator(mode="after")
    def _check_access(self) -> "ServiceConfig":
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("--tls-cert and --tls-key go together: give both or neither")
        if self.tls_client_ca is not None and not self.tls:
            raise ValueError("--tls-client-ca needs --tls-cert and --tls-key")
        if self.allow_insecure or is_loopback(self.host):
            return self
        if not self.tls:
            raise ValueError(
                f"--host {self.host} can be reached from other machines: give --tls-cert and --tls-key, "
                "or --allow-insecure to serve it in the clear"
            )
        if self.tokens_file is None and self.tls_client_ca is None:
            raise ValueError(
                f"--host {self.host} can be reached from other machines: give --tokens-file or --tls-client-ca, "
                "or --allow-insecure to serve anyone"
            )
        return self


C = TypeVar("C", bound=ServiceConfig)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load_config(config_type: type[C], argv: Sequence[str] | None = None) -> C:
    """The settings from `argv` (default: the process's arguments) and the environment.

    A bad value is one line on stderr that names the flag, and SystemExit(2).
    """
    arguments: dict[str, Any] = {
        "_cli_parse_args": list(sys.argv[1:] if argv is None else argv),
        "_cli_prog_name": config_type.service,
        "_cli_exit_on_error": False,
    }
    try:
        return config_type(**arguments)
    except ValidationError as error:
        complaint = "; ".join(_describe(config_type, fault) for fault in error.errors(include_url=False))
    except SettingsError as error:
        complaint = str(error).removeprefix("error parsing CLI: ") + "; --help lists the flags"
    print(f"{config_type.service}: {complaint}", file=sys.stderr)
    raise SystemExit(2)


def _describe(config_type: type[ServiceConfig], fault: Any) -> str:
    message = str(fault["msg"]).removeprefix("Value error, ")
    if not fault["loc"]:
        return message
    field = str(fault["loc"][0])
    flag = f"--{field.replace('_', '-')}"
    names = f"{_PREFIX}{config_type.service.upper()}_{field.upper()} or {_PREFIX}{field.upper()}"
    return f"{flag} {fault['input']!s}: {message[:1].lower()}{message[1:]} (set by {flag}, {names})"
