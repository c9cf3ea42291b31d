"""Names of operations."""

from __future__ import annotations

import pytest

from api.operation_names import name_operation


@pytest.mark.parametrize(
    ("method", "path", "is_list", "name"),
    [
        ("get", "/files", True, "list_files"),
        ("post", "/files", False, "create_file"),
        ("get", "/files/{file_id}", False, "get_file"),
        ("patch", "/files/{file_id}", False, "update_file"),
        ("delete", "/files/{file_id}", False, "delete_file"),
        ("get", "/media", True, "list_media"),
        ("get", "/media/{media_id}", False, "get_media"),
        ("post", "/tasks/{task_id}/cancel", False, "cancel_task"),
        ("get", "/batches/{batch_id}/tasks", True, "list_batch_tasks"),
        ("get", "/batches/{batch_id}/results.csv", False, "get_batch_results_csv"),
        ("get", "/webhooks/deliveries/{delivery_id}", False, "get_webhook_delivery"),
        ("post", "/webhooks/endpoints/{endpoint_id}/test", False, "test_webhook_endpoint"),
        ("post", "/webhooks/secret/rotate", False, "rotate_webhook_secret"),
        ("get", "/project", False, "get_project"),
        ("get", "/metrics", False, "get_metrics"),
    ],
)
def test_an_operation_is_called_after_its_path(
    method: str, path: str, *, is_list: bool, name: str
) -> None:
    assert name_operation(method, path, is_list=is_list) == name
