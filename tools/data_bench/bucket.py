"""An S3 server that holds what every library wrote, and tells how much of it was downloaded."""

import os
import re
import socket
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import boto3
from local_s3 import HOST, local_s3

SENT = re.compile(r'^SeaweedFS_s3_bucket_traffic_sent_bytes_total\{bucket="(.+)"\} (\S+)$', re.M)


class Bucket:
    """One library's bucket.

    url: s3://bucket
    size: bytes of all objects that belong to what is read
    """

    def __init__(self, name: str, folder: Path, metrics: str) -> None:
        """Upload a folder."""
        self.name, self.url, self._metrics = name, f"s3://{name}", metrics
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        self.size = sum(path.stat().st_size for path in files)
        client = boto3.client("s3")
        for path in files:
            client.upload_file(str(path), name, str(path.relative_to(folder)))

    def sent(self) -> float:
        """Return how many bytes of objects the server has sent so far, as it counts them."""
        with urllib.request.urlopen(self._metrics) as answer:
            counters = dict(SENT.findall(answer.read().decode()))
        return float(counters.get(self.name, 0))


@contextmanager
def buckets(folders: Mapping[str, Path], objects: Path) -> Iterator[dict[str, Bucket]]:
    """Serve what lies in each folder from a bucket of the folder's name, kept below `objects`.

    Meanwhile this process's AWS_* variables, and its children's, reach the server.
    """
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port = listener.getsockname()[1]
    before = dict(os.environ)
    names = {library: library.replace("_", "-") for library in folders}
    with local_s3(objects, list(names.values()), metrics_port=port) as environment:
        os.environ.update(environment)
        try:
            metrics = f"http://{HOST}:{port}/metrics"
            yield {
                library: Bucket(names[library], folder, metrics)
                for library, folder in folders.items()
            }
        finally:
            os.environ.clear()
            os.environ.update(before)
