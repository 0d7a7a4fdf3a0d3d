"""The metadata endpoint, and the credentials that snap-start functions fetch; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from lambda_extension.simulator._apis._extensions import ApiError, Function

METADATA_PATH: Final = "/2026-01-15/metadata/execution-environment"
CREDENTIALS_PATH: Final = "/2021-04-23/credentials"
TOKEN: Final = "simulator"  # noqa: S105 - not a secret


def metadata(about: Function, headers: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
    """Return headers and body of what the environment is told of itself.

    Raises:
        ApiError: 401 without the token.
    """
    _check(headers.get("authorization", ""), f"Bearer {TOKEN}")
    zone = {"AvailabilityZoneID": f"{about.region}-az1"}
    return {"cache-control": "private, max-age=43200, immutable"}, json.dumps(zone, separators=(",", ":")).encode()


def credentials(headers: Mapping[str, str]) -> bytes:
    """Return the body of the function's credentials, none of which open anything.

    Raises:
        ApiError: 401 without the token.
    """
    _check(headers.get("authorization", ""), TOKEN)
    found = {"AccessKeyId": "simulator", "SecretAccessKey": "simulator", "Token": "simulator"}
    return json.dumps({**found, "Expiration": "2100-01-01T00:00:00Z"}, separators=(",", ":")).encode()


def _check(sent: str, wanted: str) -> None:
    if sent != wanted:
        raise ApiError(401, "Unauthorized", "The token is missing or wrong")
