"""The benchmark against other registries, for anyone to run: `python -m bench --help`.

It stands beside the product and imports nothing of it: what it knows of a registry is its HTTP interface, so that every
server is treated alike. How to run it and how to read its table: `bench/README.md`.
"""
