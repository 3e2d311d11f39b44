#!/usr/bin/env python3
"""Prefect's own command line: one command for each argument, all in one process, because importing it takes long."""
import os
import shlex
import sys
import warnings

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ["COLUMNS"] = "200"
warnings.simplefilter("ignore")

from prefect.cli import app

for command in sys.argv[1:]:
    sys.argv = ["prefect", *shlex.split(command)]
    print(f"$ {command}", flush=True)
    try:
        app()
    except SystemExit as end:
        print(f"= {end.code or 0}", flush=True)
    else:
        print("= 0", flush=True)
