#!/usr/bin/env python3
# /// script
# dependencies = ["lambda-extension[delivery]"]
# ///
"""Ship lines, without DEBUG and e-mail addresses, to one backend, and a report of each invocation to another."""

import os

import anyio

from lambda_extension import delivery, records, run_telemetry


def deliveries() -> list[delivery.Delivery]:
    lines = [records.only(source="function"), records.at_least("INFO"), records.redact(records.EMAIL)]
    logs, reports = delivery.HTTPSink(os.environ["LOGS_URL"]), delivery.HTTPSink(os.environ["REPORTS_URL"])
    return [
        delivery.Delivery(logs, name="logs", transforms=lines),
        delivery.Delivery(reports, name="reports", transforms=[records.only(source="report")]),
    ]


if __name__ == "__main__":
    anyio.run(run_telemetry, deliveries)
