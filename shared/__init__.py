"""
What the three processes agree on: the model, the store, the queue, the settings, the command line.

It imports none of them. Start reading at ``runs.py`` (what a run is and how it may change), then ``tasks.py``,
``store/`` and ``ops.py`` (what the product does).
"""

__version__ = "0.1.0"
