"""
The scheduler process: time.

It fires cron ticks, lets delayed runs into their queues, rings again for runs that wait unheard, ends runs whose worker
was lost, and forgets old history. It never runs a task. Any number may be started: one leads, the others stand by.

Start reading at ``loop.py`` (what a round is), then ``chores.py`` (what there is to do).
"""
