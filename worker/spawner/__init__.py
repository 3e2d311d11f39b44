"""
The spawner: a lean process that starts, watches and ends the processes of one worker process.

``python -I -S worker/spawner`` runs this folder. It imports only the standard library and itself and runs on Python 3.9
or later, because the interpreter that a task names executes ``interpreter.py``.
"""
