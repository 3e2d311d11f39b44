"""
The task-run APIs of other systems, for their own unmodified clients.

Each package is a translation and never a second behaviour: ``states`` maps names, ``bodies`` holds what goes over the
wire, ``routes`` reads, makes one call of ``shared.ops``, and answers in the dialect's own shape. What they share is in
``api.http.router``. Start reading with a package's README.
"""
