"""`headrace ingest`: a URL in, a File out, with the bytes read back and checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from cli.answers import File
from cli.client import ApiClient, hash_download
from cli.display import say, show_json, show_object, show_progress
from cli.home import find_home
from cli.problems import IngestFailed
from cli.target import Target, find_target
from ingest.states import Status


@click.command()
@click.argument("url", required=False)
@click.option("--folder", help="Folder in the bucket.")
@click.option("--filename", help="Name in the folder; without it the file is named by its id.")
@click.option("--ref", help="Your own id for it.")
@click.option("--checksum", help="Fail unless the bytes match, e.g. sha256:… and hex.")
@click.option("--max-bytes", type=click.IntRange(min=1), help="Fail if the source is longer.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON on stdout, no progress.")
@click.option("--no-verify", is_flag=True, help="Do not read the stored bytes back and hash them.")
def ingest(
    *,
    url: str | None,
    folder: str | None,
    filename: str | None,
    ref: str | None,
    checksum: str | None,
    max_bytes: int | None,
    as_json: bool,
    no_verify: bool,
) -> None:
    """Ingest URL and print the File as JSON.

    Without URL it makes a short video and ingests that. It uses HEADRACE_URL and HEADRACE_KEY, else
    the stack that runs here, else it starts one and stops it again.
    """
    asked = {
        "folder": folder,
        "filename": filename,
        "ref": ref,
        "checksum": checksum,
        "max_bytes": max_bytes,
    }
    with _reach_target() as target:
        source = url or _prepare_sample(target)
        order = {name: value for name, value in asked.items() if value is not None}
        with ApiClient(target.url, target.key) as client:
            file = _run(client, {"url": source, **order}, quiet=as_json)
        (show_json if as_json else show_object)(file.raw)
        if not no_verify:
            _verify(file)


def _run(client: ApiClient, order: dict[str, object], *, quiet: bool) -> File:
    task = client.create_task(order)
    with show_progress(str(order["url"]).partition("?")[0], quiet=quiet) as update:
        update(task)
        task = client.wait_for_task(task.id, update)
    if task.status is not Status.COMPLETE or task.file is None:
        failure = task.error
        why = f"{failure.code}: {failure.message}" if failure is not None else task.status.value
        raise IngestFailed(f"{task.id} did not complete. {why}")
    return task.file


def _verify(file: File) -> None:
    if file.checksum is None:
        say("Not verified: the object store copied the file and tells no SHA-256 of it.")
        return
    found = f"sha256:{hash_download(file.url)}"
    if found != file.checksum:
        raise IngestFailed(
            f"The bytes behind {file.url} hash to {found}, and the File says {file.checksum}."
        )
    say(f"Verified: the bytes behind {file.url} have {found}.")


def _prepare_sample(target: Target) -> str:
    if target.sample_url is None:
        raise click.UsageError("Give a URL: only a local stack has a sample of its own.")
    from cli.sample import make_sample

    make_sample(find_home().path)
    return target.sample_url


@contextmanager
def _reach_target() -> Iterator[Target]:
    target = find_target()
    if target is not None:
        yield target
        return
    from cli.interrupts import catch_interrupts
    from cli.local import LocalStack

    say("No stack runs here; starting one for this ingest.")
    stack = LocalStack(find_home().path, say=say)
    with catch_interrupts(stack) as interrupts, stack:
        with interrupts.throwing():
            yield Target(stack.api_url, stack.api_key, stack.sample_url)
        say("Stopping the stack that was started for this.")
