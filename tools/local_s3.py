"""Start a real S3 server on this machine, for development and tests: SeaweedFS from PyPI.

python tools/local_s3.py --folder DIR --bucket NAME      serve until Ctrl-C
python tools/local_s3.py --bucket NAME --run -- COMMAND  serve for the length of one command

It listens on 127.0.0.1 alone and takes requests signed with its keys alone.
"""

import argparse
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import boto3.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from selfseg.errors import UserError

HOST = "127.0.0.1"
READY_WITHIN_S = 60
STARTS = 3


@dataclass(frozen=True, slots=True)
class Keys:
    """What requests are signed with; made up unless given."""

    access: str = field(default_factory=lambda: "LOCAL" + secrets.token_hex(8).upper())
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(30), repr=False)


@contextmanager
def local_s3(
    folder: Path,
    buckets: Sequence[str],
    *,
    port: int | None = None,
    keys: Keys | None = None,
    others: Mapping[Keys, Sequence[str]] | None = None,
    metrics_port: int = 0,
) -> Iterator[dict[str, str]]:
    """Serve `folder` while the context lasts; yield the AWS_* variables that reach it.

    Args:
        folder: where the objects are kept; made if missing. A later start finds them again.
        buckets: made if missing.
        port: of the S3 interface; None takes a free one.
        keys: the pair that may do everything; None makes one up.
        others: further pairs, and what each may do: "Read", "Write", "List", each of all buckets
            or, as in "Read:bucket", of one.
        metrics_port: where it tells Prometheus what it has sent of each bucket; 0: nowhere.

    Raises:
        UserError: the server is not installed, or did not start; says why.
    """
    keys = keys or Keys()
    folder.mkdir(parents=True, exist_ok=True)
    # Log, keys and sockets; not in `folder`, since a socket's path is short of 108 characters.
    with tempfile.TemporaryDirectory(prefix="local-s3-") as scratch, ExitStack() as running:
        # Somebody may take one of the free ports before the server does: a few starts.
        for _ in range(1 if port else STARTS):
            identities = {keys: ["Admin"], **(others or {})}
            server = _launch(folder.resolve(), Path(scratch), port, identities, metrics_port)
            running.callback(_stop, server)
            if _answers(server):
                break
            running.close()
        else:
            raise UserError(f"{folder}: the S3 server did not start: {_last_words(Path(scratch))}")
        for bucket in buckets:
            make_bucket(server.environment, bucket)
        yield server.environment


@dataclass(frozen=True, slots=True)
class _Server:
    process: "subprocess.Popen[bytes]"
    ports: dict[str, int]
    environment: dict[str, str]


def _launch(
    folder: Path,
    scratch: Path,
    port: int | None,
    identities: Mapping[Keys, Sequence[str]],
    metrics_port: int,
) -> _Server:
    beside_python = str(Path(sys.executable).parent)
    program = shutil.which("weed", path=os.pathsep.join([beside_python, os.environ["PATH"]]))
    if program is None:
        raise UserError("weed: not found; pip install 'selfseg[local-s3]'")
    listed = [
        {
            "name": keys.access,
            "credentials": [{"accessKey": keys.access, "secretKey": keys.secret}],
            "actions": list(actions),
        }
        for keys, actions in identities.items()
    ]
    (scratch / "identities.json").write_text(json.dumps({"identities": listed}))
    ports = free_ports(port)
    options = _options(folder, scratch) | ports | {"metricsPort": metrics_port}
    with (scratch / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "server", *(f"-{name}={value}" for name, value in options.items())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=scratch,
            start_new_session=True,  # Ctrl-C is for the command being run; we stop the server
        )
    return _Server(process, ports, _environment(ports["s3.port"], next(iter(identities))))


def _options(folder: Path, scratch: Path) -> dict[str, object]:
    return {
        "dir": folder,
        "ip": HOST,
        "ip.bind": HOST,
        "s3": "true",
        "s3.config": scratch / "identities.json",
        "s3.autoCreateBucket": "false",  # a misspelt bucket must be an error, as elsewhere
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": scratch / "s3.sock",
        "filer.localSocket": scratch / "filer.sock",
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 1024,
        "volume.max": 1000,  # each bucket takes several; they are empty files at first
        "volume.preStopSeconds": 0,
    }


def free_ports(s3_port: int | None) -> dict[str, int]:
    """Find a port for each part of the server, named like its option; one may be given."""
    names = [f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3")
             for kind in ("", ".grpc")]  # fmt: skip
    ports = {}
    with ExitStack() as stack:
        for name in names:
            listener = stack.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            wanted = s3_port if s3_port and name == "s3.port" else 0
            try:
                listener.bind((HOST, wanted))
            except OSError as error:
                raise UserError(f"port {wanted}: {error.strerror}; choose another") from None
            ports[name] = listener.getsockname()[1]
    return ports


def _environment(port: int, keys: Keys) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",
        "AWS_ACCESS_KEY_ID": keys.access,
        "AWS_SECRET_ACCESS_KEY": keys.secret,
        "AWS_REGION": "us-east-1",
    }


def _client(environment: dict[str, str]):
    return boto3.session.Session().client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
        config=Config(
            connect_timeout=2,
            read_timeout=30,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
        ),
    )


def _answers(server: _Server) -> bool:
    """Wait until a signed request succeeds; False when the server has ended instead."""
    deadline = time.monotonic() + READY_WITHIN_S
    with closing(_client(server.environment)) as client:
        while time.monotonic() < deadline and server.process.poll() is None:
            try:
                client.list_buckets()
            except (BotoCoreError, ClientError):
                time.sleep(0.1)
            else:
                return True
    return False


def make_bucket(environment: dict[str, str], bucket: str) -> None:
    """Make a bucket, ready to be written to, unless it is there; `environment` from `local_s3`."""
    with closing(_client(environment)) as client:
        if bucket in {known["Name"] for known in client.list_buckets()["Buckets"]}:
            return
        try:
            client.create_bucket(Bucket=bucket)
            # The first bytes of a bucket can take the server seconds: not at the user's cost.
            client.put_object(Bucket=bucket, Key="first", Body=b"bytes")
            client.delete_object(Bucket=bucket, Key="first")
        except (BotoCoreError, ClientError) as error:
            raise UserError(f"s3://{bucket}: cannot be made: {error}") from None


def _stop(server: _Server) -> None:
    server.process.terminate()
    try:
        server.process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        # Its orderly end waits for connections it keeps to itself; what it has acknowledged
        # is with the operating system and outlives the process.
        server.process.kill()
        server.process.wait()
    for part in ("master", "volume", "filer", "s3"):
        socket_name = f"seaweedfs-{part}-grpc-{server.ports[f'{part}.port.grpc']}.sock"
        Path("/tmp", socket_name).unlink(missing_ok=True)


def _last_words(scratch: Path) -> str:
    lines = (scratch / "log").read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "without a word")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where objects are kept (default: forgotten)")
    parser.add_argument("--port", type=int, help="of the S3 interface (default: a free one)")
    parser.add_argument("--bucket", action="append", default=[], help="to make; repeatable")
    parser.add_argument("--access-key", help="(default: made up)")
    parser.add_argument("--secret-key", help="(default: made up)")
    parser.add_argument("--run", action="store_true", help="serve for one command: -- COMMAND...")
    parser.add_argument("command", nargs="*", help="the command of --run, after --")
    arguments = parser.parse_args()
    if arguments.run != bool(arguments.command):
        parser.error("--run and a command after -- belong together")
    if arguments.run and shutil.which(arguments.command[0]) is None:
        parser.error(f"{arguments.command[0]}: no such command")
    return arguments


def _serve(arguments: argparse.Namespace) -> int:
    given = {"access": arguments.access_key, "secret": arguments.secret_key}
    keys = Keys(**{name: value for name, value in given.items() if value})
    with ExitStack() as stack:
        folder = arguments.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="local-s3-objects-"))
        )
        environment = stack.enter_context(
            local_s3(folder, arguments.bucket, port=arguments.port, keys=keys)
        )
        if arguments.run:
            others = {name: value for name, value in os.environ.items() if name[:4] != "AWS_"}
            environment = others | environment
            return subprocess.run(arguments.command, env=environment, check=False).returncode
        for name, value in environment.items():
            print(f"export {name}={shlex.quote(value)}", flush=True)
        print("# serving; Ctrl-C ends it", file=sys.stderr, flush=True)
        while True:
            signal.pause()


def _end(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def main() -> int:
    """Run the program; return its exit code."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, _end)
    try:
        return _serve(_arguments())
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
