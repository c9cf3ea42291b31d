"""The parts of the benchmark that are pure."""
