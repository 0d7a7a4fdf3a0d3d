"""The page for whoever comes from the Go module has each of its exported names, and what it says of fields is so."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT

import lambda_extension as root
from lambda_extension import logs, telemetry

PAGE = (ROOT / "docs/howto/migrate-from-go.md").read_text()
NAMES = Path(__file__).with_name("go_module_names.txt").read_text().split()
PACKAGES = sorted({name.partition(".")[0] for name in NAMES})
# Structures of the Go module, and the classes that have their fields.
CLASSES: dict[str, tuple[Any, ...]] = {
    "extapi.RegisterResponse": (root.Registration,),
    "extapi.NextEventResponse": (root.InvokeEvent, root.ShutdownEvent),
    "extapi.Tracing": (root.Tracing,),
    "extapi.LambdaAPIError": (root.APIError,),
    "extapi.LogsBufferingCfg": (root.Buffering,),
    "extapi.TelemetryBufferingCfg": (root.Buffering,),
    "extapi.LogsDestination": (root.Destination,),
    "extapi.TelemetryDestination": (root.Destination,),
    "extapi.LogsSubscribeRequest": (root.LogsSubscription,),
    "extapi.TelemetrySubscribeRequest": (root.TelemetrySubscription,),
    "telemetryapi.Event": (telemetry.PlatformReport,),
    "telemetryapi.RecordPlatformInitStart": (telemetry.InitStartRecord,),
    "telemetryapi.RecordPlatformInitRuntimeDone": (telemetry.InitRuntimeDoneRecord,),
    "telemetryapi.RecordPlatformInitReport": (telemetry.InitReportRecord,),
    "telemetryapi.RecordPlatformStart": (telemetry.StartRecord,),
    "telemetryapi.RecordPlatformRuntimeDone": (telemetry.RuntimeDoneRecord,),
    "telemetryapi.RecordPlatformReport": (telemetry.ReportRecord,),
    "telemetryapi.RecordPlatformExtension": (telemetry.ExtensionRecord,),
    "telemetryapi.RecordPlatformTelemetrySubscription": (telemetry.TelemetrySubscriptionRecord,),
    "telemetryapi.RecordPlatformLogsDropped": (telemetry.LogsDroppedRecord,),
    "telemetryapi.Span": (telemetry.Span,),
    "telemetryapi.TraceContext": (telemetry.TraceContext,),
    "telemetryapi.InitReportMetrics": (telemetry.InitReportMetrics,),
    "telemetryapi.RuntimeDoneMetrics": (telemetry.RuntimeDoneMetrics,),
    "telemetryapi.ReportMetrics": (telemetry.ReportMetrics,),
    "logsapi.Log": (telemetry.PlatformReport,),
    "logsapi.Metrics": (telemetry.ReportMetrics,),
    "logsapi.RecordPlatformStart": (telemetry.StartRecord,),
    "logsapi.RecordPlatformEnd": (logs.PlatformEndRecord,),
    "logsapi.RecordPlatformReport": (telemetry.ReportRecord,),
    "logsapi.RecordPlatformRuntimeDone": (telemetry.RuntimeDoneRecord,),
    "logsapi.RecordPlatformExtension": (telemetry.ExtensionRecord,),
    "logsapi.RecordPlatformLogsSubscription": (logs.LogsSubscriptionRecord,),
    "logsapi.RecordPlatformLogsDropped": (telemetry.LogsDroppedRecord,),
}


def told(section: str) -> set[str]:
    """Return the names in the first column of a section's table."""
    found = re.search(rf"^### {section}\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, section
    firsts = [line.split("|")[1] for line in found[1].splitlines() if line.startswith("| `")]
    return {name for first in firsts for name in re.findall(r"`([^`]+)`", first)}


def is_field(name: str) -> bool:
    return name.count(".") == 2 and not name.endswith("()")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_of_a_package_is_in_its_table(package: str) -> None:
    exported = {name.partition(".")[2] for name in NAMES if name.startswith(f"{package}.") and not is_field(name)}
    assert told(package) == exported


def names_of_fields(of: Any) -> set[str]:
    return {*inspect.signature(of).parameters, *(name for name in ("type",) if hasattr(of, name))}


def test_every_field_has_the_name_that_the_rule_gives_it_or_is_in_the_table() -> None:
    exceptions = told("Fields")
    unused = set(exceptions)
    for name in filter(is_field, NAMES):
        package, structure, field = name.split(".")
        unused.discard(f"{structure}.{field}")
        if f"{structure}.{field}" in exceptions:
            continue
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", field).lower()
        ours = {each for one in CLASSES[f"{package}.{structure}"] for each in names_of_fields(one)}
        assert ours & {snake, f"{snake}_ms"}, name
    assert not unused


def test_every_name_of_ours_in_the_tables_is_there() -> None:
    for full in set(re.findall(r"\{py:\w+\}`~lambda_extension\.([\w.]+)`", PAGE)):
        module, _, name = full.rpartition(".")
        of: Any = root
        if module:
            of = __import__(f"lambda_extension.{module}", fromlist=[name])
        assert hasattr(of, name), full
