"""The rooms that move bytes: Celery workers and their beat.

``pipeline`` alone knows the order of an ingest; ``egress`` alone opens a socket to the outside.
"""
