"""Data of the project's own: generators of synthetic probes."""
