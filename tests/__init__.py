"""Every test, and what tests stand on; a package so that `tests.support` imports anywhere."""
