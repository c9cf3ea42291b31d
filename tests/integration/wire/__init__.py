"""The data plane against servers that say, take and wait as they like."""
