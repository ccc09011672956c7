"""The one exception that means "the user can fix this": its text is a sentence with the remedy in it."""

import math


class ConfigurationError(ValueError):
    """A flag, file or tensor that cannot work; the message names it and says what to do instead."""


def require(condition: bool, message: str) -> None:
    """Raise `ConfigurationError(message)` unless `condition` holds."""
    if not condition:
        raise ConfigurationError(message)


def require_positive(**values: int) -> None:
    """Raise `ConfigurationError` for the first value that is not positive, under the name of its flag."""
    for name, value in values.items():
        require(value > 0, f"{_flag(name)} must be positive, not {value}.")


def require_not_negative(**values: float) -> None:
    """Raise `ConfigurationError` for the first value that is negative or not finite, under the name of its flag."""
    for name, value in values.items():
        require(math.isfinite(value), f"{_flag(name)} must be a finite number, not {value}.")
        require(value >= 0, f"{_flag(name)} must not be negative, got {value}.")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
