"""One connection to the sink: requests in, answers out."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass

from bench.sink import answers
from bench.sink.bodies import send_object, take_body
from bench.sink.objects import Objects
from bench.wire import Inlet, RequestHead

# No bucket can be called that. What arrived so far, as JSON: size and sha256 by key.
REPORT_PATH = "/-/report"
_KEPT_HEADERS = {"content-type": "Content-Type", "content-disposition": "Content-Disposition"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A connection.

    Args:
        verify: whether what arrives is hashed.
    """

    connection: socket.socket
    inlet: Inlet
    objects: Objects
    verify: bool

    def run(self) -> None:
        """Answer until the client is done.

        Raises:
            OSError, ValueError: the client is gone, or speaks no S3 that is known here.
        """
        while (head := self.inlet.read_head()) is not None:
            if head.headers.get("expect", "").lower() == "100-continue":
                self.connection.sendall(answers.CONTINUE)
            if "transfer-encoding" in head.headers:
                raise ValueError("S3 takes no body without a length")
            bucket, _, key = head.path.removeprefix("/").partition("/")
            if head.method == "PUT" and key:
                answer = self._take(head, key)
            else:
                self.inlet.drain(head.body_bytes)
                if head.method == "GET" and key and head.path != REPORT_PATH:
                    send_object(self.connection, head, self.objects.find(key))
                    continue
                answer = self._answer(head, bucket, key)
            self.connection.sendall(answer)

    def _answer(self, head: RequestHead, bucket: str, key: str) -> bytes:
        if head.path == REPORT_PATH:
            return self._report()
        if not key:
            return self._answer_for_bucket(head, bucket)
        if head.method == "POST":
            return self._begin_or_complete(head, bucket, key)
        if head.method == "DELETE":
            if "uploadId" in head.query:
                self.objects.abort(head.query["uploadId"])
            else:
                self.objects.delete(key)
            return answers.write_answer(204)
        stored = self.objects.find(key)
        if stored is None:
            # A HEAD's answer has no body to say more in.
            return answers.write_answer(404)
        headers = answers.describe(stored)
        return answers.write_answer(200, headers=headers, length=stored.size_bytes)

    def _answer_for_bucket(self, head: RequestHead, bucket: str) -> bytes:
        if head.method != "GET":
            return answers.write_answer(200)
        if "uploads" in head.query:
            inner = answers.write_elements(Bucket=bucket, IsTruncated="false")
            return answers.write_xml("ListMultipartUploadsResult", inner)
        prefix = head.query.get("prefix", "")
        return answers.write_listing(bucket, prefix, self.objects.list(prefix))

    def _take(self, head: RequestHead, key: str) -> bytes:
        body = take_body(self.inlet, head, verify=self.verify)
        if "partNumber" in head.query:
            number = int(head.query["partNumber"])
            etag = self.objects.put_part(head.query["uploadId"], number, body)
            if etag is None:
                return answers.write_error(404, "NoSuchUpload")
        elif self._is_in_the_way(head, key):
            return answers.write_error(412, "PreconditionFailed")
        else:
            etag = self.objects.put(key, body, _pick_headers(head)).etag
        return answers.write_answer(200, headers={"ETag": f'"{etag}"'})

    def _begin_or_complete(self, head: RequestHead, bucket: str, key: str) -> bytes:
        if "uploads" in head.query:
            upload_id = self.objects.begin(key, _pick_headers(head))
            inner = answers.write_elements(Bucket=bucket, Key=key, UploadId=upload_id)
            return answers.write_xml("InitiateMultipartUploadResult", inner)
        if self._is_in_the_way(head, key):
            return answers.write_error(412, "PreconditionFailed")
        stored = self.objects.complete(head.query.get("uploadId", ""))
        if stored is None:
            return answers.write_error(404, "NoSuchUpload")
        inner = answers.write_elements(Bucket=bucket, Key=key, ETag=f'"{stored.etag}"')
        return answers.write_xml("CompleteMultipartUploadResult", inner)

    def _is_in_the_way(self, head: RequestHead, key: str) -> bool:
        return head.headers.get("if-none-match") == "*" and self.objects.find(key) is not None

    def _report(self) -> bytes:
        found = {
            key: {"size_bytes": one.size_bytes, "sha256": one.sha256}
            for key, one in self.objects.list("").items()
        }
        content = json.dumps(found).encode()
        return answers.write_answer(200, content, {"Content-Type": "application/json"})


def _pick_headers(head: RequestHead) -> dict[str, str]:
    given = head.headers
    picked = {shown: given[name] for name, shown in _KEPT_HEADERS.items() if name in given}
    return picked | {name: given[name] for name in given if name.startswith("x-amz-meta-")}
