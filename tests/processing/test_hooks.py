"""What counts as a method of an extension or a processor, and what is refused before anything runs."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from lambda_extension import Extension, TelemetryProcessor, run, run_telemetry
from lambda_extension.delivery import Delivery, EndOfInvocation, HTTPSink
from lambda_extension.otel import OpenTelemetryProcessor
from lambda_extension.processing._hooks import hooks_of

EXAMPLES = Path(__file__).parents[2] / "examples"


async def do(*_: object) -> None:
    """Do nothing."""


def made(**methods: Any) -> object:
    """Make an object of a class with the given methods."""
    return type("Mine", (), methods)()


def test_an_object_of_any_class_has_the_methods_that_it_has() -> None:
    mine = made(init=do, flush=do, statistics=lambda _: 5, _process=do, aclose=do, send=do, process_batch=do)
    assert hooks_of(mine, TelemetryProcessor).keys() == {"init", "flush"}


def test_what_is_inherited_unchanged_is_not_there() -> None:
    class Mine(TelemetryProcessor):
        async def flush(self) -> None:
            """Do nothing in one's own way."""

    assert hooks_of(Mine(), TelemetryProcessor).keys() == {"flush"}
    mine = Mine()
    mine.init = do  # type: ignore[method-assign, assignment]
    assert hooks_of(mine, TelemetryProcessor).keys() == {"init", "flush"}


async def test_the_methods_of_the_base_classes_do_nothing() -> None:
    extension, processor, nothing = Extension(), TelemetryProcessor(), None
    for call in (
        extension.init(nothing),  # type: ignore[arg-type]
        extension.handle_invoke(nothing),  # type: ignore[arg-type]
        extension.background(),
        extension.shutdown(nothing, None),  # type: ignore[arg-type]
        processor.init(nothing),  # type: ignore[arg-type]
        processor.process([]),
        processor.process_event(nothing),  # type: ignore[arg-type]
        processor.flush(),
        processor.background(),
        processor.shutdown(nothing, None),  # type: ignore[arg-type]
    ):
        await call
    processor.record_overhead(1.0)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"flush": lambda _: None}, r"Mine.flush must be a coroutine function \(async def\)"),
        ({"flush": 5}, "Mine.flush must be a coroutine function"),
        ({"flush": do, "record_overhead": do}, r"Mine.record_overhead must be a plain function \(def\)"),
        ({"on_flush": do}, "Mine.on_flush would never be called: did you mean flush?"),
        ({"flush": do, "shut_down": do}, "did you mean shutdown?"),
        ({"process_events": do}, "did you mean process_event?"),
        ({"proces": do}, "did you mean process?"),
        (
            {},
            "none of the methods init, process, process_event, flush, background, record_invocation, record_overhead, ",
        ),
        ({"flush": None}, "Mine has none of the methods"),
    ],
)
async def test_what_would_never_be_called_is_refused_at_once(methods: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        await run_telemetry(made(**methods))


async def test_a_handler_of_a_wrong_name_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Mine.handle_invokes would never be called: did you mean handle_invoke?"):
        await run(made(init=do, handle_invokes=do))


@pytest.mark.parametrize("runner", [run, run_telemetry])
async def test_a_class_is_refused(runner: Any) -> None:
    class Mine(TelemetryProcessor):
        pass

    with pytest.raises(TypeError, match=r"Mine is a class: pass an instance, Mine\(\.\.\.\)"):
        await runner(Mine)


def test_what_resembles_a_method_that_is_there_is_a_helper() -> None:
    assert hooks_of(made(flush=do, do_flush=do, reflush=do), TelemetryProcessor).keys() == {"flush"}
    assert hooks_of(made(process=do, process_events=do), TelemetryProcessor).keys() == {"process"}
    assert hooks_of(made(process_event=do, processes=do), TelemetryProcessor).keys() == {"process_event"}


def test_a_method_may_be_whatever_gives_a_coroutine() -> None:
    class Callable:
        async def __call__(self) -> None:
            """Do nothing."""

    mine = made(flush=Callable(), init=staticmethod(functools.partial(do)), shutdown=staticmethod(do))
    assert hooks_of(mine, TelemetryProcessor).keys() == {"flush", "init", "shutdown"}


def test_properties_are_not_asked_for_their_values() -> None:
    class Mine:
        async def flush(self) -> None:
            """Do nothing."""

        @property
        def flushed(self) -> int:
            raise AssertionError

    assert hooks_of(Mine(), TelemetryProcessor).keys() == {"flush"}


def test_the_library_s_own_processors_and_the_examples_are_no_near_misses() -> None:
    hooks_of(Delivery(HTTPSink("http://127.0.0.1:1")), TelemetryProcessor)
    hooks_of(OpenTelemetryProcessor(), TelemetryProcessor)
    spec = importlib.util.spec_from_file_location("with_methods", EXAMPLES / "with_methods/with_methods.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["with_methods"] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["with_methods"]
    assert len(hooks_of(module.Counter(), Extension)) == 3


@pytest.mark.parametrize("flush", [EndOfInvocation, 20, "end"])
async def test_a_policy_that_is_none_is_refused(flush: Any) -> None:
    with pytest.raises(TypeError, match="flush must be a FlushPolicy, such as EndOfInvocation"):
        await run_telemetry(made(flush=do), flush=flush)


async def test_what_is_no_way_to_treat_errors_is_refused() -> None:
    with pytest.raises(ValueError, match="on_error must be 'raise' or 'degrade', not 'ignore'"):
        await run_telemetry(made(flush=do), on_error="ignore")  # type: ignore[arg-type]


async def test_a_list_has_processors_of_different_names() -> None:
    with pytest.raises(ValueError, match="there is no processor in the list"):
        await run_telemetry([])
    with pytest.raises(ValueError, match="two processors are named 'logs'"):
        await run_telemetry([made(flush=do, name="logs"), made(flush=do), made(flush=do), made(flush=do, name="logs")])
    with pytest.raises(TypeError, match="object has none of the methods"):
        await run_telemetry([made(flush=do), object()])
