"""From events to what a backend wants: records with level, time and invocation, transforms, reports. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambda_extension._lazy import import_on_use

if TYPE_CHECKING or not import_on_use(__name__):
    from lambda_extension.records._correlator import (
        Correlator as Correlator,
        CorrelatorStatistics as CorrelatorStatistics,
        LineSettings as LineSettings,
        Record as Record,
    )
    from lambda_extension.records._holding import Holding as Holding
    from lambda_extension.records._joining import JoinLines as JoinLines
    from lambda_extension.records._pipeline import Pipeline as Pipeline
    from lambda_extension.records._record import Context as Context, LogRecord as LogRecord, Source as Source
    from lambda_extension.records._redaction import (
        AWS_KEY as AWS_KEY,
        BEARER as BEARER,
        CARD as CARD,
        EMAIL as EMAIL,
        Pattern as Pattern,
        redact as redact,
    )
    from lambda_extension.records._reports import InvocationReport as InvocationReport, Outcome as Outcome
    from lambda_extension.records._sampling import Sample as Sample, sample as sample
    from lambda_extension.records._transforms import (
        Named as Named,
        Transform as Transform,
        add as add,
        at_least as at_least,
        named as named,
        only as only,
        truncate as truncate,
        without as without,
    )
