"""The settings, from the environment: ``RISK_REDIS_URL``, ``RISK_RATE_LIMIT`` and so on."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, RedisDsn, SecretStr, TypeAdapter
from pydantic_settings import BaseSettings, SettingsConfigDict

from riskscale import ArgumentError, Limit


def _limit(text: str) -> str:
    try:
        Limit.parse(text)
    except ArgumentError as error:
        raise ValueError(str(error)) from None
    return text


def _redis_url(url: SecretStr | None) -> SecretStr | None:
    if url is not None:
        try:
            TypeAdapter(RedisDsn).validate_python(url.get_secret_value())
        except ValueError:
            raise ValueError("must be a URL such as redis://host:6379/0") from None
    return url


class Settings(BaseSettings):
    """How the service runs. What is missing has a default; what is wrong is named."""

    model_config = SettingsConfigDict(env_prefix="RISK_", extra="forbid", hide_input_in_errors=True)

    redis_url: Annotated[SecretStr | None, AfterValidator(_redis_url)] = Field(
        default=None, description="None: an embedded server in this process, for a first look"
    )
    key_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9_.:-]*$")
    audit: Literal["redis", "sqlite"] | None = Field(default=None, description="None: redis where there is a server")
    audit_path: Path = Path("risk-audit.sqlite3")
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    replica: str = Field(default_factory=socket.gethostname, min_length=1, max_length=100)
    replicas: int = Field(default=1, ge=1, le=10_000, description="how many share a limit while Redis is gone")
    protections: bool = Field(default=True, description="False: to measure what they cost")

    rate_limit: Annotated[str, AfterValidator(_limit)] = "100/second burst=200"
    decision_seconds: float = Field(default=0.25, gt=0, le=60, description="for one decision of the rate limit")
    max_concurrent: int = Field(default=32, ge=1, le=10_000)
    max_queued: int = Field(default=1000, ge=0, le=1_000_000)
    tenant_concurrent: int = Field(default=16, ge=1)
    tenant_queued: int = Field(default=500, ge=0)
    lock_seconds: float = Field(default=10.0, gt=0.01, le=3600)
    wait_seconds: float = Field(default=5.0, ge=0, le=300, description="for another attempt at the same event")
    keep_seconds: float = Field(
        default=86_400.0, gt=0, le=31_536_000, description="how long an idempotency key is known"
    )
    model_seconds: float = Field(default=1.0, gt=0, le=300)
    publish_seconds: float = Field(default=1.0, gt=0, le=300)
    failure_threshold: int = Field(default=5, ge=1, le=1000)
    open_seconds: float = Field(default=5.0, gt=0, le=3600)
    partitions: int = Field(default=8, ge=1, le=1024)
    consume: bool = Field(default=True, description="False: the results are left to other replicas")
    handle_attempts: int = Field(default=10, ge=1, le=1_000_000, description="at a result, until it is put aside")
    max_body: int = Field(default=16_384, ge=256, le=10_000_000, description="bytes of a request")
    report_seconds: float = Field(default=5.0, ge=0.05, le=600, description="between two reports to the fleet")
    scale_to: int = Field(default=0, ge=0, le=1000, description="most replicas that the leader orders; 0: it does not")
    drain_seconds: float = Field(default=10.0, ge=0, le=600)

    @property
    def audits_to_sqlite(self) -> bool:
        """Whether the audit log is a file."""
        return self.audit == "sqlite" or (self.audit is None and self.redis_url is None)
