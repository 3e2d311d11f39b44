"""
The ``web`` process: HTTP for people, programs and the dashboard.

It turns requests into operations of ``shared.ops`` and ``shared.store`` and their results into JSON. It never runs a
task and never decides about one: an ``if`` about runs belongs to ``shared.ops``.

Start reading at ``app.py`` (everything that is served, in one function), then ``http/router.py`` (what a request goes
through) and one resource, say ``native/runs.py``.
"""
