"""How many URLs our signers sign per second, against botocore in the same run of the same interpreter."""

import json
import subprocess
import sys

from bench.case import Case, Figure, Measure, Sizes, Stage
from bench.loader import BenchError
from bench.servers import CHECKOUT, Ours
from bench.signers import PEER

RUN_LIMIT_S = 120
NO_BOTOCORE = 3
ROWS = {
    "bucket": "presigned URLs for a bucket",
    "part": "signed URLs of parts, to ourselves",
    PEER: "presigned URLs for a bucket, botocore",
}


def _presign(stage: Stage) -> Measure:
    kind = stage.server.kind
    if not isinstance(kind, Ours):
        raise BenchError("only this registry's signers are known")
    checkout = str(kind.entry.parent)

    def measure() -> list[Figure]:
        return figures(_run(checkout, stage.sizes.seconds))

    return measure


def _run(checkout: str, seconds: float) -> dict[str, float]:
    """URLs per second by signer.

    Raises:
        BenchError: botocore is not installed, or the program failed.
    """
    command = [sys.executable, "-m", "bench.signers", checkout, str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_LIMIT_S, cwd=CHECKOUT, check=False)
    if done.returncode == NO_BOTOCORE:
        raise BenchError("presign is against botocore, which this Python has not: use the environment of `make venv`")
    if done.returncode:
        raise BenchError(f"signing failed: {done.stderr.strip()[-600:]}")
    rates: dict[str, float] = json.loads(done.stdout)
    return rates


def figures(rates: dict[str, float]) -> list[Figure]:
    """A row for each signer, and one for each of ours as a multiple of the peer."""
    made = [Figure(ROWS[name], "URLs/s", value) for name, value in rates.items()]
    ours = [name for name in rates if name != PEER]
    return [*made, *(Figure(f"{ROWS[name]}, / botocore", "ratio", rates[name] / rates[PEER]) for name in ours)]


def _no_room(_sizes: Sizes, _rounds: int) -> int:
    return 0


CASES = [Case("presign", _presign, room=_no_room, of_parts=True)]
