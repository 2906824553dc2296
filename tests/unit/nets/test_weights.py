import hashlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import safetensors.torch
import torch

from selfseg import storage
from selfseg.errors import UserError
from selfseg.nets.weights import download_weights, read_weights

WEIGHTS = {"layer.weight": torch.arange(6.0).view(2, 3)}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def published(tmp_path, monkeypatch) -> Iterator[tuple[str, Path]]:
    """Yield the address of a web server and its folder; what is fetched is kept elsewhere."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "published"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()


def test_weights_are_read_from_either_format(tmp_path):
    torch.save(WEIGHTS, tmp_path / "weights.pt")
    safetensors.torch.save_file(WEIGHTS, tmp_path / "weights.safetensors")
    for name in ("weights.pt", "weights.safetensors"):
        torch.testing.assert_close(read_weights(str(tmp_path / name)), WEIGHTS, rtol=0, atol=0)


def test_weights_are_read_from_a_bucket(s3, tmp_path):
    torch.save(WEIGHTS, tmp_path / "weights.pt")
    url = f"{s3}/nets/weights.pt"
    storage.upload(tmp_path / "weights.pt", url)
    torch.testing.assert_close(read_weights(url), WEIGHTS, rtol=0, atol=0)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kept", ["", "<!doctype html>", "PK\x03\x04"])
def test_a_damaged_file_is_one_line_that_names_it(kept, suffix, tmp_path):
    path = tmp_path / f"weights{suffix}"
    path.write_text(kept)
    with pytest.raises(UserError, match=r"not a file of weights, or a damaged one") as caught:
        read_weights(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_cut_short_is_damaged(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="damaged"):
        read_weights(str(path))


@pytest.mark.parametrize("held", [{"model": WEIGHTS, "epoch": 3}, [1.0], torch.zeros(2)])
def test_a_file_of_something_else_is_refused(held, tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save(held, path)
    with pytest.raises(UserError, match=r"checkpoint\.pt: holds more than tensors by name"):
        read_weights(str(path))


def test_what_was_fetched_is_kept(published):
    address, folder = published
    torch.save(WEIGHTS, folder / "weights.pth")
    first = download_weights(f"{address}/weights.pth")
    (folder / "weights.pth").unlink()
    torch.testing.assert_close(first, WEIGHTS, rtol=0, atol=0)
    torch.testing.assert_close(download_weights(f"{address}/weights.pth"), WEIGHTS)


def test_what_does_not_have_the_promised_hash_is_refused(published):
    address, folder = published
    torch.save(WEIGHTS, folder / "weights.pth")
    promised = hashlib.sha256(b"something else").hexdigest()[:8]
    (folder / "weights.pth").rename(folder / f"weights-{promised}.pth")
    with pytest.raises(UserError, match="invalid hash value") as caught:
        download_weights(f"{address}/weights-{promised}.pth")
    assert "\n" not in str(caught.value)


def test_what_is_no_file_of_weights_is_refused(published):
    address, folder = published
    (folder / "weights.pth").write_text("<!doctype html>")
    with pytest.raises(UserError, match=r"weights\.pth: what came is no file of weights; fetch"):
        download_weights(f"{address}/weights.pth")


def test_without_the_network_the_line_names_the_way_out(published, tmp_path):
    with pytest.raises(UserError, match="give the path of the file") as caught:
        download_weights("http://127.0.0.1:9/weights.pth")
    assert str(caught.value).startswith("http://127.0.0.1:9/weights.pth: ")
    assert f"put it into {tmp_path / 'home' / 'hub' / 'checkpoints'}" in str(caught.value)
    assert "\n" not in str(caught.value)
