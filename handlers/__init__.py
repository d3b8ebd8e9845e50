"""HTTP in, HTTP out: words become values, one call goes below, values become words.

The byte paths live here too: the connection, the receiving of bodies and the sending of files.
"""
