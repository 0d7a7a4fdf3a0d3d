"""The kinds of destinations: the variables of each, and what it is made by. Sinks are imported when one is made."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, final

import attrs

from lambda_extension._environment import Environment
from lambda_extension.ship import _values
from lambda_extension.ship._variables import Variable

if TYPE_CHECKING:
    from lambda_extension.delivery import Sink

# Nobody listens there: what a layer sends when it is tried.
_NOWHERE: Final = "http://127.0.0.1:9"
_AWS_TRIAL: Final = {
    "AWS_ENDPOINT_URL": _NOWHERE,
    "AWS_ACCESS_KEY_ID": "trial",
    "AWS_SECRET_ACCESS_KEY": "trial",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@final
@attrs.frozen(kw_only=True)
class Kind:
    """A kind of destination.

    Attributes:
        name: As in `LAMBDA_EXTENSION_DESTINATIONS`.
        what: What it is, for the documentation.
        variables: Its own.
        make: Makes its sink of their values; None for OTLP, which is more than a sink.
        extra: The extra of this library that it needs besides `delivery`.
        module: What of that extra is imported, to find out whether it is there.
        trial: More variables for a trial.
    """

    name: str
    what: str
    variables: tuple[Variable, ...]
    make: Callable[..., Sink] | None
    extra: str | None = None
    module: str | None = None
    trial: Mapping[str, str] = attrs.field(factory=dict)


def _required(name: str, meaning: str, trial: str, form: _values.Form = _values.TEXT, **more: Any) -> Variable:
    return Variable(name=name, form=form, meaning=meaning, trial=trial, required=True, **more)


def _secret(name: str, meaning: str) -> Variable:
    return _required(name, meaning, "trial", _values.HEADER, secret=True)


def _optional(name: str, meaning: str, form: _values.Form = _values.TEXT, **more: Any) -> Variable:
    return Variable(name=name, form=form, meaning=meaning, **more)


def _url(meaning: str = "its URL") -> Variable:
    return _required("URL", meaning, _NOWHERE, _values.URL, secret=True)


def _other_url(meaning: str) -> Variable:
    return _optional("URL", meaning, _values.URL, secret=True, trial=_NOWHERE)


_AUTHORIZATION: Final = _optional("AUTHORIZATION", "the `Authorization` header", _values.HEADER, secret=True)


def _sink(name: str, **arguments: Any) -> Sink:
    sink: Sink = getattr(importlib.import_module("lambda_extension.delivery.sinks"), name)(**arguments)
    return sink


def _http(*, url: str, headers: Mapping[str, str], format: str, compression: str) -> Sink:  # noqa: A002 - its variable
    from lambda_extension.delivery import NDJSON, HTTPSink, JSONArray  # where it is asked for

    encoder = (NDJSON if format == "ndjson" else JSONArray)(compression="gzip" if compression == "gzip" else None)
    return HTTPSink(url, headers=headers, encoder=encoder)


def _loki(*, labels: Mapping[str, str] | None = None, **arguments: Any) -> Sink:
    function = Environment.from_mapping().function_name or "unknown"
    return _sink("loki", labels={"service_name": function} if labels is None else labels, **arguments)


KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(
            name="axiom",
            what="Axiom",
            variables=(
                _secret("TOKEN", "an API token that may ingest"),
                _required("DATASET", "the dataset", "trial"),
                _other_url("the API's, of another region"),
            ),
            make=functools.partial(_sink, "axiom"),
        ),
        Kind(
            name="datadog",
            what="Datadog",
            variables=(
                _secret("API_KEY", "the API key"),
                _optional("SITE", "the account's site, such as `datadoghq.eu`"),
                _optional("SERVICE", "the service; by default the function's name"),
                _optional("TAGS", "tags of every log", _values.PAIRS),
                _other_url("the whole URL of another intake"),
            ),
            make=functools.partial(_sink, "datadog"),
        ),
        Kind(
            name="elasticsearch",
            what="Elasticsearch or OpenSearch",
            variables=(
                _url("the cluster's, or the whole URL of a bulk endpoint"),
                _optional("INDEX", "an index or a data stream", default="logs-lambda-default"),
                _AUTHORIZATION,
            ),
            make=functools.partial(_sink, "elasticsearch"),
        ),
        Kind(
            name="embedded-metrics",
            what="CloudWatch metrics, by way of the log",
            variables=(
                _optional("NAMESPACE", "namespace of the metrics"),
                _optional("DIMENSIONS", "what they are told apart by", _values.NAMES),
            ),
            make=functools.partial(_sink, "embedded_metrics"),
        ),
        Kind(
            name="firehose",
            what="Amazon Data Firehose",
            variables=(_required("STREAM", "the delivery stream's name", "trial"),),
            make=functools.partial(_sink, "FirehoseSink"),
            extra="aws",
            module="boto3",
            trial=_AWS_TRIAL,
        ),
        Kind(
            name="honeycomb",
            what="Honeycomb",
            variables=(
                _secret("API_KEY", "an ingest key"),
                _required("DATASET", "the dataset", "trial"),
                _other_url("the API's, such as `https://api.eu1.honeycomb.io`"),
            ),
            make=functools.partial(_sink, "honeycomb"),
        ),
        Kind(
            name="http",
            what="any endpoint that takes JSON",
            variables=(
                _url("where to; a user and a password in it are sent as basic authentication"),
                _optional("HEADERS", "headers of every request", _values.HEADERS, secret=True, default=""),
                _optional("FORMAT", "an array, or a line for each", _values.one_of("json", "ndjson"), default="ndjson"),
                _optional("COMPRESSION", "of bodies", _values.one_of("gzip", "none"), default="none"),
            ),
            make=_http,
        ),
        Kind(
            name="jetstream",
            what="NATS JetStream",
            variables=(
                _required("URL", "the server's", "nats://127.0.0.1:9", _values.NATS_URL, secret=True),
                _required("SUBJECT", "a subject that a stream takes", "trial"),
            ),
            make=functools.partial(_sink, "JetStreamSink"),
            extra="nats",
            module="nats",
        ),
        Kind(
            name="kafka",
            what="Apache Kafka",
            variables=(
                _required("SERVERS", "brokers to begin with: `host:port`, with commas between", "127.0.0.1:9"),
                _required("TOPIC", "the topic", "trial"),
                _optional("SETTINGS", "more of librdkafka's settings", _values.PAIRS, secret=True),
            ),
            make=functools.partial(_sink, "KafkaSink"),
            extra="kafka",
            module="confluent_kafka",
        ),
        Kind(
            name="kinesis",
            what="Amazon Kinesis Data Streams",
            variables=(_required("STREAM", "the stream's name", "trial"),),
            make=functools.partial(_sink, "KinesisSink"),
            extra="aws",
            module="boto3",
            trial=_AWS_TRIAL,
        ),
        Kind(
            name="loki",
            what="Grafana Loki",
            variables=(
                _url("Loki's, or the whole URL of its push endpoint"),
                _optional("LABELS", "labels of every stream; by default `service_name`, the function", _values.PAIRS),
                _AUTHORIZATION,
                _optional("TENANT", "the tenant (`X-Scope-OrgID`)", _values.HEADER),
            ),
            make=_loki,
        ),
        Kind(
            name="new-relic",
            what="New Relic",
            variables=(
                _secret("LICENSE_KEY", "the account's license key"),
                _optional("REGION", "where the account is", _values.one_of("us", "eu"), default="us"),
                _other_url("the whole URL of another endpoint"),
            ),
            make=functools.partial(_sink, "new_relic"),
        ),
        Kind(
            name="otlp",
            what="OpenTelemetry: spans, log records and metrics",
            variables=(
                _optional(
                    "URL",
                    "base URL of the collector, instead of `OTEL_EXPORTER_OTLP_ENDPOINT`",
                    _values.URL,
                    argument="endpoint",
                    secret=True,
                    trial=_NOWHERE,
                ),
                _optional("HEADERS", "headers, instead of `OTEL_EXPORTER_OTLP_HEADERS`", _values.HEADERS, secret=True),
                _optional(
                    "SIGNALS",
                    "what to export",
                    _values.some_of("traces", "logs", "metrics"),
                    default="traces,logs,metrics",
                ),
                _optional("RECEIVE", "port on localhost at which the function's own OTLP is taken in", _values.PORT),
            ),
            make=None,
        ),
        Kind(
            name="s3",
            what="Amazon S3",
            variables=(
                _required("BUCKET", "the bucket's name", "trial"),
                _optional("PREFIX", "what keys begin with", default=""),
            ),
            make=functools.partial(_sink, "S3Sink"),
            extra="aws",
            module="boto3",
            trial=_AWS_TRIAL,
        ),
        Kind(
            name="splunk",
            what="Splunk's HTTP Event Collector",
            variables=(
                _url("the collector's"),
                _secret("TOKEN", "its token"),
                _optional("INDEX", "the index; by default the token's own"),
                _optional("SOURCETYPE", "what Splunk is to take it for", default="aws:lambda"),
            ),
            make=functools.partial(_sink, "splunk"),
        ),
        Kind(
            name="sqs",
            what="Amazon SQS",
            variables=(
                _required("QUEUE_URL", "the queue's URL", _NOWHERE, _values.URL),
                _optional("GROUP", "the message group, of a FIFO queue"),
            ),
            make=functools.partial(_sink, "SQSSink"),
            extra="aws",
            module="boto3",
            trial=_AWS_TRIAL,
        ),
        Kind(
            name="sumo",
            what="Sumo Logic",
            variables=(
                _url("the HTTP source's, which is a secret"),
                _optional("CATEGORY", "the source category", _values.HEADER),
                _optional("SOURCE_NAME", "the source name", _values.HEADER, argument="name"),
                _optional("SOURCE_HOST", "the source host", _values.HEADER, argument="host"),
            ),
            make=functools.partial(_sink, "sumo"),
        ),
        Kind(
            name="syslog",
            what="a syslog receiver",
            variables=(
                _required("HOST", "the receiver", "127.0.0.1"),
                _optional("PORT", "its port", _values.PORT, default="6514", trial="9"),
                _optional("TLS", "whether to speak TLS", _values.FLAG, default="true"),
                _optional("FACILITY", "the facility's number", _values.integer(0, 23), default="1"),
            ),
            make=functools.partial(_sink, "syslog"),
        ),
    )
}


def kind_of(name: str) -> Kind | None:
    """Return the kind of a destination: its name's, or what stands before `-` in it; None where there is none."""
    if name in KINDS:
        return KINDS[name]
    found = [kind for kind in KINDS.values() if name.startswith(f"{kind.name}-")]
    return max(found, key=lambda kind: len(kind.name)) if found else None
