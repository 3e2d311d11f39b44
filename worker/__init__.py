"""
The worker: claims runs, executes them and reports how they ended.

A thread that is woken claims a run, starts a process for it, captures the output and reports the end. A worker never
decides when something runs.

Start reading at ``execution/execution.py`` (claim → prepare → spawn → monitor → judge) and ``execution/ending.py`` (→
end), then ``app.py`` (what one worker process is made of), ``spawner/`` (the process that starts the runs' processes
and kills them in the end; ``processes/`` is the worker's side of it), ``logs/`` (from output to the store) and
``launcher.py`` (which starts the worker processes).
"""
