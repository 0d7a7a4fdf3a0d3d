"""AWS Lambda extensions with structured concurrency, on trio or asyncio."""

from __future__ import annotations
