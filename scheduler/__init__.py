"""
The scheduler process: everything that happens at a certain time.

It fires cron ticks, enqueues delayed runs, wakes workers again when runs keep waiting, rescues runs whose worker was
lost, and prunes old history. It never runs a task. Any number may be started: one leads, the others stand by.

Start reading at ``loop.py`` (a round), then ``cron_heap.py`` (ticks) and ``jobs.py`` (everything else). ``troubles.py``
records failures; ``taskfile.py`` applies the task file, in a thread of its own.
"""
