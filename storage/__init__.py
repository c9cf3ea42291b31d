"""Everything that keeps something: objects in S3, records in PostgreSQL, signals in Redis.

``storage.objects`` and ``storage.records`` do not know each other; whoever needs both is handed
both.
"""
