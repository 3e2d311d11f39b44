"""The spawner: a lean, single-threaded process that starts, watches and reaps the processes of one worker process."""

from __future__ import annotations

import contextlib
import os
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from worker.spawner import process_group, server, spawn
else:  # this folder is executed, and is on its path
    import process_group
    import server
    import spawn


def remove(folder: str) -> None:
    """Remove the folder of a dead worker, with everything that its runs left in it."""
    for place, folders, files in os.walk(folder, topdown=False):
        for name in files + folders:
            path = os.path.join(place, name)
            with contextlib.suppress(OSError):
                if os.path.isdir(path) and not os.path.islink(path):
                    os.rmdir(path)
                else:
                    os.unlink(path)
    with contextlib.suppress(OSError):
        os.rmdir(folder)


if __name__ == "__main__":
    process_group.become_undumpable()  # the secrets of all runs pass through its memory
    worker = socket.socket(fileno=0)
    serving = server.SpawnServer(worker, spawn.start_command, executes=True)
    worker.sendall(b"+")  # from now on no signal ends it
    serving.serve()
    for place in sys.argv[1:]:
        remove(place)
