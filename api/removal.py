"""Deleting files: the object, its record, its name and its place in the project's quota."""

from __future__ import annotations

from api.services import Services
from storage.records import files, projects


def remove_file(services: Services, project_id: str, file_id: str) -> bool:
    """Delete a file's object, then its row: a failure in between leaves a row to delete again.

    Returns:
        Whether there was such a file.

    Raises:
        StorageUnavailable, DatabaseUnavailable: it is still there.
    """
    with services.database.transaction() as connection:
        removed = files.remove(connection, project_id, file_id)
        if removed is None:
            return False
        if removed.poster_key is not None:
            services.store.delete(removed.poster_key)
        services.store.delete(removed.stored_key)
        projects.give_back(connection, project_id, removed.filesize_bytes)
    return True
