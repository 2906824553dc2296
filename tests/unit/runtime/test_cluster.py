import socket

import pytest

from selfseg.errors import UserError
from selfseg.runtime.cluster import connect


def test_a_named_cluster_that_does_not_answer_is_an_error_at_once(monkeypatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(UserError, match=f"RAY_ADDRESS {address}: no cluster answers"):
            connect()


def test_an_address_that_is_none_is_an_error(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    with pytest.raises(UserError, match="RAY_ADDRESS nonsense: no cluster answers"):
        connect()
