"""What the ready-made extension reads of its variables, and what it says of wrong ones."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from lambda_extension.processing import Adaptive, Continuous, EndOfInvocation, Every, OnSize
from lambda_extension.ship._configuration import (
    Configuration,
    ConfigurationError,
    common_to,
    prefix_of,
    problems_with,
    read,
)
from lambda_extension.ship._destinations import KINDS, Kind
from lambda_extension.ship._references import Reference, reference_of
from lambda_extension.ship._variables import FOR_EACH, GENERAL, PREFIX, SPILL, Variable

SECRET = "canary4711"
LOKI = {"DESTINATIONS": "loki", "LOKI_URL": "https://logs.example.com"}

# For each form: a text, its value, and texts that are wrong.
FORMS: dict[str, tuple[str, Any, list[str]]] = {
    "text": (" some text ", "some text", []),
    "what an HTTP header can have": ("Bearer x", "Bearer x", ["two\nlines", "grün"]),
    "a URL such as https": ("http://u:p@h:1/x", "http://u:p@h:1/x", ["h/x", "ftp://h", "https://", "http://h:0", "http://[h"]),
    "a URL such as nats": ("nats://h:4222", "nats://h:4222", ["http://h", "nats://", "h"]),
    "of the form key=value": ("a=1, b=x%2Cy", {"a": "1", "b": "x,y"}, ["a", "=1"]),
    "of the form name=value": ("X-A=1,X-B=x%20y", {"X-A": "1", "X-B": "x y"}, ["X-A", "X-A=%0A", "grün=1"]),
    "a list of names": ("loki, loki ,s3", ("loki", "s3"), [","]),
    "true or false": ("True", True, ["yes", "2"]),
    "a level": ("warning", "warning", ["loud", "3"]),
    "a number from 0 to 1": ("0.25", 0.25, ["1.5", "-1", "x", "nan"]),
    "a regular expression": ("a+", re.compile("a+"), ["(", "[a"]),
    "adaptive, end-of": ("continuous", Continuous(), ["x", "every:x", "every:0", "every:inf", "on-size:3"]),
    "an integer from 1 to 65535": ("4318", 4318, ["0", "65536", "-1", "x", "٣"]),
    "an integer from 0 to 23": ("16", 16, ["24"]),
    "json or ndjson": ("JSON", "json", ["xml"]),
    "gzip or none": ("gzip", "gzip", ["zstd"]),
    "us or eu": ("EU", "eu", ["mars"]),
    "on, durable or off": ("durable", "durable", ["maybe"]),
    "a list of function": ("function,report", ("function", "report"), ["function,kernel", ","]),
    "a list of all": ("email,card", ("email", "card"), ["none,email", "names"]),
    "a list of traces": ("traces", ("traces",), ["spans"]),
}  # fmt: skip


def form(variable: Variable) -> tuple[str, Any, list[str]]:
    (found,) = (each for words, each in FORMS.items() if variable.form.words.startswith(words))
    return found


def every_variable() -> Iterator[tuple[str, Variable, Kind | None]]:
    for variable in (*GENERAL, *FOR_EACH, SPILL):
        yield PREFIX + variable.name, variable, None
    for kind in KINDS.values():
        for variable in (*kind.variables, *common_to(kind)):
            yield prefix_of(kind.name) + variable.name, variable, kind


VARIABLES = {name: (variable, kind) for name, variable, kind in every_variable()}


def environment(kind: Kind | None) -> dict[str, str]:
    """Give what a destination of a kind needs, and nothing more."""
    if kind is None:
        return {PREFIX + name: text for name, text in LOKI.items()}
    needed = {prefix_of(kind.name) + each.name: each.trial or "" for each in kind.variables if each.required}
    return {f"{PREFIX}DESTINATIONS": kind.name, **needed}


def value_of(configuration: Configuration, name: str, variable: Variable, kind: Kind | None) -> Any:
    (destination,) = configuration.destinations
    if variable.name == "DESTINATIONS":
        return destination.name
    if kind is None and variable in GENERAL:
        return getattr(configuration, variable.argument)
    return (destination.arguments if kind and variable in kind.variables else destination.settings)[variable.argument]


@pytest.mark.parametrize("name", [name for name in VARIABLES if not name.endswith("DESTINATIONS")])
def test_every_variable_says_what_it_says(name: str) -> None:
    variable, kind = VARIABLES[name]
    text, value, _ = form(variable)
    found = value_of(read({**environment(kind), name: text}), name, variable, kind)
    assert found == value


@pytest.mark.parametrize("name", VARIABLES)
def test_a_wrong_value_is_an_error_that_names_the_variable(name: str) -> None:
    variable, kind = VARIABLES[name]
    for wrong in form(variable)[2]:
        with pytest.raises(ConfigurationError) as raised:
            read({**environment(kind), name: wrong})
        (problem,) = raised.value.problems
        assert problem.startswith(f"{name} must be {variable.form.words}")
        assert (f"not {wrong!r}" in problem) is not variable.secret


@pytest.mark.parametrize("name", [name for name, (variable, _) in VARIABLES.items() if variable.required])
def test_a_missing_value_is_an_error_that_names_the_variable(name: str) -> None:
    _, kind = VARIABLES[name]
    for absent in ({}, {name: "  "}):
        given = {other: text for other, text in environment(kind).items() if other != name}
        with pytest.raises(ConfigurationError, match=f"^{name} is not set: it must be "):
            read(given | absent)


@pytest.mark.parametrize("name", [name for name, (variable, _) in VARIABLES.items() if variable.secret])
def test_no_message_repeats_what_may_be_a_secret(name: str) -> None:
    _, kind = VARIABLES[name]
    with pytest.raises(ConfigurationError) as raised:
        read({**environment(kind), name: f"{SECRET}\n{SECRET}"})
    assert SECRET not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_no_repr_tells_a_value_of_a_destination(kind: Kind) -> None:
    given = {name: SECRET if text == "trial" else text for name, text in environment(kind).items()}
    assert SECRET not in repr(read(given))


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigurationError) as raised:
        read({f"{PREFIX}DESTINATIONS": "loki,splunk", f"{PREFIX}LEVEL": "loud", f"{PREFIX}SPLUNK_URL": "x"})
    names = [problem.split()[0].removeprefix(PREFIX) for problem in raised.value.problems]
    assert sorted(names) == ["LEVEL", "LOKI_URL", "SPLUNK_TOKEN", "SPLUNK_URL"]
    assert str(raised.value).splitlines() == list(raised.value.problems)


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ("lokki", "has 'lokki', which is no destination: perhaps loki"),
        ("carrier-pigeon", "has 'carrier-pigeon', which is no destination: there are axiom, datadog"),
        ("loki-", "has 'loki-', which is no destination"),
        ("loki-e_u", "has 'loki-e_u', which is no destination"),
        ("otlp,otlp-2", "has otlp twice"),
    ],
)
def test_what_is_no_destination_is_said(asked: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{PREFIX}DESTINATIONS {problem}"):
        read({f"{PREFIX}DESTINATIONS": asked})


def test_several_destinations_of_one_kind_have_variables_of_their_own() -> None:
    given = {
        "DESTINATIONS": "loki,loki-eu,new-relic-2",
        "LOKI_URL": "https://us.example.com",
        "LOKI_EU_URL": "https://eu.example.com",
        "LOKI_EU_LEVEL": "ERROR",
        "LEVEL": "INFO",
        "REDACT": "all",
        "LOKI_REDACT": "none",
        "NEW_RELIC_2_LICENSE_KEY": "k",
    }
    found = read({PREFIX + name: text for name, text in given.items()}).destinations
    assert [(each.name, each.kind.name) for each in found] == [
        ("loki", "loki"),
        ("loki-eu", "loki"),
        ("new-relic-2", "new-relic"),
    ]
    assert [each.arguments.get("url") for each in found] == ["https://us.example.com", "https://eu.example.com", None]
    assert [each.settings["level"] for each in found] == ["INFO", "ERROR", "INFO"]
    assert [each.settings["redact"] for each in found] == [(), ("all",), ("all",)]


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("adaptive", Adaptive()),
        ("end-of-invocation", EndOfInvocation()),
        ("every", Every()),
        ("every:2.5", Every(2.5)),
        ("on-size", OnSize()),
        ("continuous", Continuous()),
    ],
)
def test_policies_by_name(text: str, policy: object) -> None:
    assert read({**environment(None), f"{PREFIX}POLICY": text}).policy == policy
    assert read(environment(None)).policy == Adaptive()


def test_a_variable_that_is_nearly_one_is_an_error_and_any_other_a_warning() -> None:
    with pytest.raises(ConfigurationError) as raised:
        read({**environment(None), f"{PREFIX}REDCAT": "all"})
    (problem,) = raised.value.problems
    assert problem == f"{PREFIX}REDCAT is no variable of this extension: perhaps it is {PREFIX}REDACT"
    others = {f"{PREFIX}COLOUR_OF_THE_SKY": "blue", f"{PREFIX}S3_BUCKET": "b", "LAMBDA_TASK_ROOT": "/var/task"}
    assert read({**environment(None), **others}).warnings == (
        f"{PREFIX}COLOUR_OF_THE_SKY is no variable of this extension",
        f"{PREFIX}S3_BUCKET has no effect: s3 is not among {PREFIX}DESTINATIONS",
    )


def test_what_a_layer_sets_may_be_incomplete_but_not_wrong() -> None:
    assert problems_with({f"{PREFIX}DESTINATIONS": "loki,s3"}) == []
    assert problems_with({}) == []
    (problem,) = problems_with({f"{PREFIX}DESTINATIONS": "loki", f"{PREFIX}LOKI_SPILL": "maybe"})
    assert problem == f"{PREFIX}LOKI_SPILL must be on, durable or off, not 'maybe'"


ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:loki-AbCdEf"
PARAMETER = "arn:aws-cn:ssm:cn-north-1:123456789012:parameter/loki/token"


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("ssm:/loki/token", Reference("ssm", "/loki/token", None, None)),
        ("ssm:token:3", Reference("ssm", "token:3", None, None)),
        ("secretsmanager:prod/loki#token", Reference("secretsmanager", "prod/loki", "token", None)),
        (f"{ARN}#a b", Reference("secretsmanager", ARN, "a b", "eu-west-1")),
        (PARAMETER, Reference("ssm", PARAMETER, None, "cn-north-1")),
        ("arn:aws:s3:::bucket", None),
        ("ssm:", None),
        ("https://logs.example.com", None),
        ("", None),
    ],
)
def test_references_are_arns_or_a_service_and_a_name(text: str, reference: Reference | None) -> None:
    assert reference_of(text) == reference
    if reference is not None:
        assert str(reference) == text


def test_a_variable_of_a_destination_may_refer_to_a_secret_and_no_other_may() -> None:
    given = {**environment(None), f"{PREFIX}LOKI_URL": "ssm:/url", f"{PREFIX}LOKI_LABELS": ARN}
    (destination,) = read(given).destinations
    assert {argument: str(each.reference) for argument, each in destination.secrets.items()} == {
        "url": "ssm:/url",
        "labels": ARN,
    }
    texts = dict.fromkeys((each.reference for each in destination.secrets.values()), "a=b")
    with pytest.raises(ConfigurationError) as raised:
        destination.with_secrets(texts)
    (problem,) = raised.value.problems
    assert problem == f"what {PREFIX}LOKI_URL refers to must be a URL such as https://logs.example.com"
    texts[destination.secrets["url"].reference] = "https://logs.example.com"
    whole = destination.with_secrets(texts)
    assert whole.arguments["labels"] == {"a": "b"}
    assert (whole.arguments["url"], whole.secrets) == ("https://logs.example.com", {})
    with pytest.raises(ConfigurationError, match=f"{PREFIX}LEVEL must be a level"):
        read({**given, f"{PREFIX}LEVEL": "ssm:/level"})
