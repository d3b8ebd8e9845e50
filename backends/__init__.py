"""Bytes under keys; what they mean is decided above."""
