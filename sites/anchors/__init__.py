"""Anchors: each day the heads of all journals, signed outside the database, so that nobody can write the past anew unseen (ADR 24).

One line a day in a file, each with the hash of the line before; beside it the heads themselves, of which the line signs the Merkle root.
"""
