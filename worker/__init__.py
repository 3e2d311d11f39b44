"""
The worker process: runs.

A thread that is woken claims a run, executes it as a process of its own, captures what it prints, and reports how it
ended. A worker never decides when something runs.

Start reading at ``execution/execution.py`` (claim → prepare → spawn → monitor → judge) and ``execution/ending.py`` (→
end), then ``app.py`` (what one worker process is made of), ``spawner/`` (the process that starts the runs' processes
and, in the end, kills them; ``processes/`` is the worker's side of it), ``logs/`` (from output to the store) and
``launcher.py`` (which starts the worker processes).
"""
