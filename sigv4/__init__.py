"""AWS Signature Version 4 in S3's flavour, both directions: signing and verifying, as pure functions.

    canonical.py       encoding, and the canonical request
    signing.py         credentials, scope, signing keys, the signature
    places.py          where a URL points: scheme, host, bucket, style
    presigning.py      URLs that carry their signature, with an explicit payload hash
    authorization.py   requests that carry it in the Authorization header
    received.py        what a request says of its own signature: read, not believed
    verifying.py       whether it is true
    diagnosis.py       if not, which element differs
    refusals.py        how that is told: to the client little, to the log enough

Nothing here does I/O, asks a clock, or knows what the URLs are for. Facts and sources: s3-sigv4 sections 1 and 2.
"""
