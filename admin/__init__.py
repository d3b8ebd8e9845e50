"""What the commands do to a registry, running or stopped, and how they get at it.

commands.py    the rows of the command line
asking.py      which way: over the admin socket, or by opening the folder
operations.py  what can be done, one function each; the same for both ways
rendering.py   the answers as text for a person
"""
