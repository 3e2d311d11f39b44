"""``runfleet version``."""

import sys

from shared import __version__


def version() -> None:
    """Print the version of Runfleet."""
    sys.stdout.write(f"runfleet {__version__}\n")
