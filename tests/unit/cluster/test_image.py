import re
import shlex
import shutil
import subprocess
from pathlib import Path
from unittest.mock import Mock

import cv2
import pytest
from ray.autoscaler._private.command_runner import SSHCommandRunner, _with_interactive

ROOT = Path(__file__).parents[3]
STEPS = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()

BASE = {"ld-linux-x86-64", "libc", "libdl", "libgcc_s", "libm", "libpthread", "libstdc++", "libz"}
"""Libraries that python:3.11-slim-bookworm has."""
PACKAGES = {
    "libGL": "libgl1",
    "libglib-2.0": "libglib2.0-0",
    "libgthread-2.0": "libglib2.0-0",
    "libxcb": "libxcb1",
}
"""The package of Debian 12 that has a library."""

PROGRAMS = {"ssh": "openssh-client", "rsync": "rsync"}
"""The package of Debian that has a program."""


def steps(name: str) -> list[str]:
    """Return the arguments of all instructions of a kind, in order."""
    return [line.partition(" ")[2] for line in STEPS if line.startswith(f"{name} ")]


def test_what_is_copied_into_the_image_is_there_and_may_enter():
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied = [word for step in steps("COPY") if "--from" not in step for word in step.split()[:-1]]
    assert copied
    assert set(copied) == allowed
    assert all((ROOT / name).exists() for name in copied)
    assert "*" in (ROOT / ".dockerignore").read_text().splitlines()


def test_every_package_is_pinned_and_compilers_stay_behind():
    installs = [step for step in steps("RUN") if "pip install" in step]
    assert all("--constraint constraints.txt" in step or "--no-deps" in step for step in installs)
    build, final = (index for index, line in enumerate(STEPS) if line.startswith("FROM "))
    assert build < STEPS.index(next(line for line in STEPS if "g++" in line)) < final
    assert not any("g++" in line or "pip install" in line for line in STEPS[final:])


def test_nobody_is_root_in_the_image():
    assert steps("USER") == ["1000"]
    assert any("--uid 1000" in step for step in steps("RUN"))


def test_the_image_holds_no_secret_and_asks_for_a_token():
    variables = dict(word.split("=", 1) for step in steps("ENV") for word in shlex.split(step))
    assert variables["RAY_AUTH_MODE"] == "token"
    words = [*variables, *(step.partition("=")[0] for step in steps("ARG"))]
    assert not any(re.search("KEY|PASSWORD|SECRET|AUTH_TOKEN", word) for word in words)


def test_the_image_has_the_python_of_the_project():
    bases = {step.split()[0] for step in steps("FROM")}
    assert bases == {"python:3.11-slim-bookworm"}


def test_the_login_shells_of_ray_up_find_ray(tmp_path: Path):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ray").write_text("#!/bin/sh\necho found")
    (programs / "ray").chmod(0o755)
    # A login shell reads ~/.profile after /etc/profile, as it does what lies in /etc/profile.d.
    added = re.findall("echo '(.*)' > /etc/profile.d/", "\n".join(steps("RUN")))
    (tmp_path / ".profile").write_text("\n".join(added).replace("/opt/selfseg/bin", str(programs)))
    (tmp_path / ".bashrc").touch()
    done = subprocess.run(
        " ".join(_with_interactive("ray")),
        env={"HOME": str(tmp_path), "PATH": f"{programs}:/usr/bin:/bin"},
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "found\n", done.stderr


def packages() -> list[str]:
    """Return what of Debian is installed in the image that is kept."""
    (*_, last) = [step for step in steps("RUN") if "apt-get install" in step]
    return re.findall(r"apt-get install (.*?) &&", last)[0].split()


def test_the_head_has_the_programs_by_which_ray_reaches_workers(tmp_path: Path):
    node, process = Mock(), Mock()
    runner = SSHCommandRunner(
        "", "i-1", node, {"ssh_user": "ubuntu"}, "selfseg", process, use_internal_ip=True
    )
    runner.ssh_ip, runner.ssh_control_path = "10.0.0.1", str(tmp_path)
    runner.run("ray start")
    runner.run_rsync_up("here", "there")
    called = {call.args[0][0] for call in process.check_call.call_args_list}
    assert called == set(PROGRAMS)
    assert {PROGRAMS[name] for name in called} <= set(packages())


def asked_of_the_system(folder: Path) -> set[str]:
    """Return the libraries that OpenCV's wheel asks the system for when it is imported."""
    bundled = {path.name: path for path in folder.parent.glob("opencv_python*.libs/*")}
    ahead = list(folder.glob("cv2*.so"))
    asked: set[str] = set()
    while ahead:
        command = ["readelf", "--dynamic", ahead.pop()]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        new = set(re.findall(r"\(NEEDED\).*\[(.*)\]", said)) - asked
        ahead += [bundled[name] for name in new & set(bundled)]
        asked |= new
    return {name.partition(".so")[0] for name in asked - set(bundled)}


@pytest.mark.skipif(shutil.which("readelf") is None, reason="readelf: not installed")
def test_the_image_has_the_libraries_that_opencv_asks_for():
    installed = packages()
    asked = asked_of_the_system(Path(cv2.__file__).parent)
    assert "libc" in asked
    assert {name for name in asked - BASE if PACKAGES.get(name) not in installed} == set()
