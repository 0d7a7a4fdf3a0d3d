"""What telemetry is about: the function and its environment, in OpenTelemetry's terms."""

from __future__ import annotations

import uuid

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from lambda_extension._api._models import Registration
from lambda_extension._environment import Environment

SCOPE = InstrumentationScope("lambda_extension.otel")


def lambda_resource(registration: Registration, environment: Environment | None = None) -> Resource:
    """Describe a function by the semantic conventions for Lambda; what is not known is left out.

    `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` of the process count more, as for every OpenTelemetry SDK.
    https://opentelemetry.io/docs/specs/semconv/resource/faas/

    Args:
        registration: What the platform told the extension. With `account_id=True` it knows the account.
        environment: The environment's variables; by default those of this process.
    """
    environment = environment or Environment.from_mapping()
    memory = environment.memory_size_mb
    attributes = {
        "cloud.provider": "aws",
        "cloud.platform": "aws_lambda",
        "cloud.region": environment.region,
        "cloud.account.id": registration.account_id,
        "faas.name": registration.function_name or environment.function_name,
        "faas.version": registration.function_version or environment.function_version,
        "faas.max_memory": None if memory is None else memory * 1024 * 1024,
        "service.instance.id": str(uuid.uuid4()),
    }
    attributes["service.name"] = attributes["faas.name"]
    known = {name: value for name, value in attributes.items() if value not in {None, ""}}
    return Resource.create(known).merge(OTELResourceDetector().detect())
