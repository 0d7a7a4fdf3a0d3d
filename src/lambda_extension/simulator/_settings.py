"""Settings of a simulation, and the environment variables that follow from them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

from lambda_extension.simulator._apis._extensions import Function
from lambda_extension.simulator._platform._delivery import DeliverySettings
from lambda_extension.simulator._platform._faults import Fault
from lambda_extension.simulator._platform._functions import ExtensionSpec

__all__ = ["Mode", "Settings"]

Mode: TypeAlias = Literal["on-demand", "snap-start", "managed-instances"]


@frozen(kw_only=True)
class Settings:
    """Everything that a simulation is told; times in seconds."""

    extensions: tuple[ExtensionSpec, ...]
    function: Any
    mode: Mode = "on-demand"
    timeout: float = 3.0
    init_timeout: float = 10.0
    memory_mb: int = 128
    concurrency: int = 1
    log_format: Literal["Text", "JSON"] = "Text"
    freeze: bool = False
    freeze_grace: float = 0.02
    telemetry_supported: bool = True
    delivery: DeliverySettings = field(factory=DeliverySettings)
    faults: Sequence[Fault] = ()
    about: Function = field(factory=Function)
    environment: Mapping[str, str] = field(factory=dict)
    record_limit: int = 20_000

    @property
    def managed(self) -> bool:
        """Whether this is Lambda Managed Instances."""
        return self.mode == "managed-instances"

    @property
    def initialization_type(self) -> str:
        """The value of AWS_LAMBDA_INITIALIZATION_TYPE."""
        return "lambda-managed-instances" if self.managed else self.mode

    def extension_environment(self, api: str) -> dict[str, str]:
        """Return what an external extension sees; nothing of the host but paths."""
        about = self.about
        customer = {key: text for key, text in self.environment.items() if key[:1] != "_"}
        variables = {
            **_host(),
            **customer,
            "AWS_LAMBDA_RUNTIME_API": api,
            "AWS_LAMBDA_INITIALIZATION_TYPE": self.initialization_type,
            "AWS_LAMBDA_FUNCTION_NAME": about.name,
            "AWS_LAMBDA_FUNCTION_VERSION": about.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory_mb),
            "AWS_REGION": about.region,
            "AWS_DEFAULT_REGION": about.region,
            "TZ": ":UTC",
        }
        if self.mode == "snap-start":
            uri = f"http://{api}/2021-04-23/credentials"
            variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = uri
            variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "simulator"  # noqa: S105 - not a secret
        else:
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
                variables[name] = "simulator"
        if self.managed:
            variables["AWS_LAMBDA_LOG_FORMAT"] = self.log_format
        return variables

    def runtime_environment(self, api: str, handler: str, task_root: str) -> dict[str, str]:
        """Return what the runtime sees."""
        known: tuple[Mapping[str, str], ...] = (self.environment, os.environ)
        variables = {
            **self.extension_environment(api),
            **self.environment,
            "_HANDLER": handler,
            "LAMBDA_TASK_ROOT": task_root,
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11",
            "AWS_LAMBDA_LOG_FORMAT": self.log_format,
            "PYTHONPATH": os.pathsep.join(filter(None, (task_root, *(at.get("PYTHONPATH") for at in known)))),
            "PYTHONUNBUFFERED": "1",
        }
        if self.mode != "snap-start":
            variables["AWS_LAMBDA_LOG_GROUP_NAME"] = f"/aws/lambda/{self.about.name}"
            variables["AWS_LAMBDA_LOG_STREAM_NAME"] = "simulator"
        if self.managed:
            variables["AWS_LAMBDA_MAX_CONCURRENCY"] = str(self.concurrency)
        return variables


def _host() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH", "HOME") if name in os.environ}
    return {**kept, "TMPDIR": tempfile.gettempdir()}
