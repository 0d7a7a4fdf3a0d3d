"""What references refer to, fetched from AWS Secrets Manager and the parameter store, at init and never again."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import anyio
import tenacity

from lambda_extension._budget import SECRETS_LIMIT, THREAD_CONNECT_LIMIT
from lambda_extension._threads import in_daemon_thread
from lambda_extension.ship._references import Reference
from lambda_extension.ship._signing import Credentials, signed

_TARGETS: Final = {"secretsmanager": "secretsmanager.GetSecretValue", "ssm": "AmazonSSM.GetParameter"}
_ACTIONS: Final = {"secretsmanager": "secretsmanager:GetSecretValue", "ssm": "ssm:GetParameter"}
_ABSENT: Final = frozenset({"ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound"})
_DENIED: Final = frozenset({"AccessDeniedException", "AccessDenied"})
_PASSING: Final = frozenset({"ThrottlingException", "TooManyUpdates", "InternalServiceError", "InternalServerError"})


class _PassingError(Exception):
    """What may be otherwise a moment later; its text is the reason."""


async def fetch(references: set[Reference], variables: Mapping[str, str]) -> dict[Reference, str | ValueError]:
    """Fetch what references refer to, side by side, each in a thread; takes 5 seconds at most.

    Args:
        references: They.
        variables: The environment's, for credentials, region and endpoints.

    Returns:
        The text of each, or why there is none. No error repeats what was fetched, or AWS's own words.
    """
    found: dict[Reference, str | ValueError] = {
        each: ValueError(f"{each} cannot be read: no answer within {SECRETS_LIMIT:g} s") for each in references
    }

    async def fetch_one(reference: Reference) -> None:
        try:
            found[reference] = await in_daemon_thread(_fetch, reference, variables)
        except ValueError as error:
            found[reference] = error

    with anyio.move_on_after(SECRETS_LIMIT):
        async with anyio.create_task_group() as tasks:
            for each in references:
                tasks.start_soon(fetch_one, each, name="lambda_extension.ship secret")
    return found


def _fetch(reference: Reference, variables: Mapping[str, str]) -> str:
    """Fetch one, in a thread; what passes is tried again as long as there is time for it."""
    trying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_PassingError),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=1.0),
        stop=tenacity.stop_after_delay(SECRETS_LIMIT - THREAD_CONNECT_LIMIT),
        reraise=True,
    )
    try:
        answer = trying(_ask, reference, variables)
    except _PassingError as error:
        msg = f"{reference} cannot be read: {error}"
        raise ValueError(msg) from None
    match answer:
        case {"SecretString": str(text)} | {"Parameter": {"Value": str(text)}}:
            pass
        case {"SecretBinary": _}:
            msg = f"{reference} is binary: keep it as text"
            raise ValueError(msg)
        case _:  # of who stands between, or of a stand-in
            msg = f"{reference} cannot be read: the answer is not one of {reference.service}"
            raise ValueError(msg)
    # A line break at the end, which editors and shells leave behind, is nobody's secret.
    return (text if reference.key is None else _value_of(text, reference)).strip()


def _value_of(text: str, reference: Reference) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict) or reference.key not in value:
        msg = f"{reference}: what is kept there is no JSON object with that key"
        raise ValueError(msg)
    found = value[reference.key]
    return found if isinstance(found, str) else json.dumps(found)


def _ask(reference: Reference, variables: Mapping[str, str]) -> object:
    region = reference.region or variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION")
    if not region:
        msg = f"{reference} cannot be read: AWS_REGION is not set"
        raise ValueError(msg)
    service = reference.service
    body = {"SecretId": reference.name} if service == "secretsmanager" else _parameter(reference.name)
    content = json.dumps(body).encode()
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": _TARGETS[service]}
    url = endpoint(service, region, variables)
    headers = signed(
        url, headers, content, service=service, region=region, credentials=_credentials(reference, variables),
        now=datetime.now(UTC),
    )  # fmt: skip
    request = urllib.request.Request(f"{url}/", content, headers)  # noqa: S310 - AWS's own, or what AWS_ENDPOINT_URL says
    try:
        status, answer = _exchange(urllib.request.build_opener(), request)
        told: object = json.loads(answer) if status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):  # out of reach, too late, cut off, or another's answer
        msg = f"{url} does not answer (in a VPC without a way out, it needs an endpoint)"
        raise _PassingError(msg) from None
    if status != 200:
        raise _refused(reference, region, status, answer)
    return told


def _exchange(opener: urllib.request.OpenerDirector, request: urllib.request.Request) -> tuple[int, bytes]:
    """Return the status and the body of an answer."""
    try:
        with opener.open(request, timeout=THREAD_CONNECT_LIMIT) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def _parameter(name: str) -> dict[str, Any]:
    return {"Name": name, "WithDecryption": True}


def _refused(reference: Reference, region: str, status: int, answer: bytes) -> Exception:
    """Return what an answer means; of its words only the code is told, since the rest is AWS's."""
    try:
        code = str(json.loads(answer)["__type"]).rpartition("#")[2]
    except (ValueError, KeyError, TypeError):
        code = f"status {status}"
    if code in _PASSING or status >= 500:
        return _PassingError(f"{reference.service} answers {code}")
    if code in _ABSENT:
        return ValueError(f"{reference} cannot be read: there is none of this name in {region}")
    action = _ACTIONS[reference.service]
    mend = f": the function's role needs {action}, and kms:Decrypt for a key of your own" if code in _DENIED else ""
    return ValueError(f"{reference} cannot be read: {reference.service} answers {code}{mend}")


def endpoint(service: str, region: str, variables: Mapping[str, str]) -> str:
    name = {"secretsmanager": "AWS_ENDPOINT_URL_SECRETS_MANAGER", "ssm": "AWS_ENDPOINT_URL_SSM"}[service]
    given = variables.get(name) or variables.get("AWS_ENDPOINT_URL")
    suffix = ".cn" if region.startswith("cn-") else ""
    return given.rstrip("/") if given else f"https://{service}.{region}.amazonaws.com{suffix}"


def _credentials(reference: Reference, variables: Mapping[str, str]) -> Credentials:
    """Return the function's credentials: keys, or what the place gives that SnapStart has instead of them."""
    key_id, secret_key = variables.get("AWS_ACCESS_KEY_ID"), variables.get("AWS_SECRET_ACCESS_KEY")
    if key_id and secret_key:
        return Credentials(key_id=key_id, secret_key=secret_key, token=variables.get("AWS_SESSION_TOKEN") or None)
    url = variables.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if not url:
        msg = f"{reference} cannot be read: there are no AWS credentials"
        raise ValueError(msg)
    authorization = {"Authorization": variables.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")}
    request = urllib.request.Request(url, headers=authorization)  # noqa: S310 - Lambda's own
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is on this machine
    try:
        keys = json.loads(_exchange(opener, request)[1])
        return Credentials(key_id=keys["AccessKeyId"], secret_key=keys["SecretAccessKey"], token=keys.get("Token"))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        msg = "the environment gives no AWS credentials"
        raise _PassingError(msg) from None
