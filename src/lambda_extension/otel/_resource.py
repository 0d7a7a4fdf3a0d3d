"""What telemetry is about: the function and its environment, in OpenTelemetry's terms. Pure."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from typing import Any

from lambda_extension._api._models import Registration
from lambda_extension._environment import Environment

_MIB = 1024 * 1024
# Where regions are in another partition than `aws`.
_PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov", "us-iso-": "aws-iso", "us-isob-": "aws-iso-b"}


def lambda_resource(
    registration: Registration,
    environment: Environment | None = None,
    *,
    service_name: str | None = None,
    more: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Describe a function by the semantic conventions for Lambda; what is not known is left out.

    https://opentelemetry.io/docs/specs/semconv/resource/faas/

    Args:
        registration: What the platform told the extension. With `account_id=True` it knows the account.
        environment: The environment's variables; by default those of this process.
        service_name: The service's name; by default the function's.
        more: Attributes that count more, such as those of `OTEL_RESOURCE_ATTRIBUTES`.
    """
    environment = environment or Environment.from_mapping()
    memory = environment.memory_size_mb
    name = registration.function_name or environment.function_name
    version = registration.function_version or environment.function_version
    known = {
        "service.name": name or "unknown_service",
        "service.instance.id": new_instance_id(),
        "cloud.provider": "aws",
        "cloud.platform": "aws_lambda",
        "cloud.region": environment.region,
        "cloud.account.id": registration.account_id,
        "cloud.resource_id": _function_arn(environment.region, registration.account_id, name, version),
        "faas.name": name,
        "faas.version": version,
        "faas.max_memory": None if memory is None else memory * _MIB,
        **(more or {}),
    }
    if service_name:
        known["service.name"] = service_name
    return {key: value for key, value in known.items() if value not in {None, ""}}


def named_account(values: Mapping[str, Any], arn: str) -> dict[str, Any]:
    """Describe a function with the account of an ARN that it was invoked by; where it is known, nothing changes."""
    account = (arn.split(":")[4:5] or [""])[0]
    if not account.isdecimal() or "cloud.account.id" in values:
        return dict(values)
    found = {
        "cloud.account.id": account,
        "cloud.resource_id": _function_arn(
            values.get("cloud.region"), account, values.get("faas.name"), values.get("faas.version")
        ),
    }
    return {**{key: value for key, value in found.items() if value is not None}, **values}


def new_instance_id() -> str:
    """Make an id of this environment, from the operating system: a snapshot's copies share all other randomness."""
    return str(uuid.UUID(bytes=os.urandom(16), version=4))


def _function_arn(region: str | None, account: str | None, name: str | None, version: str | None) -> str | None:
    """Return the function's ARN with its version; never the alias that it may have been invoked by."""
    if not (region and account and name):
        return None
    partition = next((found for prefix, found in _PARTITIONS.items() if region.startswith(prefix)), "aws")
    suffix = f":{version}" if version and version != "$LATEST" else ""
    return f"arn:{partition}:lambda:{region}:{account}:function:{name}{suffix}"
