"""
``runfleet``, and ``python -m shared release`` in a Procfile: the command line where no script is on the PATH.
"""

import sys

from shared.dumpable import become_undumpable


def main() -> int:
    """Run one command; its exit code."""
    become_undumpable()  # before the imports that take their time: until then its environment can be read
    from shared.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
