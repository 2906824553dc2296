"""One S3 client per process, and its errors in one line of plain words.

Configuration comes from the standard variables alone, so that this client and pyarrow's (see
`s3.arrow_filesystem`) cannot disagree.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import boto3.session
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    ParamValidationError,
    SSLError,
)
from botocore.exceptions import ConnectionError as NoConnectionError

from selfseg.errors import UsageError
from selfseg.stores.errors import Conflict, CutOff, MissingObject, StorageError, Unreachable
from selfseg.stores.patience import Patience, is_hurried

HURRIED_S = 4.0
"""How long a request of who is in a hurry waits for a server that took it and says nothing."""

CHANGED = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
MISSING = {"NoSuchKey", "404"}
_AWAY = {"InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown"}
"""What a server answers that will serve later; so do statuses from 500 on."""
_REMEDIES = {
    "NoSuchBucket": "no such bucket; create it or correct its name",
    "InvalidBucketName": "not a valid bucket name; correct it",
    "AccessDenied": "access denied; give {key} the right to do this, or use other keys",
    "403": "access denied; give {key} the right to do this, or use other keys",
    "InvalidAccessKeyId": "{endpoint} does not know {key}; correct AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "{endpoint} refuses the secret of {key}; "
    "correct AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the temporary keys have expired; get new ones",
    "RequestTimeTooSkewed": "this machine's clock is wrong; set it",
    "PermanentRedirect": "the bucket is not in region {region}; set AWS_REGION",
    "AuthorizationHeaderMalformed": "the bucket is not in region {region}; set AWS_REGION",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket and a key (or prefix) in it, without slashes at the ends."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, url: str) -> "Place":
        """Split s3://bucket/key."""
        bucket, _, key = url.removeprefix("s3://").partition("/")
        if not bucket:
            raise UsageError(f"{url}: names no bucket; expected s3://bucket/prefix")
        return cls(bucket, key.strip("/"))

    @property
    def object(self) -> dict[str, str]:
        """The object as arguments of a request."""
        if not self.key:
            raise UsageError(f"s3://{self.bucket}: names a bucket where an object is needed")
        return {"Bucket": self.bucket, "Key": self.key}


KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@dataclass(frozen=True, slots=True)
class Access:
    """Address and keys; an empty `endpoint` means Amazon's own.

    No key: what boto3 and pyarrow find by themselves, such as the role of a machine or a pod,
    whose keys change by the hour.
    """

    access_key: str | None
    secret_key: str | None = field(repr=False)
    session_token: str | None = field(repr=False)
    region: str
    endpoint: str

    @classmethod
    def from_environment(cls, url: str) -> "Access":
        """Read the standard variables; `url` is named when the keys are missing."""
        environment = os.environ
        keys = {name: environment.get(name) or None for name in KEYS}
        missing = [name for name, value in keys.items() if not value]
        if missing and (len(missing) < len(keys) or not _have_role()):
            raise StorageError(f"{url}: no credentials, and no role; set {missing[0]}")
        access_key, secret_key = keys.values()
        return cls(
            access_key=access_key,
            secret_key=secret_key,
            session_token=environment.get("AWS_SESSION_TOKEN") or None,
            region=environment.get("AWS_REGION")
            or environment.get("AWS_DEFAULT_REGION")
            or "us-east-1",
            endpoint=environment.get("AWS_ENDPOINT_URL_S3")
            or environment.get("AWS_ENDPOINT_URL")
            or "",
        )


@lru_cache(maxsize=1)
def _have_role() -> bool:
    """Tell whether boto3 finds keys by itself; asked once, for nobody may answer for seconds."""
    return boto3.session.Session().get_credentials() is not None


_expected: set[str] = set()
"""Addresses at which somebody has answered, so that silence there means an outage."""


def expect_answers() -> None:
    """Wait at first contact, too: another process has reached the place already."""
    _expected.add(_endpoint())


def request(url: str, ask: Callable[[Any], Any]) -> Any:
    """Let `ask` make a request of this process's client, again and again while the store is away.

    Raises:
        Unreachable: it stayed away for as long as the patience lasts, or at first contact.
    """
    Place.parse(url)  # a mistake in it is told before the place is looked for
    with explained(url), Patience(url) as patience:
        while True:
            try:
                answer = ask(connect(url))
            except (BotoCoreError, ClientError) as error:
                if not _is_away(error):
                    patience.renew()  # a refusal is an answer
                    raise
                if _endpoint() not in _expected:
                    raise
                patience.rest(error)
            else:
                patience.renew()
                return answer


def _is_away(error: Exception) -> bool:
    """Tell a store that may serve the same request later from a refusal that will come again."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        away = error.response.get("Error", {}).get("Code") in _AWAY
        return away or status == 429 or (status >= 500 and status != 501)
    unreached = isinstance(error, (HTTPClientError, NoConnectionError, IncompleteReadError))
    return unreached and not isinstance(error, SSLError)


def connect(url: str) -> Any:
    """Return this process's client for the present environment.

    Raises:
        StorageError: no keys, or nobody answers at the endpoint (known within seconds).
    """
    # A client shared over a fork would share its sockets; the process id keeps them apart.
    return _connect(os.getpid(), Access.from_environment(url), hurried=is_hurried())


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Turn botocore's errors into `StorageError`, in one line that names `url`."""
    try:
        yield
    except ClientError as error:
        raise _refusal(url, error) from error
    except SSLError as error:
        raise StorageError(
            f"{url}: {_endpoint()} is not trusted ({one_line(error)}); "
            "set AWS_CA_BUNDLE to the file of its certificate authority"
        ) from error
    except (HTTPClientError, NoConnectionError, IncompleteReadError) as error:
        raise Unreachable(
            f"{url}: no connection to {_endpoint()} ({one_line(error)}); "
            "start the server, or correct AWS_ENDPOINT_URL"
        ) from error
    except ParamValidationError as error:
        raise UsageError(f"{url}: not a bucket name and key that S3 allows; correct it") from error
    except (BotoCoreError, Boto3Error, ValueError) as error:
        raise StorageError(
            f"{url}: {one_line(error)}; correct the URL or the AWS_* variables"
        ) from error


@lru_cache(maxsize=8)
def _connect(process: int, access: Access, *, hurried: bool) -> Any:
    session = boto3.session.Session()
    if hurried:
        _connect(process, access, hurried=False)  # makes the first contact, if nobody has
        return _client(session, access, attempts=1, read_timeout_s=HURRIED_S)
    # To wait for an outage to end would make a wrong address look like a hang: the first contact
    # is made with little patience.
    first_contact = _client(session, access, attempts=2, read_timeout_s=10)
    with closing(first_contact), suppress(ClientError):
        first_contact.list_buckets()  # a refusal is an answer too; the real request explains it
    _expected.add(_endpoint())
    return _client(session, access, attempts=3, read_timeout_s=60)


def _client(
    session: boto3.session.Session, access: Access, *, attempts: int, read_timeout_s: float
) -> Any:
    return session.client(
        "s3",
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        aws_session_token=access.session_token,
        region_name=access.region,
        endpoint_url=access.endpoint or None,
        config=Config(
            retries={"mode": "adaptive", "total_max_attempts": attempts},
            connect_timeout=4,
            read_timeout=read_timeout_s,
            max_pool_connections=32,
            s3={"addressing_style": "path" if access.endpoint else "auto"},
            # Servers other than Amazon's stumble over the trailing checksums that botocore
            # sends by default since 2025.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _refusal(url: str, error: ClientError) -> StorageError:
    details = error.response.get("Error", {})
    code = str(details.get("Code", ""))
    if code in MISSING:
        return MissingObject(f"{url}: no such object; check the URL")
    if code in CHANGED:
        return Conflict(f"{url}: changed by another process meanwhile; run again")
    if code == "InvalidRange":
        return CutOff(f"{url}: the object is shorter than what is asked of it; write it again")
    remedy = _REMEDIES.get(code)
    if remedy is None:
        kind = Unreachable if _is_away(error) else StorageError
        return kind(
            f"{url}: {_endpoint()} answered {code}: {one_line(details.get('Message', ''))}; "
            "see the server's log"
        )
    access = Access.from_environment(url)
    filled = remedy.format(
        endpoint=_endpoint(), key=access.access_key or "of the role", region=access.region
    )
    return StorageError(f"{url}: {filled}")


def _endpoint() -> str:
    return (
        os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "Amazon S3"
    )


def one_line(text: object) -> str:
    """Put a foreign message on one line, without its full stop."""
    return " ".join(str(text).split()).rstrip(".")
