"""Fixtures for everything that speaks HTTP to a server in this process."""

from tests.support.stage import certificate, plain_stage, stage

__all__ = ["certificate", "plain_stage", "stage"]
