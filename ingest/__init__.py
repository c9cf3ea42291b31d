"""The language every room speaks: settings, errors, states, ids, names and addresses.

Pure Python. Nothing here opens a socket or a file; the environment is read once, in
:mod:`ingest.config`. Import direction is a contract: everything may import this package, it
imports none of them.
"""
