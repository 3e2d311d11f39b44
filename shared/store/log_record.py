"""A log line as it is stored."""

import msgspec


class StoredLine(msgspec.Struct, array_like=True):
    """
    ``stream``: 0 stdout, 1 stderr, 2 system. ``at_us`` is stored time. ``continued``: it goes on in the next line.
    """

    n: int
    at_us: int
    stream: int
    text: str
    continued: bool
