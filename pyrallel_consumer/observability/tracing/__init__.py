"""OpenTelemetry: a span for each attempt. Needs the extra ``otel``; begin with ``spans``."""
