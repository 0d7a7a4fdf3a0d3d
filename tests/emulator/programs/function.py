"""The function under test: prints text and JSON lines, logs, and answers who it was."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

logger = logging.getLogger()
logger.setLevel("INFO")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    for number in range(event["lines"]):
        line = f"{event['tag']} {number}"
        sys.stdout.write(f"text {line} {event.get('padding', '')}\n")
        sys.stdout.write(json.dumps({"json": line}) + "\n")
        sys.stdout.flush()
        if number % 50 == 49:
            time.sleep(event.get("pause", 0))  # as fast as the test says
    logger.info("logged %s 0", event["tag"])
    return {"requestId": context.aws_request_id, "arn": context.invoked_function_arn}
