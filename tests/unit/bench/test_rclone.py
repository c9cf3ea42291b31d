"""How rclone is told what to do."""

from __future__ import annotations

from bench.rclone import TUNINGS, Tuning


def test_a_tuning_is_carried_by_the_remote() -> None:
    assert Tuning("16Mi", 4).write_remote("media") == (
        ":s3,upload_cutoff=0,chunk_size=16Mi,upload_concurrency=4:media"
    )
    assert Tuning("", 1).write_remote("media") == ":s3,upload_cutoff=5Gi:media"


def test_every_tuning_has_a_name_of_its_own() -> None:
    names = [str(tuning) for tuning in TUNINGS]

    assert len(set(names)) == len(names)
    assert names[0] == "copyurl 16Mi x 4"
    assert str(Tuning("16Mi", 4, streams=4)) == "copyto 16Mi x 4, 4 streams"
