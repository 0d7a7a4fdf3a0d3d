"""Registration, the state machine of an extension, init: items 1 to 19 and 47 to 50."""

from __future__ import annotations

import uuid
from typing import Any

import anyio

from conformance.platforms import Platform, holds

API = "/2020-01-01/extension"
REGISTER = f"{API}/register"
NEXT = f"{API}/event/next"


async def quiet() -> None:
    """Give time to what must not happen, and to a call that gets no answer yet; a platform announces neither."""
    await anyio.sleep(0.3)  # that nothing happens meanwhile is the subject


@holds()
async def test_register_without_a_name_is_refused(platform: Platform) -> None:
    async with platform.open() as lambda_:
        answer = await (await lambda_.extension()).call("POST", REGISTER, body={"events": []})
    assert (answer.status, answer.error_type) == (403, "Extension.InvalidExtensionName")


@holds()
async def test_register_with_a_body_of_the_wrong_shape_is_refused(platform: Platform) -> None:
    async with platform.open() as lambda_:
        one = await lambda_.extension()
        headers = {"Lambda-Extension-Name": "one.py"}
        bodies = [b"", b"[]", b"text", b'{"events":1}', b'{"events":[1]}', b'{"configurationKeys":["A"]}']
        answers = [await one.call("POST", REGISTER, headers=headers, body=body) for body in bodies]
    refused = [(answer.status, answer.error_type) for answer in answers]
    assert refused == [(403, "InvalidRequestFormat")] * len(bodies)


@holds()
async def test_unknown_event_is_refused_and_a_later_register_succeeds(platform: Platform) -> None:
    async with platform.open() as lambda_:
        one = await lambda_.extension()
        refused = await one.register("SHUTDOWN", "LUNCH")
        registered = await one.register("SHUTDOWN")
    assert (refused.status, refused.error_type) == (403, "Extension.InvalidEventType")
    assert registered.status == 200


@holds(emulator=("managed",), simulator=("managed",))
async def test_invoke_is_refused_on_managed_instances(platform: Platform) -> None:
    async with platform.open() as lambda_:
        answer = await (await lambda_.extension()).register("INVOKE", "SHUTDOWN")
    assert (answer.status, answer.error_type) == (403, "Extension.InvalidEventType")


@holds()
async def test_second_register_of_the_same_name_is_refused(platform: Platform) -> None:
    async with platform.open() as lambda_:
        one = await lambda_.extension()
        assert (await one.register("SHUTDOWN")).status == 200
        answer = await one.register("SHUTDOWN")
    assert (answer.status, answer.error_type) == (403, "Extension.InvalidExtensionState")


@holds()
async def test_internal_extension_may_not_ask_for_shutdown(platform: Platform) -> None:
    async with platform.open() as lambda_:
        answer = await (await lambda_.extension()).register("SHUTDOWN", name="inside")
    assert (answer.status, answer.error_type) == (403, "Extension.InvalidEventType")
    named = "No events allowed for internal extensions" if lambda_.managed else "ShutdownEventNotSupported"
    assert named in answer.json["errorMessage"]


@holds()
async def test_register_answers_what_the_function_is(platform: Platform) -> None:
    async with platform.open() as lambda_:
        answer = await (await lambda_.extension()).register("SHUTDOWN")
    assert answer.status == 200
    assert uuid.UUID(answer.headers["Lambda-Extension-Identifier"]).version == 4
    assert set(answer.json) == {"functionName", "functionVersion", "handler"}
    assert answer.json["functionName"] == "test_function"
    assert answer.json["functionVersion"] == "$LATEST"


@holds()
async def test_register_answers_the_account_when_asked(platform: Platform) -> None:
    async with platform.open() as lambda_:
        one = await lambda_.extension()
        answer = await one.register("SHUTDOWN", headers={"Lambda-Extension-Accept-Feature": "future, accountId"})
    assert answer.json["accountId"] == "123456789012"


BAD_IDENTIFIERS = {
    "": "Extension.MissingExtensionIdentifier",
    "one": "Extension.InvalidExtensionIdentifier",
    "7f3a1c52-0000-4000-8000-000000000001": "Extension.UnknownExtensionIdentifier",
}


@holds()
async def test_call_with_a_bad_identifier_is_refused(platform: Platform) -> None:
    calls = [("GET", NEXT), ("POST", f"{API}/init/error"), ("POST", f"{API}/exit/error")]
    async with platform.open() as lambda_:
        one = await lambda_.extension()
        for method, path in calls:
            for identifier, error_type in BAD_IDENTIFIERS.items():
                headers = {"Lambda-Extension-Function-Error-Type": "Extension.Test"}
                if identifier:
                    headers["Lambda-Extension-Identifier"] = identifier
                answer = await one.call(method, path, headers=headers)
                assert (path, answer.status, answer.error_type) == (path, 403, error_type)


@holds()
async def test_second_next_at_a_time_is_refused(platform: Platform) -> None:
    async with platform.open("one.py", "two.py") as lambda_:
        one, pending = await lambda_.settled()
        await quiet()
        answer = await (await one.next()).answer()
        assert not pending.done.is_set()
    assert (answer.status, answer.error_type) == (403, "Extension.InvalidExtensionState")


@holds()
async def test_error_report_without_a_type_is_refused(platform: Platform) -> None:
    async with platform.open() as lambda_:
        one = await lambda_.extension()
        await one.register("SHUTDOWN")
        answers = [await one.call("POST", f"{API}/{when}/error") for when in ("init", "exit")]
    assert [(answer.status, answer.error_type) for answer in answers] == [(403, "Extension.MissingHeader")] * 2


@holds()
async def test_init_error_after_the_first_next_is_refused(platform: Platform) -> None:
    async with platform.open("one.py", "two.py") as lambda_:
        one, _ = await lambda_.settled()
        await quiet()
        answer = await one.report("init")
    assert (answer.status, answer.error_type) == (403, "Extension.InvalidExtensionState")


@holds()
async def test_init_error_fails_init_and_shows(platform: Platform) -> None:
    async with platform.open() as lambda_:
        one = await lambda_.extension()
        await one.register("SHUTDOWN")
        answer = await one.report("init", "Extension.ConfigInvalid")
        assert (answer.status, answer.json) == (202, {"status": "OK"})
        await one.exit(1)
        failure = await lambda_.init_failure()
    assert "Extension.InitError" in failure or "Extension.ConfigInvalid" in failure


@holds()
async def test_exit_error_ends_the_processes(platform: Platform) -> None:
    async with platform.open() as lambda_:
        one, _ = await lambda_.settled("one.py", "SHUTDOWN")
        runtime = await lambda_.runtime()
        answer = await one.report("exit", "Extension.Broken")
        assert (answer.status, answer.json) == (202, {"status": "OK"})
        second = await one.report("exit", "Extension.Broken")
        assert second.status == 202
        await one.exit(1)
        if not lambda_.managed:
            # An on-demand environment looks at the failure when it is next used.
            await lambda_.invoke()
        with anyio.fail_after(10):
            await runtime.gone.wait()


@holds()
async def test_runtime_starts_once_all_extensions_have_registered(platform: Platform) -> None:
    async with platform.open("one.py", "two.py") as lambda_:
        await lambda_.settled("one.py")
        two = await lambda_.extension("two.py")
        await quiet()
        assert lambda_.stage.started("bootstrap") == 0
        await two.register("SHUTDOWN")
        await lambda_.runtime()


@holds(emulator=("on-demand",))
async def test_init_ends_once_all_have_asked_for_next(platform: Platform) -> None:
    async with platform.open("one.py", "two.py") as lambda_:
        await lambda_.settled("one.py", "SHUTDOWN")
        two = await lambda_.extension("two.py")
        # Without any event it must ask all the same.
        await two.register()
        await lambda_.runtime()
        invocation = lambda_.first or lambda_.begin()
        await quiet()
        assert not invocation.done.is_set()
        await two.next()
        assert (await invocation.value()).error == ""


@holds()
async def test_extension_that_never_asks_for_next_fails_init(platform: Platform) -> None:
    async with platform.open(timeout=1) as lambda_:
        one = await lambda_.extension()
        await one.register()
        failure = await lambda_.init_failure()
    assert failure


SEEN = {
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "PATH",
    "CUSTOMER",
}
SEEN_ON_LAMBDA = {"AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_DEFAULT_REGION", "TZ"}
HIDDEN = {
    "AWS_EXECUTION_ENV",
    "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
    "_CUSTOMER",
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "_LAMBDA_TELEMETRY_LOG_FD",
}
CUSTOMER = {"CUSTOMER": "1", "_CUSTOMER": "2"}


@holds()
async def test_environment_has_what_an_extension_sees(platform: Platform) -> None:
    async with platform.open(environment=CUSTOMER) as lambda_:
        one = await lambda_.extension()
    assert set(one.environment) >= SEEN
    assert ":" in one.environment["AWS_LAMBDA_RUNTIME_API"]
    assert "/" not in one.environment["AWS_LAMBDA_RUNTIME_API"]


@holds()
async def test_environment_has_what_real_lambda_adds(platform: Platform) -> None:
    async with platform.open(environment=CUSTOMER) as lambda_:
        one = await lambda_.extension()
    assert set(one.environment) >= SEEN_ON_LAMBDA


@holds()
async def test_environment_lacks_what_only_the_runtime_sees(platform: Platform) -> None:
    async with platform.open(environment=CUSTOMER) as lambda_:
        one = await lambda_.extension()
    assert not HIDDEN & set(one.environment)


@holds()
async def test_environment_lacks_log_names_and_concurrency(platform: Platform) -> None:
    async with platform.open(environment=CUSTOMER) as lambda_:
        one = await lambda_.extension()
    leaks = {"AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_MAX_CONCURRENCY"}
    assert not leaks & set(one.environment)


@holds()
async def test_unknown_path_is_not_found(platform: Platform) -> None:
    calls = [("POST", f"{REGISTER}/"), ("GET", f"{NEXT}/"), ("PUT", "/2022-07-01/telemetry/"), ("GET", f"{API}/x")]
    async with platform.open() as lambda_:
        one = await lambda_.extension()
        assert [(await one.call(*call)).status for call in calls] == [404] * 4


@holds()
async def test_wrong_method_is_not_allowed(platform: Platform) -> None:
    paths = [("GET", REGISTER), ("POST", NEXT), ("GET", f"{API}/init/error"), ("POST", "/2022-07-01/telemetry")]
    async with platform.open() as lambda_:
        one = await lambda_.extension()
        assert [(await one.call(*call)).status for call in paths] == [405] * 4


@holds()
async def test_eleventh_extension_is_refused(platform: Platform) -> None:
    names = [f"extension{number}.py" for number in range(11)]
    async with platform.open(*names, timeout=3) as lambda_:
        failure = await lambda_.init_failure()
    assert "TooManyExtensions" in failure


@holds()
async def test_eleventh_registration_is_refused(platform: Platform) -> None:
    async with platform.open() as lambda_:
        one = await lambda_.extension()
        answers: list[Any] = [await one.register(name=f"inside{number}") for number in range(10)]
    assert [answer.status for answer in answers] == [200] * 9 + [403]
    assert answers[-1].error_type == "Extension.TooManyExtensions"
