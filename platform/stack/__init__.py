"""The one-command stack: embedded PostgreSQL and Valkey, and the supervisor behind ``up``.

Read ``up.py`` for the order of a start, ``supervisor.py`` for the life of what was started,
``services.py`` for the two servers. Nothing here imports Django or another part of Tollgate.
"""
