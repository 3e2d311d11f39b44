"""
The keeper: a lean, single-threaded process that starts, watches and buries the processes of one worker process.

It is executed by path (``python -I -S keeper.py``) and imports nothing but the standard library and its neighbours:
``loop.py`` serves the worker's requests, ``starting.py`` starts what they ask for, ``memory.py`` tells how much memory
runs have, ``leftovers.py`` finds what they leave behind. They must run on any Python from 3.9 on, because ``child.py``
builds the warm interpreters on the same loop. The worker's side of the conversation is ``commands.py``.

Why a process of its own: starting a process from a big, threaded one is slow, and a leftover could not be traced. The
keeper is the *subreaper* of all it starts, so what a run leaves behind comes back to it, whatever session it fled to.
It ends at the end of file of its one socket, that is when the worker is gone for whatever reason, and takes everything
with it.

::

    worker                                     keeper
      │ socket: one byte + [control, stdout, stderr] ▸
      │ control: length + JSON request ──────────▸ │ starts it in a session of its own
      │ ◂──────────────────── {"pid": 71} or {"error": …}
      │ control: one byte per signal ─────────────▸│ to the process group, never after the end; 0 says "go on"
      │ ◂───────── {"exit": 0, "signal": null, …}  │ after the last leftover of the run is gone
      │ control closed before that ───────────────▸│ kills the group
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from worker import family, loop, starting
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import family
    import loop
    import starting

    del sys.path[0]


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
    family.become_undumpable()  # the secrets of all runs pass through its memory
    worker = socket.socket(fileno=0)
    serving = loop.Loop(worker, starting.start_command, executes=True)
    worker.sendall(b"+")  # now no signal ends it any more
    serving.serve()
    for place in sys.argv[1:]:
        remove(place)
