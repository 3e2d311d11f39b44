"""
The spawner: a lean, single-threaded process that starts, watches and reaps the processes of one worker process.

``server.py`` serves the worker's requests, ``spawn.py`` starts commands, ``memory.py`` measures the memory of runs, and
``orphans.py`` finds the processes that they leave behind. ``interpreter.py`` is a warm interpreter, on the same server.
The client is ``worker.processes.commands``.

It is a process of its own because starting a process from a big, threaded one is slow, and orphans could not be traced.
The spawner is the *subreaper* of all that it starts, so orphans become its children, whatever session they are in. When
the worker is gone for whatever reason, its socket is at the end of file: it kills everything and ends.

::

    worker                                     spawner
      │ socket: one byte + [control, stdout, stderr] ▸
      │ control: length + JSON request ──────────▸ │ starts it in a session of its own
      │ ◂──────────────────── {"pid": 71} or {"error": …}
      │ control: one byte per signal ─────────────▸│ to the process group, never after the end; 0 is a heartbeat
      │ ◂───────── {"exit": 0, "signal": null, …}  │ after the last orphan of the run is gone
      │ control closed before that ───────────────▸│ kills the group
"""

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
    """Remove the folder of a worker that is gone, with what its runs left in it."""
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
    worker.sendall(b"+")  # now no signal ends it any more
    serving.serve()
    for place in sys.argv[1:]:
        remove(place)
