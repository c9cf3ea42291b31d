"""PostgreSQL, the truth: tables, and the functions that read and change them.

Each function takes an open connection and leaves commit and rollback to whoever opened it
(:meth:`storage.records.database.Database.transaction`), so that several changes make one
transaction.
"""
