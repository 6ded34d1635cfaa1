"""Errors about data on disk; wrong arguments are ``ValueError`` or ``TypeError`` as usual."""


class DataError(RuntimeError):
    """The data cannot be used as they are; the message says which files and what to do."""


class DataUnavailableError(DataError):
    """Files are missing and could not be, or were not to be, downloaded."""


class DataDamagedError(DataError):
    """A file is there but truncated or otherwise not what it should be."""
