"""For each rule of the verdicts, as real processes: an extension that breaks it, and its neighbour that does not."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import attrs
import pytest
from simulator_kit import rules, script

from lambda_extension.simulator import Simulator
from lambda_extension.simulator._platform import _verdicts

# What the extensions below are written with.
KIT = """
import http.client, http.server, json, os, socket, sys, threading, time
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
me = {}
def call(method, path, body=None, **headers):
    api.request(method, path, body if body is None else json.dumps(body), me | headers)
    answer = api.getresponse()
    return answer.headers, answer.read()
def register(name=os.path.basename(sys.argv[0]), events=("INVOKE", "SHUTDOWN")):
    path = "/2020-01-01/extension/register"
    headers, _ = call("POST", path, {"events": events}, **{"Lambda-Extension-Name": name})
    me["Lambda-Extension-Identifier"] = headers["Lambda-Extension-Identifier"] or ""
def next_event():
    return json.loads(call("GET", "/2020-01-01/extension/event/next")[1])
def until_shutdown(each=lambda: None):
    while next_event()["eventType"] == "INVOKE":
        each()
def report(when):
    error = {"Lambda-Extension-Function-Error-Type": "Extension.NoKey"}
    call("POST", f"/2020-01-01/extension/{when}/error", {"errorMessage": "no key", "errorType": "NoKey"}, **error)
class Taker(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.on_delivery()
    def log_message(self, *_): pass
def listener(host="sandbox.localdomain", on_delivery=lambda: None):
    try:
        socket.gethostbyname(host)
    except OSError:
        host = "127.0.0.1"
    server = http.server.ThreadingHTTPServer((host, 0), Taker)
    server.on_delivery = on_delivery
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port
def free_port():
    with socket.create_server(("", 0)) as found:
        return found.getsockname()[1]
def subscribe(port, *types, host="sandbox.localdomain"):
    destination = {"protocol": "HTTP", "URI": f"http://{host}:{port}"}
    buffering = {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25}
    body = {"schemaVersion": "2022-12-13", "types": types or ("platform", "function")}
    call("PUT", "/2022-07-01/telemetry", body | {"destination": destination, "buffering": buffering})
"""

SUBSCRIBED = "register(); subscribe(listener()); until_shutdown()"
POLITE = "register(); until_shutdown()"
SAYS = "print('got it', flush=True)"
TELLS = f"on_delivery=lambda: {SAYS}"
LONG = "lambda: time.sleep(1)"


@attrs.frozen(kw_only=True)
class Case:
    """An extension that breaks a rule, one that does not, and where they run; `whole` is a file without the kit."""

    wrong: str
    right: str = SUBSCRIBED
    whole: bool = False
    also: tuple[str, ...] = ()
    init_timeout: float = 10.0
    timeout: float = 10.0


CASES = {
    "launch": Case(wrong="#!/no/such/python\n", whole=True),
    "wrong-name": Case(wrong="register('other'); until_shutdown()", right=POLITE),
    "never-registers": Case(wrong="time.sleep(60)", right=POLITE, init_timeout=1, timeout=1),
    # Time enough to register, even on a busy machine.
    "never-calls-next": Case(wrong="register(); time.sleep(60)", right=POLITE, init_timeout=4, timeout=1),
    "subscribes-late": Case(wrong="register(); next_event(); subscribe(listener()); until_shutdown()"),
    "wrong-host": Case(wrong="register(); subscribe(listener(), host='localhost'); until_shutdown()"),
    "port-9001": Case(wrong="register(); subscribe(9001); until_shutdown()", also=("listener-unreachable",)),
    "listens-everywhere": Case(wrong="register(); subscribe(listener('0.0.0.0')); until_shutdown()"),
    "loopback-only": Case(
        wrong="register(); subscribe(listener('127.0.0.1')); until_shutdown()", also=("listener-unreachable",)
    ),
    "listener-unreachable": Case(wrong="register(); subscribe(free_port()); until_shutdown()"),
    "feedback-loop": Case(
        wrong=f"register(); subscribe(listener({TELLS}), 'extension'); {SAYS}; until_shutdown({LONG})",
        right=f"register(); subscribe(listener(), 'extension'); until_shutdown(lambda: {SAYS})",
    ),
    "init-error": Case(wrong="register(); report('init'); sys.exit(1)"),
    "exit-error": Case(wrong="register(); next_event(); report('exit'); sys.exit(1)"),
    "exits-early": Case(
        wrong="register(); next_event(); sys.exit(0)", right="register(); until_shutdown(); sys.exit(0)"
    ),
    "exceeds-deadline": Case(
        wrong="register(); until_shutdown(lambda: time.sleep(60))",
        right="register(); until_shutdown(lambda: time.sleep(0.1))",
        also=("late-at-shutdown",),  # the reset shuts it down, and it sleeps on
        timeout=1,
    ),
    "late-at-shutdown": Case(
        wrong="register(); until_shutdown(); time.sleep(60)", right="register(); until_shutdown(); time.sleep(0.2)"
    ),
    "next-after-shutdown": Case(wrong="register(); until_shutdown(); next_event()"),
    "fails-at-shutdown": Case(wrong="register(); until_shutdown(); sys.exit(3)"),
}
FUNCTION = """
path = "/2018-06-01/runtime/invocation/"
while True:
    headers, _ = call("GET", path + "next")
    call("POST", path + headers["Lambda-Runtime-Aws-Request-Id"] + "/response", {})
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # they are processes: the backend of the simulator has tests of its own


async def broken_by(extension: Path, case: Case, *, right: bool) -> list[str]:
    """Run an extension, and return the rules that it breaks."""
    limits = {} if right else {"timeout": case.timeout, "init_timeout": case.init_timeout}
    async with Simulator([extension], **limits) as lambda_:  # type: ignore[arg-type]  # both are floats
        await lambda_.invoke()
        await lambda_.shutdown()
    assert {who for who, _ in rules(lambda_)} <= {extension.name}
    return [rule for _, rule in rules(lambda_)]


@pytest.mark.parametrize("rule", CASES)
async def test_who_breaks_a_rule_is_found(rule: str, tmp_path: Path) -> None:
    case = CASES[rule]
    extension = script(tmp_path / "x", KIT + case.wrong)
    if case.whole:
        extension.write_text(case.wrong)
    assert sorted(await broken_by(extension, case, right=False)) == sorted([rule, *case.also])


@pytest.mark.parametrize("rule", CASES)
async def test_its_neighbour_is_not(rule: str, tmp_path: Path) -> None:
    case = CASES[rule]
    assert await broken_by(script(tmp_path / "x", KIT + case.right), case, right=True) == []


@pytest.mark.parametrize(("start", "broken"), [("", []), ("sys.exit('no config')", ["function-init"])])
async def test_a_function_that_starts_and_one_that_does_not(start: str, broken: list[str], tmp_path: Path) -> None:
    function = script(tmp_path / "bootstrap", KIT + start + FUNCTION)
    async with Simulator(function=function) as lambda_:
        result = await lambda_.invoke()
    assert [rule for _, rule in rules(lambda_)] == broken
    assert (result.status == "success") is (broken == [])


def test_no_rule_is_left_out() -> None:
    """The second argument of each call that makes a finding, or the words of a choice between two."""
    known = set()
    for call in ast.walk(ast.parse(inspect.getsource(_verdicts))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "_find":
            match call.args[1]:
                case ast.Constant(value=rule):
                    known.add(rule)
    assert known | {"init-error", "exit-error"} == CASES.keys() | {"function-init"}
