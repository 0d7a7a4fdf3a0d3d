"""Requests of AWS's JSON services, signed (Signature Version 4) by the interpreter's own modules.

botocore signs too, but a layer would weigh sixteen megabytes more for it, and importing it takes longer than all else
that the extension does until it is ready. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import final
from urllib.parse import urlsplit

import attrs


@final
@attrs.frozen(kw_only=True)
class Credentials:
    """What signs.

    Attributes:
        key_id: The access key's id.
        secret_key: The secret access key.
        token: The session's token; None for keys that last.
    """

    key_id: str
    secret_key: str = attrs.field(repr=False)
    token: str | None = attrs.field(repr=False, default=None)


def signed(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    service: str,
    region: str,
    credentials: Credentials,
    now: datetime,
) -> dict[str, str]:
    """Return the headers of a POST to the root of a service, signature included.

    Args:
        url: The service's endpoint.
        headers: More headers, which are signed too.
        body: The request's body.
        service: The service's name, as it is signed.
        region: The region.
        credentials: What signs.
        now: The time, in UTC.
    """
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    token = {} if credentials.token is None else {"X-Amz-Security-Token": credentials.token}
    sent = {**headers, "Host": urlsplit(url).netloc, "X-Amz-Date": moment, **token}
    lower = sorted((name.lower(), value.strip()) for name, value in sent.items())
    names = ";".join(name for name, _ in lower)
    request = "\n".join(
        ("POST", "/", "", *(f"{name}:{value}" for name, value in lower), "", names, hashlib.sha256(body).hexdigest())
    )
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    credential = f"{credentials.key_id}/{scope}"
    authorization = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"
    return {**sent, "Authorization": authorization}
