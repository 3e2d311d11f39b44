"""``python -m worker``: the launcher, or with ``--process`` one worker process of it."""

import sys
from pathlib import Path

from worker.parent_watch import follow_launcher
from worker.spawner.process_group import become_undumpable

if __name__ == "__main__":
    become_undumpable()
    follow_launcher()  # before slow imports
    # Ours are found before a package of the user's that has the same name, in the working directory or on PYTHONPATH.
    sys.path.insert(0, str(Path(__file__).absolute().parents[1]))
    from shared.isolation import isolate

    isolate()
    del sys.path[0]


def main() -> int:
    """Run the launcher, or one worker process; the exit code."""
    from shared.errors import Misconfigured
    from shared.settings import read_settings
    from shared.startup import require_secret
    from shared.telemetry import configure, configure_later

    try:
        settings = read_settings()
        if not settings.redis_url:
            raise Misconfigured(
                "no Redis is set: write RUNFLEET_REDIS_URL=redis://host:6379/0 (or start `runfleet up`)"
            )
        require_secret(settings)
        if settings.run_users:
            from worker.execution import users  # most launchers need none of this

            users.check(settings.run_users)
        if "--process" in sys.argv[1:]:
            configure(settings)
            from worker.app import serve
        else:
            configure_later(settings)  # the launcher stays lean
            from worker.launcher import serve
        return serve(settings)
    except Misconfigured as error:
        print(error, file=sys.stderr)  # noqa: T201  # the operator reads this before there is a log
        return 2


if __name__ == "__main__":
    sys.exit(main())
