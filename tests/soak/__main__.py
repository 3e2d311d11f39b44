# ruff: noqa: T201  # a program that talks to whoever runs it
"""``python -m tests.soak``: a soak of a real fleet from one seed, then its checker's verdict. See ``--help``."""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.soak.driver import run_soak
from tests.soak.plan import make_plan
from tests.soak.release import unpacked


def main() -> int:
    """Run it; 0 when every invariant held. The evidence is kept unless all is well and no folder was named."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="A fleet under load and faults.")
    parser.add_argument("--seed", type=int, help="replay the plan of this seed; default: a new one")
    parser.add_argument("--seconds", type=float, default=600, help="how long there are faults (600)")
    parser.add_argument("--folder", type=Path, help="where the evidence goes; default: a new one")
    parser.add_argument("--older", metavar="COMMIT", help="run half of the processes from this commit")
    parser.add_argument("--plan", action="store_true", help="only print the plan")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if args.seed is None else args.seed
    plan = make_plan(seed, args.seconds)
    print(f"seed {seed}: {len(plan)} actions in {args.seconds:g} s; again with --seed {seed}", flush=True)
    if args.plan:
        print("\n".join(f"{action.at_s:8.3f} {action.who:8} {action.what:15} {action.args}" for action in plan))
        return 0
    folder = args.folder or Path(tempfile.mkdtemp(prefix="soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"evidence and plan: {folder}", flush=True)
    run_soak(folder, seed, args.seconds, unpacked(args.older, folder / "older") if args.older else None)
    code = subprocess.run([sys.executable, "-m", "tests.soak.checker", str(folder)], check=False).returncode
    print(f"seed {seed}: {'something is wrong; the evidence is in ' + str(folder) if code else 'all held'}")
    if not code and not args.folder:
        shutil.rmtree(folder)
    return code


if __name__ == "__main__":
    sys.exit(main())
