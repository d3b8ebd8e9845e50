"""Fixtures for everything that speaks HTTP to a server in this process."""

from tests.http.oci.conftest import new_catalog, serve
from tests.support.stage import certificate, plain_stage, stage

__all__ = ["certificate", "new_catalog", "plain_stage", "serve", "stage"]
