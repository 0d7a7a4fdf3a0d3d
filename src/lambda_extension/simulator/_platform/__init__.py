"""The simulated platform at work: lifecycle, sandbox, processes, functions, telemetry, faults."""
