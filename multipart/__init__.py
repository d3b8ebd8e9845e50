"""Uploads in parts and pieces - upload sessions, not MIME: what arrives, in which order, and when it is whole.

Nothing here reads `multipart/form-data`, and nothing here knows HTTP: a request's body comes in through the port in
`multipart/bodies.py`.
"""
