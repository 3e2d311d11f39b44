"""
The task-run APIs of other systems, for their own unmodified clients.

Each package is a translation and never a second behaviour: ``words`` maps names and states, ``bodies`` holds what goes
over the wire, ``routes`` reads, makes one call of ``shared.ops``, and answers in the dialect's own shape. ``door`` is
what they share. Start reading with a package's README.
"""
