"""The ready-made extension, `python -m lambda_extension ship`: telemetry to backends, by variables alone."""
