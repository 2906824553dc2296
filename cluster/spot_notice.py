"""Watch for EC2's notice that this spot instance is taken in two minutes, and tell Ray of it.

Ray does not ask EC2. Once it knows, it starts no more work here, and a run that trains here writes
a checkpoint. `cluster/aws.yaml` starts this on each worker; on Kubernetes, pods get a signal.
"""

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping

METADATA = "http://169.254.169.254/latest"
LOOK_S = 5
LEFT_S = 110
"""Until the instance stops; EC2 gives 120 s, a look may come late, and Ray wants whole seconds."""


def ask(url: str, *, method: str = "GET", headers: Mapping[str, str]) -> str | None:
    """Return the metadata service's answer; None: it has nothing under this address."""
    request = urllib.request.Request(url, method=method, headers=dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=LOOK_S) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def notice(metadata: str = METADATA) -> str | None:
    """Return what EC2 is about to do with this instance, as JSON; None: nothing.

    Args:
        metadata: address of the instance's metadata service, version 2.
    """
    seconds = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    token = ask(f"{metadata}/api/token", method="PUT", headers=seconds)
    return ask(
        f"{metadata}/meta-data/spot/instance-action",
        headers={"X-aws-ec2-metadata-token": token or ""},
    )


def tell_ray(reason: str) -> None:
    """Have Ray drain this node."""
    command = ["ray", "drain-node", "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
    command += ["--reason-message", reason, "--deadline-remaining-seconds", str(LEFT_S)]
    subprocess.run(command, check=True)


def main() -> None:
    """Watch until the notice comes."""
    while True:
        try:
            taken = notice()
        except OSError as error:  # the service is busy at times
            print(f"no answer from the instance's metadata: {error}", flush=True)
            taken = None
        if taken is not None:
            print(f"this instance is taken: {taken}", flush=True)
            try:
                tell_ray(f"spot: {taken}")
            except (OSError, subprocess.CalledProcessError) as error:  # Ray is starting, or busy
                print(f"Ray did not hear: {error}", flush=True)
            else:
                return
        time.sleep(LOOK_S)


if __name__ == "__main__":
    main()
