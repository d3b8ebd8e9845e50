"""Meaning: content by digest, names by table; the only place where SQL stands."""
