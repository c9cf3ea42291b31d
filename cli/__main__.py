"""``python -m cli``, the same as ``headrace``."""

from __future__ import annotations

from cli.main import main

main(prog_name="headrace")
