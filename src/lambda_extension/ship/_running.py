"""The ready-made extension itself: the processors that the variables ask for, run until the environment ends."""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lambda_extension._api._models import TelemetrySubscription
from lambda_extension._environment import Environment
from lambda_extension._session._open import open_extension
from lambda_extension.early import sent_name
from lambda_extension.processing import run_telemetry
from lambda_extension.ship._configuration import Configuration, ConfigurationError, Destination, read
from lambda_extension.telemetry import ReceiverSettings

if TYPE_CHECKING:
    from lambda_extension.records import Record, Sample, Transform

logger = logging.getLogger("lambda_extension.ship")


async def ship(variables: Mapping[str, str]) -> None:
    """Run until SHUTDOWN, SIGTERM or SIGINT. Once it runs, nothing that fails ends the function's environment.

    Args:
        variables: The environment's.

    Raises:
        ConfigurationError: Variables are wrong, or what they refer to is; Lambda has been told.
        NotInLambdaError: No runtime API is known.
        LambdaExtensionError: The platform refused, or failed.
    """
    place: dict[str, Any] = {
        "account_id": True,  # OTLP names it; what has registered already asked for it too
        "runtime_api": variables.get("AWS_LAMBDA_RUNTIME_API"),
        "environment": Environment.from_mapping(variables),
    }
    try:
        configuration = read(variables)
    except ConfigurationError as error:
        # Lambda is told of it by what has registered.
        async with open_extension(name=sent_name() or variables.get("LAMBDA_EXTENSION_NAME"), **place):
            raise error from None
    for warning in configuration.warnings:
        logger.warning("%s", warning)
    asked = {source for each in configuration.destinations for source in each.settings["sources"]}
    direct = importlib.util.find_spec("httptools") is not None
    await run_telemetry(
        functools.partial(processors, configuration, variables),
        flush=configuration.policy,
        on_error="degrade",
        telemetry=TelemetrySubscription(types=["platform", "function", *({"extension"} & asked)]),
        receiver=ReceiverSettings(server="direct" if direct else "hypercorn"),
        name=sent_name() or configuration.name,
        **place,
    )


async def processors(configuration: Configuration, variables: Mapping[str, str]) -> list[object]:
    """Make what takes the telemetry of each destination, once its secrets have been fetched.

    Raises:
        ConfigurationError: A secret cannot be had, or a destination cannot be made; all of them are told.
    """
    problems: list[str] = []
    made: list[object] = []
    for each in await _with_secrets(configuration, variables, problems):
        try:
            made.append(_processor(each, variables))
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(problems)
    return made


async def _with_secrets(
    configuration: Configuration, variables: Mapping[str, str], problems: list[str]
) -> list[Destination]:
    """Return the destinations with what their secrets refer to, but for those where something is wrong with one."""
    secrets = [secret for each in configuration.destinations for secret in each.secrets.values()]
    if not secrets:
        return list(configuration.destinations)
    from lambda_extension.ship._secrets import fetch  # for whoever has references

    found = await fetch({secret.reference for secret in secrets}, variables)
    problems += [f"{each.name}: {text}" for each in secrets if isinstance(text := found[each.reference], ValueError)]
    texts = {reference: text for reference, text in found.items() if isinstance(text, str)}
    whole = []
    for each in configuration.destinations:
        if all(secret.reference in texts for secret in each.secrets.values()):
            try:
                whole.append(each.with_secrets(texts))
            except ConfigurationError as error:
                problems += error.problems
    return whole


def _processor(destination: Destination, variables: Mapping[str, str]) -> object:
    kind = destination.kind
    if kind.module is not None and importlib.util.find_spec(kind.module) is None:
        package = f"--ship {kind.name}, or install lambda-extension[{kind.extra}]"
        problem = (
            f"LAMBDA_EXTENSION_DESTINATIONS has {destination.name}, which needs {kind.module}: package it by {package}"
        )
        raise ConfigurationError([problem])
    transforms = transforms_of(destination.settings)
    try:
        if kind.make is None:
            return _opentelemetry(destination, transforms, variables)
        return _delivery(destination, transforms)
    except ValueError as error:
        # What only the sink knows, or one of OpenTelemetry's variables, which the message then names.
        raise ConfigurationError([f"the destination {destination.name} cannot be made: {error}"]) from None


def _delivery(destination: Destination, transforms: list[Transform | Sample]) -> object:
    from lambda_extension.delivery import Delivery, Spill  # after register
    from lambda_extension.records import LineSettings

    assert destination.kind.make is not None
    spill = destination.settings["spill"]
    return Delivery(
        destination.kind.make(**destination.arguments),
        name=destination.name,
        transforms=transforms,
        lines=LineSettings(parse_json=True),
        spill=None if spill == "off" else Spill(durable=spill == "durable"),
    )


def _opentelemetry(
    destination: Destination, transforms: list[Transform | Sample], variables: Mapping[str, str]
) -> object:
    from lambda_extension.otel import OpenTelemetryProcessor  # for whoever asks for it
    from lambda_extension.otel._variables import signal_settings
    from lambda_extension.records import LineSettings

    port = destination.arguments.get("receive")
    for signal in destination.arguments["signals"]:
        url = urlsplit(signal_settings(signal, variables, endpoint=destination.arguments.get("endpoint")).url)
        if port is not None and url.port == port and url.hostname in {"localhost", "127.0.0.1", "::1"}:
            # The function's exporter and this one read the same variables.
            problem = f"LAMBDA_EXTENSION_OTLP_RECEIVE={port} would receive what it sends: set LAMBDA_EXTENSION_OTLP_URL"
            raise ConfigurationError([problem])
    return OpenTelemetryProcessor(
        **destination.arguments,
        transforms=transforms,
        lines=LineSettings(parse_json=True),
        environment=Environment.from_mapping(variables),
        variables=variables,
    )


def transforms_of(settings: Mapping[str, Any]) -> list[Transform | Sample]:
    """Return what the records of a destination go through: what leaves some out first, redaction on what is left."""
    from lambda_extension import records  # after register

    wanted = frozenset(settings["sources"])

    def of_sources(record: Record) -> Record | None:
        return record if record.source in wanted else None

    found: list[Transform | Sample] = [records.named(of_sources, name=f"sources({','.join(settings['sources'])})")]
    if "level" in settings:
        found.append(records.at_least(settings["level"]))
    if "sample" in settings:
        found.append(records.sample(settings["sample"]))
    ready = {"email": records.EMAIL, "card": records.CARD, "aws_key": records.AWS_KEY, "bearer": records.BEARER}
    asked = settings["redact"]
    patterns: list[Any] = [pattern for name, pattern in ready.items() if name in asked or "all" in asked]
    patterns += [settings["redact_pattern"]] if "redact_pattern" in settings else []
    return [*found, records.redact(*patterns)] if patterns else found
