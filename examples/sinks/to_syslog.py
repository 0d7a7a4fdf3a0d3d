#!/usr/bin/env python3
# /// script
# dependencies = ["lambda-extension[delivery]"]
# ///
"""Deliver telemetry to a syslog receiver: RFC 5424 over TLS, or over TCP alone. Variables of the function:

SYSLOG_HOST, SYSLOG_PORT    the receiver
SYSLOG_TLS                  0 for TCP alone
"""

import os

import anyio

from lambda_extension import run_telemetry
from lambda_extension.delivery import Delivery
from lambda_extension.delivery.sinks import syslog
from lambda_extension.records import at_least, redact


async def main() -> None:
    host, port = os.environ["SYSLOG_HOST"], int(os.environ.get("SYSLOG_PORT", "6514"))
    sink = syslog(host, port, tls=os.environ.get("SYSLOG_TLS") != "0")
    await run_telemetry(Delivery(sink, transforms=[at_least("INFO"), redact()]))


if __name__ == "__main__":
    anyio.run(main)
