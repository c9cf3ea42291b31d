"""Unit tests of api/: no sockets."""
