"""
The worker process: runs.

A thread that hears the bell claims a run, executes it as a process of its own, captures what it prints, and reports
how it ended. A worker never decides when something runs.

Start reading at ``execution.py`` (claim → prepare → spawn → watch → judge) and ``ending.py`` (→ end), then ``app.py``
(what one worker process is made of), ``keeper.py`` (who starts and, in the end, kills the children; ``commands.py`` and
``channel.py`` are the worker's side of it) and ``launcher.py`` (who starts the workers).
"""
