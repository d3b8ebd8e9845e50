"""Bytes in an object store that speaks S3: ours to it by signed requests, clients' to it by signed URLs."""
