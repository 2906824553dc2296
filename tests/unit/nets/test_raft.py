import re
from pathlib import Path

import pytest
import torch
from torchvision.models.optical_flow import Raft_Small_Weights, raft_large, raft_small

from selfseg.errors import UserError
from selfseg.nets.raft import Raft, load_raft_weights, raft_grid
from tests.unit.nets.published import raft_that_sees


@pytest.mark.parametrize(
    ("grid", "taken"),
    [
        ((480, 854), (480, 856)),  # 854 / 8 = 106.75
        ((240, 424), (240, 424)),
        ((330, 250), (328, 248)),  # 41.25 and 31.25
        ((64, 86), (128, 128)),  # below, its pyramid of correlations would be empty
    ],
)
def test_the_nearest_grid_that_it_takes(grid, taken):
    assert raft_grid(*grid) == taken


def test_it_is_torchvisions_on_images_prepared_as_theirs(tmp_path):
    torch.manual_seed(0)
    published = raft_small(weights=None).eval()
    torch.save(published.state_dict(), tmp_path / "raft.pt")
    network = Raft("raft_small").eval()
    load_raft_weights(network, str(tmp_path / "raft.pt"))
    first, second = torch.rand(2, 3, 128, 136), torch.rand(2, 3, 128, 136)
    with torch.no_grad():
        expected = published(*Raft_Small_Weights.DEFAULT.transforms()(first, second))[-1]
        torch.testing.assert_close(network(first, second), expected, rtol=1e-3, atol=1e-3)


def test_flow_is_in_pixels_of_its_grid(tmp_path):
    network = Raft("raft_small").eval()
    load_raft_weights(network, str(raft_that_sees(tmp_path / "raft.pt", (6.0, -3.0))))
    with torch.no_grad():
        flow = network(torch.rand(1, 3, 128, 136), torch.rand(1, 3, 128, 136))
    expected = torch.tensor([6.0, -3.0]).view(1, 2, 1, 1).expand(1, 2, 128, 136)
    torch.testing.assert_close(flow, expected, rtol=0, atol=1e-4)


def test_downloaded_weights_are_those_that_torchvision_names_best(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    weights = raft_small(weights=None).state_dict()
    torch.save(weights, folder / Path(Raft_Small_Weights.DEFAULT.url).name)
    network = Raft("raft_small")
    load_raft_weights(network, "torchvision")
    torch.testing.assert_close(dict(network.body.state_dict()), dict(weights), rtol=0, atol=0)


def test_weights_of_the_other_size_are_refused(tmp_path):
    path = tmp_path / "raft.pt"
    torch.save(raft_large(weights=None).state_dict(), path)
    message = f"{path}: not the weights of a raft_small, see 'feature_encoder."
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        load_raft_weights(Raft("raft_small"), str(path))
    assert "\n" not in str(caught.value)
