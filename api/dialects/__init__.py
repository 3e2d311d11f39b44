"""
Dialects: the APIs of other systems, served to those systems' own unmodified clients.

Each package translates and adds no behaviour: ``bodies`` holds its messages, ``errors`` the shape of its errors, and a
handler decodes, calls one operation of ``shared.ops``, and responds in the dialect's shape. ``api.http.router`` serves
them. Start reading with a package's README.
"""
