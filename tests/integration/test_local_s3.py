import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from selfseg import storage
from selfseg.errors import UserError
from tools.local_s3 import HOST, Keys, local_s3, make_bucket

REPOSITORY = Path(__file__).parents[2]
PROGRAM = [sys.executable, str(REPOSITORY / "tools" / "local_s3.py")]


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, check=False, cwd=REPOSITORY
    )


def test_a_command_finds_the_server_and_its_exit_code_is_handed_on():
    script = (
        "from selfseg import storage; storage.write('s3://videos/a', b'bytes'); "
        "raise SystemExit(len(storage.read('s3://videos/a')))"
    )
    ended = run("--bucket", "videos", "--run", "--", sys.executable, "-c", script)
    assert ended.returncode == len(b"bytes"), ended.stderr


@pytest.mark.slow
def test_a_later_server_finds_the_objects_of_the_one_before(tmp_path, monkeypatch):
    for operation in (
        lambda: storage.write("s3://videos/a", b"kept"),
        lambda: storage.read("s3://videos/a"),
    ):
        with local_s3(tmp_path, ["videos"], keys=Keys("key", "secret")) as environment:
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            answer = operation()
    assert answer == b"kept"


def test_the_printed_lines_set_up_a_shell_and_the_server_ends_with_the_program(tmp_path):
    arguments = ["--bucket", "videos", "--access-key", "key", "--secret-key", "a secret"]
    with subprocess.Popen(
        [*PROGRAM, *arguments], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as serving:
        assert serving.stdout
        lines = [serving.stdout.readline() for _ in range(4)]
        shell = subprocess.run(
            ["sh", "-c", "".join(lines) + "env"],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": os.environ["PATH"]},
        )
        variables = dict(line.split("=", 1) for line in shell.stdout.splitlines())
        port = int(variables["AWS_ENDPOINT_URL"].rsplit(":", 1)[1])
        assert variables["AWS_SECRET_ACCESS_KEY"] == "a secret"
        with socket.create_connection((HOST, port)):
            pass
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(timeout=20) == 0
    with socket.socket() as free:
        assert free.connect_ex((HOST, port)) != 0


def test_a_port_in_use_is_named():
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run("--port", str(port))
    assert ended.returncode == 1
    assert ended.stderr == f"port {port}: Address already in use; choose another\n"


def test_a_command_that_does_not_exist_is_named_before_the_server_starts():
    ended = run("--run", "--", "no-such-command")
    assert ended.returncode == 2
    assert ended.stderr.endswith("error: no-such-command: no such command\n")


def test_a_bucket_name_that_cannot_be_is_named(s3: str):
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    with pytest.raises(UserError, match=r"^s3://No_Bucket: cannot be made: .*InvalidBucketName"):
        make_bucket(environment, "No_Bucket")
