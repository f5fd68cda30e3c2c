"""The backup and the reader protocol as state machines without IO (wire-protocol 4 and 5).

A request is a generator: it yields effects (calls that somebody else makes) and returns its answer.
"""
