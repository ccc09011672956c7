"""The one exception that means "the user can fix this": its text is a sentence with the remedy in it."""


class ConfigurationError(ValueError):
    """A flag, file or tensor that cannot work; the message names it and says what to do instead."""


def require(condition: bool, message: str) -> None:
    """Raise `ConfigurationError(message)` unless `condition` holds."""
    if not condition:
        raise ConfigurationError(message)


def require_positive(**values: int) -> None:
    """Raise `ConfigurationError` for the first value that is not positive, under the name of its flag."""
    for name, value in values.items():
        require(value > 0, f"--{name.replace('_', '-')} must be positive, not {value}.")
