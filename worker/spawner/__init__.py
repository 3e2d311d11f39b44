"""
The spawner: a lean process that starts, watches and ends the processes of one worker process.

``python -I -S worker/spawner`` runs this folder. Nothing in it imports anything but the standard library and its
neighbours, and all of it runs on any Python from 3.9 on, because ``interpreter.py`` is executed by the interpreter that
a task names.
"""
