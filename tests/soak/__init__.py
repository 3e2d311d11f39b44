"""
A fleet under load and faults for minutes, and a checker that believes nobody.

``plan.py`` makes all that will happen from one seed, ``driver.py`` does it to a real fleet, ``work.py`` is what the
tasks run and writes down by itself when it ran, and ``checker.py`` compares that history with the API's answers and
the store. Read them in this order; ``make soak`` runs them.
"""
