"""
The scheduler process: time.

It fires cron ticks, lets delayed runs into their queues, rings again for runs that wait unheard, ends runs whose worker
was lost, and forgets old history. It never runs a task. Any number may be started: one leads, the others stand by.

Start reading at ``loop.py`` (what a round is), then ``cron_heap.py`` (ticks) and ``jobs.py`` (all else there is to
do). What fails is kept in ``troubles.py``; ``taskfile.py`` applies the task file, beside the loop.
"""
