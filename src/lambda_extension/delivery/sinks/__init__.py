"""Backends by name: formats with their limits and answers, and sinks that speak them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambda_extension._lazy import import_on_use

if TYPE_CHECKING or not import_on_use(__name__):
    from lambda_extension.delivery.sinks._aws import (
        FirehoseSink as FirehoseSink,
        JSONLines as JSONLines,
        KinesisSink as KinesisSink,
        S3Sink as S3Sink,
        SQSSink as SQSSink,
    )
    from lambda_extension.delivery.sinks._axiom import AxiomIngest as AxiomIngest, axiom as axiom
    from lambda_extension.delivery.sinks._datadog import DatadogLogs as DatadogLogs, datadog as datadog
    from lambda_extension.delivery.sinks._elasticsearch import (
        ElasticsearchBulk as ElasticsearchBulk,
        elasticsearch as elasticsearch,
    )
    from lambda_extension.delivery.sinks._embedded_metrics import (
        EmbeddedMetrics as EmbeddedMetrics,
        OutputSink as OutputSink,
        embedded_metrics as embedded_metrics,
    )
    from lambda_extension.delivery.sinks._honeycomb import HoneycombBatch as HoneycombBatch, honeycomb as honeycomb
    from lambda_extension.delivery.sinks._jetstream import JetStreamSink as JetStreamSink
    from lambda_extension.delivery.sinks._kafka import KafkaSink as KafkaSink
    from lambda_extension.delivery.sinks._loki import LokiPush as LokiPush, loki as loki
    from lambda_extension.delivery.sinks._new_relic import NewRelicLogs as NewRelicLogs, new_relic as new_relic
    from lambda_extension.delivery.sinks._splunk import SplunkHEC as SplunkHEC, splunk as splunk
    from lambda_extension.delivery.sinks._sumo import SumoLogs as SumoLogs, sumo as sumo
    from lambda_extension.delivery.sinks._syslog import (
        Syslog5424 as Syslog5424,
        SyslogSink as SyslogSink,
        syslog as syslog,
    )
