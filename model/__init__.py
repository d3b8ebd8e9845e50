"""Values and nothing else: digests, names, ranges, descriptors, errors, units, the clock.

Nothing here awaits, opens a file or knows HTTP, so every other package may import it.
"""
