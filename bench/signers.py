"""Signs URLs with this registry's signers and with botocore, in turns, and prints how many each made per second.

`python -m bench.signers CHECKOUT SECONDS` is a program of its own, so that the benchmark itself imports nothing of what
it measures. Every URL is for another object or part, and lives 15 minutes; each signer was made beforehand.
"""

import importlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TURNS = 10
WARM_UP = 200
LIFETIME_S = 900
BATCH = 50
BASE_URL = "https://registry.example.org:5000"
BUCKET = "layers"
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
REGION = "eu-west-1"
PEER = "botocore"

Signer = Callable[[int], str]


def key(number: int) -> str:
    """A key as a registry's: distribution's path of a blob."""
    digest = f"{number:064x}"
    return f"docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data"


def s3_signer() -> Signer:
    """Our signer, of URLs for a bucket: the same URLs as botocore's."""
    from sigv4.places import place
    from sigv4.presigning import presign
    from sigv4.signing import Credentials

    credentials, bucket = Credentials(KEY_ID, SECRET), place(BASE_URL, BUCKET)

    def sign(number: int) -> str:
        path = f"/{key(number)}"
        made = presign(credentials, bucket, "PUT", path, region=REGION, now_s=time.time(), lifetime_s=LIFETIME_S)
        return made.url

    return sign


def part_signer(folder: Path) -> Signer:
    """Our signer of URLs to ourselves, as the hold API calls it for a part."""
    from auth.signed_urls import UrlSigner
    from auth.signing_keys import SigningKeys
    from model.clock import SystemClock

    clock = SystemClock()
    signer = UrlSigner(SigningKeys.open(folder, clock), clock)

    def sign(number: int) -> str:
        parameters = {"did": "did:web:bench", "length": "67108864"}
        path = f"/multipart-parts/{number:032x}/{number % 10_000 + 1}"
        return signer.sign("PUT", BASE_URL, path, parameters, lifetime_s=LIFETIME_S).url

    return sign


def botocore_signer() -> Signer:
    """The peer, as it is called by who uses it."""
    session = importlib.import_module("botocore.session").Session()
    config_class = importlib.import_module("botocore.config").Config
    config = config_class(signature_version="s3v4", s3={"addressing_style": "path"})
    client = session.create_client(
        "s3",
        region_name=REGION,
        endpoint_url=BASE_URL,
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
        config=config,
    )

    def sign(number: int) -> str:
        parameters = {"Bucket": BUCKET, "Key": key(number)}
        url: str = client.generate_presigned_url("put_object", parameters, ExpiresIn=LIFETIME_S)
        return url

    return sign


def rates(signers: dict[str, Signer], seconds: float) -> dict[str, float]:
    """URLs per second of each; they take many short turns, so that what disturbs one disturbs all. No URL twice."""
    asked = dict.fromkeys(signers, WARM_UP)
    spent_s = dict.fromkeys(signers, 0.0)
    for sign in signers.values():
        for number in range(WARM_UP):
            sign(number)
    for _ in range(TURNS):
        for name, sign in signers.items():
            begun = time.perf_counter()
            while time.perf_counter() - begun < seconds / TURNS:
                for number in range(asked[name], asked[name] + BATCH):
                    sign(number)
                asked[name] += BATCH
            spent_s[name] += time.perf_counter() - begun
    return {name: (asked[name] - WARM_UP) / spent_s[name] for name in signers}


def main() -> int:
    sys.path.insert(0, sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        signers = {"bucket": s3_signer(), "part": part_signer(Path(folder))}
        try:
            signers[PEER] = botocore_signer()
        except ImportError:
            return 3
        print(json.dumps(rates(signers, float(sys.argv[2]))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
