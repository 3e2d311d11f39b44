"""``python -m shared release`` in a Procfile: the command line where no ``runfleet`` script is on the PATH."""

import sys

from shared.cli import main

sys.exit(main())
