"""``runfleet version``."""

from __future__ import annotations

import sys
from importlib import metadata


def version() -> None:
    """Print the version of Runfleet."""
    try:
        number = metadata.version("runfleet")
    except metadata.PackageNotFoundError:
        number = "(not installed: a bare checkout)"
    sys.stdout.write(f"runfleet {number}\n")
