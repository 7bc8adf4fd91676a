"""An object store for tests: the part of S3's protocol that a broker needs to keep its log outside of itself."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape


class _Handler(BaseHTTPRequestHandler):
    """GET, HEAD, PUT (also conditional), DELETE of objects, and the list of a bucket; all kept in memory."""

    objects: dict[str, bytes]
    lock: threading.Lock

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query, keep_blank_values=True)
        if "list-type" in query:
            self._list(url.path.strip("/") + "/", query)
            return
        with self.lock:
            body = self.objects.get(url.path)
        if body is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        status, etag, total = 200, _etag(body), len(body)
        extra = {}
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start = int(first) if first else max(0, total - int(last))
            stop = min(int(last), total - 1) if first and last else total - 1
            body, status = body[start : stop + 1], 206
            extra["Content-Range"] = f"bytes {start}-{stop}/{total}"
        self._answer(status, body, ETag=etag, **extra)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.lock:
            old = self.objects.get(path)
            clash = self.headers.get("If-None-Match") == "*" and old is not None
            match = self.headers.get("If-Match")
            stale = match is not None and (old is None or _etag(old) != match)
            if not clash and not stale:
                self.objects[path] = body
        if clash or stale:
            self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        else:
            self._answer(200, b"", ETag=_etag(body))

    def do_DELETE(self) -> None:
        with self.lock:
            self.objects.pop(urlsplit(self.path).path, None)
        self._answer(204, b"")

    def _list(self, bucket: str, query: dict[str, list[str]]) -> None:
        prefix = query.get("prefix", [""])[0]
        delimiter = query.get("delimiter", [""])[0]
        contents, folders = [], set[str]()
        with self.lock:
            found = sorted(self.objects.items())
        for path, body in found:
            key = path.removeprefix("/").removeprefix(bucket)
            if not path.removeprefix("/").startswith(bucket + prefix):
                continue
            rest = key.removeprefix(prefix)
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                contents.append((key, body))
        listed = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>{escape(_etag(body))}</ETag><Size>{len(body)}</Size></Contents>"
            for key, body in contents
        )
        listed += "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in sorted(folders)
        )
        head = f"<Name>{bucket[:-1]}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(contents)}</KeyCount>"
        text = f"<ListBucketResult>{head}<IsTruncated>false</IsTruncated>{listed}</ListBucketResult>"
        self._answer(200, text.encode())

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged."""


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


@contextmanager
def object_store() -> Iterator[str]:
    """The address of a running store; it forgets everything at the end."""
    state = {"objects": {}, "lock": threading.Lock()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), state))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="object store")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
