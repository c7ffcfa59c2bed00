"""Servers of others around the same decoding, engine and JSON, to be measured beside ours.

Each is written as its own documentation shows, and needs its package in the Python that runs it.
"""
