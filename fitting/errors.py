"""The one exception of the package."""


class FittingError(ValueError):
    """A table, a law's name, a column or an expression cannot be used. The message says what to do about it."""
