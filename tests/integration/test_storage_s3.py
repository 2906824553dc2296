"""What goes wrong at an S3 server is said in one line."""

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pyarrow import fs

from selfseg import storage
from selfseg.errors import UsageError
from selfseg.stores import s3_client
from selfseg.stores.s3_client import connect

MIB = 1 << 20


EVERY_REQUEST: list[Callable[[str], object]] = [
    storage.read,
    storage.size,
    storage.exists,
    lambda url: storage.read_range(url, 0, 1),
    lambda url: storage.write(url, b""),
    lambda url: storage.replace(url, b"", None),
    lambda url: storage.replace(url, b"", b"old"),
    storage.delete_tree,
    storage.listing,
    storage.probe,
    lambda url: storage.upload(Path(__file__), url),
]


@pytest.mark.parametrize("request_to", EVERY_REQUEST)
def test_a_missing_bucket_is_an_error_of_every_request(
    s3: str, request_to: Callable[[str], object]
):
    with pytest.raises(storage.StorageError, match=r"^s3://nowhere/a: no such bucket; create") as e:
        request_to("s3://nowhere/a")
    assert not isinstance(e.value, storage.MissingObject)


@pytest.mark.parametrize("request_to", EVERY_REQUEST)
def test_a_wrong_secret_is_an_error_of_every_request(
    prefix: str, request_to: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    message = f"^{prefix}: .* refuses the secret of LOCAL.*; correct AWS_SECRET_ACCESS_KEY$"
    with pytest.raises(storage.StorageError, match=message):
        request_to(prefix)


def test_an_unknown_key_is_named(prefix: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    with pytest.raises(storage.StorageError, match=r"does not know nobody; .*AWS_ACCESS_KEY_ID$"):
        storage.exists(prefix)


def test_a_right_that_the_keys_lack_is_reported(s3: str):
    client = connect(s3)
    client.create_bucket(Bucket="locked")
    everyone_may_not = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:GetObject", "s3:PutObject"],
        "Resource": ["arn:aws:s3:::locked/*"],
    }
    policy = {"Version": "2012-10-17", "Statement": [everyone_may_not]}
    client.put_bucket_policy(Bucket="locked", Policy=json.dumps(policy))
    for attempt in (storage.read, storage.exists, storage.probe):
        with pytest.raises(storage.StorageError, match=r"^s3://locked/a: access denied; give LOCA"):
            attempt("s3://locked/a")


def test_a_bucket_name_that_cannot_be_is_a_mistake_of_usage(s3: str):
    with pytest.raises(UsageError, match=r"^s3://no bucket!/a: not a bucket name and key"):
        storage.read("s3://no bucket!/a")


def test_a_bucket_alone_is_no_object(s3: str):
    with pytest.raises(UsageError, match=f"^{s3}: names a bucket where an object is needed$"):
        storage.write(s3, b"")


def test_a_server_that_ignores_conditions_is_refused(prefix: str):
    def ignore(params: dict[str, object], **_event: object) -> None:
        params.pop("IfNoneMatch", None)

    events = connect(prefix).meta.events
    events.register("provide-client-params.s3.PutObject", ignore)
    try:
        with pytest.raises(storage.StorageError, match=f"^{prefix}: .*ignores conditional writes"):
            storage.probe(prefix)
    finally:
        events.unregister("provide-client-params.s3.PutObject", ignore)
    storage.probe(prefix)
    assert storage.listing(prefix) == []


def test_a_probe_says_when_only_pyarrow_is_refused(prefix: str, monkeypatch: pytest.MonkeyPatch):
    def with_wrong_keys(url: str) -> tuple[fs.FileSystem, str]:
        address = urlsplit(connect(url).meta.endpoint_url)
        return fs.S3FileSystem(
            access_key="nobody",
            secret_key="nothing",
            region="us-east-1",
            scheme=address.scheme,
            endpoint_override=address.netloc,
        ), url.removeprefix("s3://")

    monkeypatch.setattr("selfseg.stores.s3.arrow_filesystem", with_wrong_keys)
    with pytest.raises(storage.StorageError, match=f"^{prefix}: .*but pyarrow.* does not: ") as e:
        storage.probe(prefix)
    assert "\n" not in str(e.value)


def test_a_forked_process_makes_a_client_of_its_own(prefix: str):
    storage.write(f"{prefix}/object", b"data")
    ours = id(connect(prefix))
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(
        target=lambda: answers.put((storage.read(f"{prefix}/object"), id(connect(prefix)) == ours))
    )
    child.start()
    assert answers.get() == (b"data", False)
    child.join()
    assert id(connect(prefix)) == ours


def test_keys_that_boto3_finds_by_itself_will_do(prefix, monkeypatch, tmp_path):
    """As a machine's role gives them: not in the environment."""
    profile = tmp_path / "credentials"
    names = {
        "aws_access_key_id": "AWS_ACCESS_KEY_ID",
        "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    }
    lines = [f"{name} = {os.environ[variable]}" for name, variable in names.items()]
    profile.write_text("\n".join(["[default]", *lines]))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profile))
    for variable in names.values():
        monkeypatch.delenv(variable)
    s3_client._have_role.cache_clear()
    storage.write(f"{prefix}/a", b"abc")
    assert storage.read(f"{prefix}/a") == b"abc"
    s3_client._have_role.cache_clear()
