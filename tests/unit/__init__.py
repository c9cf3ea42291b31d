"""Tests of one module at a time: no socket, no process, no sleep."""
