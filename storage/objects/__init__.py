"""The user's object store: a protocol with its obligations, S3, and a memory one for unit tests."""
