"""Proxies from the environment: as curl reads them, networks included, and none of them ends an invocation."""

from __future__ import annotations

from urllib.parse import urlsplit

import anyio
import anyio.abc
import pytest
from sinks_for_tests import REGISTRATION, logs

from lambda_extension.delivery import Delivery, HTTPSink, Retry
from lambda_extension.delivery._proxies import ProxyError, proxy_for

P = "http://proxy.test:3128"


@pytest.mark.parametrize(
    ("url", "variables", "expected"),
    [
        ("http://h.test", {}, None),
        ("http://h.test", {"http_proxy": P}, P),
        ("http://h.test", {"HTTP_PROXY": P}, P),
        ("http://h.test", {"HTTP_PROXY": "http://other", "http_proxy": P}, P),
        ("http://h.test", {"https_proxy": P}, None),
        ("https://h.test", {"HTTPS_PROXY": P}, P),
        ("https://h.test", {"ALL_PROXY": "socks5://s.test:1080"}, "socks5://s.test:1080"),
        ("https://h.test", {"ALL_PROXY": "socks5://s.test", "https_proxy": P}, P),
        ("https://h.test", {"https_proxy": "proxy.test:3128"}, P),
        ("https://h.test", {"https_proxy": " "}, None),
    ],
)
def test_the_proxy_of_a_url(url: str, variables: dict[str, str], expected: str | None) -> None:
    assert proxy_for(urlsplit(url), variables) == expected


@pytest.mark.parametrize(
    ("url", "listed", "direct"),
    [
        ("http://h.test", "h.test", True),
        ("http://H.test.", "h.TEST", True),
        ("http://a.h.test", "h.test", True),
        ("http://a.h.test", ".h.test", True),
        ("http://a.h.test", "*.h.test", True),
        ("http://ah.test", "h.test", False),
        ("http://h.test", "*", True),
        ("http://h.test", "x.test, h.test", True),
        ("http://h.test", "x.test h.test", True),
        ("http://h.test", ",", False),
        ("http://h.test", ".", False),
        ("http://h.test", "h.test:80", True),
        ("https://h.test", "h.test:80", False),
        ("http://h.test:8080", "h.test:8080", True),
        ("http://10.1.2.3", "10.0.0.0/8", True),
        ("http://11.1.2.3", "10.0.0.0/8", False),
        ("http://10.1.2.3", "10.1.2.3", True),
        ("http://10.1.2.3", "10.1.2.3:81", False),
        ("http://10.1.2.3", "h.test", False),
        ("http://h.test", "10.0.0.0/8", False),
        ("http://[::1]/", "[::1]", True),
        ("http://[::1]/", "::1", True),
        ("http://[::1]:81/", "[::1]:81", True),
        ("http://[::1]:81/", "[::1]:82", False),
        ("http://[fd00::5]/", "localhost,fd00::/8", True),
        ("http://[fd00::5]/", "[fd00::]/8", True),
        ("http://[fe00::5]/", "localhost,fd00::/8", False),
        ("http://h.test", "[", False),
    ],
)
def test_what_is_reached_directly(url: str, listed: str, direct: bool) -> None:
    assert (proxy_for(urlsplit(url), {"all_proxy": P, "NO_PROXY": listed}) is None) == direct


@pytest.mark.parametrize("value", ["http://", "http://h:x", "http://h:0", "ftp://secret@h", "http://[", "://secret"])
def test_a_proxy_that_is_none_is_named_by_its_variable_alone(value: str) -> None:
    with pytest.raises(ProxyError, match="HTTPS_PROXY is not") as caught:
        proxy_for(urlsplit("https://h.test"), {"HTTPS_PROXY": value})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "variables",
    [
        {"NO_PROXY": "localhost,fd00::/8"},
        {"NO_PROXY": "[::1]"},
        {"ALL_PROXY": "socks5://127.0.0.1:1"},
        {"ALL_PROXY": "socks4://127.0.0.1:1"},
        {"HTTPS_PROXY": "http://["},
        {"HTTPS_PROXY": "no\x7fproxy"},
        {"HTTPS_PROXY": "http://127.0.0.1:1"},
    ],
)
async def test_no_variable_ends_an_invocation(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    delivery = Delivery(HTTPSink("https://127.0.0.1:1/"), spill=None, retry=Retry(attempts=1))
    await delivery.init(REGISTRATION)
    await delivery.process(logs(1))
    with anyio.fail_after(5):
        await delivery.flush()
    figures = delivery.statistics()
    assert (figures.buffered, figures.failures) == (1, 1)


async def test_a_request_goes_through_the_proxy_with_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = []

    async def handle(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            requests.append(await stream.receive())
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        monkeypatch.setenv("http_proxy", f"http://user:pass@127.0.0.1:{port}")
        async with HTTPSink("http://collector.test/in") as sink:
            delivery = Delivery(sink, spill=None)
            await delivery.process(logs(1))
            await delivery.flush()
        tasks.cancel_scope.cancel()
    assert delivery.statistics().delivered == 1
    assert requests[0].startswith(b"POST http://collector.test/in HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjpwYXNz" in requests[0]
