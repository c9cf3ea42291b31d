"""What `headrace ingest` says of a File after it was made."""

from __future__ import annotations

import pytest

from cli.answers import File, read_answer
from cli.commands.ingest import _verify


def test_a_file_without_a_checksum_is_not_read_back_and_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Nobody listens there.
    told = {"id": "file_1", "url": "http://127.0.0.1:1/", "checksum": None, "filesize": 3}

    _verify(read_answer(File, told))

    assert capsys.readouterr().err.startswith("Not verified: the object store copied the file")
