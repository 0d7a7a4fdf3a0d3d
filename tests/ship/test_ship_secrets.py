"""Secrets by reference: from moto's server, and from one that refuses, throttles, hangs or says nonsense."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import anyio
import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from moto.server import ThreadedMotoServer

from http_servers import QuietHandler, serving
from lambda_extension.ship import _secrets
from lambda_extension.ship._references import Reference, reference_of
from lambda_extension.ship._secrets import fetch
from lambda_extension.ship._signing import Credentials, signed

KEYS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "eu-west-1"}


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def arns(moto: str) -> dict[str, str]:
    """Fill moto's stores, by boto3 itself."""
    given: dict[str, Any] = {"endpoint_url": moto, "aws_access_key_id": "k", "aws_secret_access_key": "s"}
    secrets = boto3.client("secretsmanager", region_name="eu-west-1", **given)
    other = boto3.client("secretsmanager", region_name="us-east-2", **given)
    parameters = boto3.client("ssm", region_name="eu-west-1", **given)
    parameters.put_parameter(Name="/loki/token", Value="from the store", Type="SecureString")
    secrets.create_secret(Name="binary", SecretBinary=b"\x00")
    told = json.dumps({"token": "by key", "port": 6514})
    return {
        "plain": secrets.create_secret(Name="plain", SecretString="a text\n")["ARN"],
        "object": secrets.create_secret(Name="prod/loki", SecretString=told)["ARN"],
        "elsewhere": other.create_secret(Name="elsewhere", SecretString="of another region")["ARN"],
    }


def reference(text: str) -> Reference:
    found = reference_of(text)
    assert found is not None
    return found


async def texts(*references: str, **variables: str) -> list[str]:
    """Fetch, and give the texts, or what the errors say."""
    asked = [reference(each) for each in references]
    with anyio.fail_after(30):
        found = await fetch(set(asked), KEYS | variables)
    return [str(found[each]) for each in asked]


async def test_what_references_refer_to_is_fetched(moto: str, arns: dict[str, str]) -> None:
    found = await texts(
        "secretsmanager:plain",
        arns["plain"],
        "secretsmanager:prod/loki#token",
        f"{arns['object']}#port",
        arns["elsewhere"],
        "ssm:/loki/token",
        AWS_ENDPOINT_URL=moto,
    )
    assert found == ["a text", "a text", "by key", "6514", "of another region", "from the store"]


async def test_what_cannot_be_had_is_said(moto: str, arns: dict[str, str]) -> None:
    asked = ["secretsmanager:nowhere", "ssm:/nowhere", "secretsmanager:plain#key", "secretsmanager:prod/loki#no"]
    found = await texts(*asked, "secretsmanager:binary", AWS_ENDPOINT_URL=moto)
    assert found == [
        "secretsmanager:nowhere cannot be read: there is none of this name in eu-west-1",
        "ssm:/nowhere cannot be read: there is none of this name in eu-west-1",
        "secretsmanager:plain#key: what is kept there is no JSON object with that key",
        "secretsmanager:prod/loki#no: what is kept there is no JSON object with that key",
        "secretsmanager:binary is binary: keep it as text",
    ]


class Answers:
    """A server that gives answers one after the other, the last again and again; None never answers."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes] | None] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.url = ""
        self.released = threading.Event()

    def next(self) -> tuple[int, bytes] | None:
        place = len(self.requests) - 1
        return self.answers[min(place, len(self.answers) - 1)]


@pytest.fixture
def aws() -> Iterator[Answers]:
    told = Answers()

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            self.read_body()
            self.do_GET()

        def do_GET(self) -> None:
            told.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            answer = told.next()
            if answer is None:
                told.released.wait(10)
                return
            self.answer(*answer)

    with serving(Handler) as told.url:
        try:
            yield told
        finally:
            told.released.set()


def fault(code: str) -> bytes:
    return json.dumps({"__type": f"com.amazonaws#{code}", "message": "canary4711"}).encode()


async def test_what_passes_is_tried_again(aws: Answers) -> None:
    good = (200, json.dumps({"SecretString": "at last"}).encode())
    aws.answers = [(400, fault("ThrottlingException")), (503, b""), (200, b"no JSON"), good]
    assert await texts("secretsmanager:x", AWS_ENDPOINT_URL_SECRETS_MANAGER=aws.url) == ["at last"]
    assert len(aws.requests) == 4


@pytest.mark.parametrize(
    "answer", [["canary4711"], "canary4711", {}, {"Parameter": None}, {"Parameter": {"Value": 4711}}]
)
async def test_an_answer_of_somebody_else_is_told_as_such(aws: Answers, answer: object) -> None:
    aws.answers = [(200, json.dumps(answer).encode())]
    told = "cannot be read: the answer is not one of"
    found = await texts("ssm:/x", "secretsmanager:y", AWS_ENDPOINT_URL=aws.url)
    assert found == [f"ssm:/x {told} ssm", f"secretsmanager:y {told} secretsmanager"]


async def test_what_is_refused_is_said_once_and_without_the_words_of_aws(aws: Answers) -> None:
    aws.answers = [(400, fault("AccessDeniedException"))]
    (told,) = await texts("ssm:/x", AWS_ENDPOINT_URL_SSM=aws.url)
    assert told == (
        "ssm:/x cannot be read: ssm answers AccessDeniedException: the function's role needs ssm:GetParameter, and "
        "kms:Decrypt for a key of your own"
    )
    aws.answers = [(403, b"<html>canary4711")]
    assert await texts("ssm:/x", AWS_ENDPOINT_URL=aws.url) == ["ssm:/x cannot be read: ssm answers status 403"]
    assert len(aws.requests) == 2


async def test_whoever_does_not_answer_is_waited_for_for_so_long(aws: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.answers = [None]
    monkeypatch.setattr(_secrets, "SECRETS_LIMIT", 0.2)
    assert await texts("ssm:/x", AWS_ENDPOINT_URL=aws.url) == ["ssm:/x cannot be read: no answer within 0.2 s"]


async def test_a_place_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_secrets, "THREAD_CONNECT_LIMIT", 4.9)  # as much as there is, so that it is not tried again
    (told,) = await texts("ssm:/x", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert told.startswith("ssm:/x cannot be read: http://127.0.0.1:9 does not answer (in a VPC")


async def test_without_credentials_or_region_it_is_said() -> None:
    bare = {"AWS_ACCESS_KEY_ID": ""}
    assert await texts("ssm:/x", **bare) == ["ssm:/x cannot be read: there are no AWS credentials"]
    assert await texts("ssm:/x", AWS_REGION="") == ["ssm:/x cannot be read: AWS_REGION is not set"]


async def test_the_credentials_of_snapstart_are_asked_for_where_lambda_says(
    aws: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"AccessKeyId": "AKID", "SecretAccessKey": "secret", "Token": "session"}
    aws.answers = [(200, json.dumps(keys).encode()), (200, json.dumps({"Parameter": {"Value": "v"}}).encode())]
    where = {
        "AWS_ACCESS_KEY_ID": "",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{aws.url}/2021-04-23/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "token",
        "AWS_ENDPOINT_URL": aws.url,
    }
    assert await texts("ssm:/x", **where) == ["v"]
    (path, asked), (_, sent) = aws.requests
    assert (path, asked["authorization"]) == ("/2021-04-23/credentials", "token")
    assert sent["x-amz-security-token"] == "session"
    assert "Credential=AKID/" in sent["authorization"]
    aws.answers = [(500, b"")]
    monkeypatch.setattr(_secrets, "THREAD_CONNECT_LIMIT", 4.9)
    (told,) = await texts("ssm:/x", **where)
    assert told == "ssm:/x cannot be read: the environment gives no AWS credentials"
    aws.answers = [(200, b"[]")]
    assert await texts("ssm:/x", **where) == [told]


@pytest.mark.parametrize("token", [None, "session/token=="])
@pytest.mark.parametrize("service", ["secretsmanager", "ssm"])
def test_signatures_are_those_of_botocore(service: str, token: str | None) -> None:
    url, body = f"https://{service}.eu-west-1.amazonaws.com", b'{"Name":"/a \xc3\xa9"}'
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AmazonSSM.GetParameter"}
    request = AWSRequest("POST", f"{url}/", headers=headers, data=body)
    SigV4Auth(BotoCredentials("AKID", "s/e+c", token), service, "eu-west-1").add_auth(request)
    ours = signed(
        url,
        headers,
        body,
        service=service,
        region="eu-west-1",
        credentials=Credentials(key_id="AKID", secret_key="s/e+c", token=token),
        now=datetime.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%S%z"),
    )
    assert ours["Authorization"] == request.headers["Authorization"]


@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("eu-west-1", "https://ssm.eu-west-1.amazonaws.com"),
        ("us-gov-west-1", "https://ssm.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "https://ssm.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_endpoints_of_regions(region: str, url: str) -> None:
    assert _secrets.endpoint("ssm", region, {}) == url
    assert boto3.client("ssm", region_name=region).meta.endpoint_url == url
