"""The one error of this package."""


class PipelineError(Exception):
    """The request cannot be carried out; the message says what to do. The command line prints it and exits with 2."""
