import pytest
import torch
from torch.nn import functional

from selfseg.nets.grid_detector import GridDetector

ARCHITECTURES = ["small", "resnet18", "squeezenet1_0", "mobilenet_v3_small"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_frame_of_128_pixels_has_as_many_cells_as_the_paper(architecture):
    # C = 64; the trunk's own grid, so that no cell is made of others.
    detector = GridDetector(8, architecture=architecture)
    with torch.no_grad():
        image = torch.rand(1, 3, 128, 128)
        assert detector.encoder(image)[-1].shape[-2:] == (8, 8)
        assert detector(image).shape == (1, 5, 8, 8)


def test_a_resnets_last_stage_is_kept_with_its_512_channels():
    assert GridDetector(8, architecture="resnet18").head.in_channels == 512


@pytest.mark.parametrize("cells", [4, 16, 32])
def test_cells_may_be_fewer_or_more_than_the_trunks_and_all_differ(cells):
    torch.manual_seed(0)
    detector = GridDetector(cells, architecture="small")
    with torch.no_grad():
        logits = detector(torch.rand(1, 3, 128, 128))[0, 4]
    assert logits.shape == (cells, cells)
    edge = max(cells // 16, 1) - 1  # cells beyond the centre of the trunk's outermost
    inside = logits[edge : cells - edge, edge : cells - edge]
    assert inside.unique().numel() == inside.numel()


def test_a_coarser_grid_is_the_mean_of_the_trunks_cells():
    torch.manual_seed(0)
    detector = GridDetector(4, architecture="small")
    image = torch.rand(2, 3, 128, 128)
    with torch.no_grad():
        expected = functional.avg_pool2d(detector.head(detector.encoder(image)[-1]), 2)
        torch.testing.assert_close(detector(image), expected)


def test_at_first_all_cells_say_nearly_the_same():
    torch.manual_seed(0)
    with torch.no_grad():
        raw = GridDetector(8, architecture="small")(torch.rand(4, 3, 128, 128))
    assert 0 < raw.abs().max() < 0.1
    probability = raw[:, 4].flatten(1).softmax(1)
    torch.testing.assert_close(probability, torch.full_like(probability, 1 / 64), rtol=0.1, atol=0)


@pytest.mark.parametrize("architecture", ["small", "resnet18"])
def test_every_weight_learns_and_those_of_the_trunk_can_be_told_by_name(architecture):
    detector = GridDetector(8, architecture=architecture)
    detector(torch.rand(2, 3, 128, 128)).square().sum().backward()
    gradients = {name: weight.grad for name, weight in detector.named_parameters()}
    assert all(grad is not None and grad.abs().sum() > 0 for grad in gradients.values())
    assert {name.split(".")[0] for name in gradients} == {"encoder", "head"}


@pytest.mark.parametrize(("row", "column"), [(1, 6), (6, 1)])
def test_a_cell_speaks_of_its_own_surroundings(row, column):
    torch.manual_seed(0)
    detector = GridDetector(8, architecture="small")
    image = torch.rand(1, 3, 128, 128, requires_grad=True)
    detector(image)[0, 4, row, column].backward()
    assert image.grad is not None
    influence = functional.avg_pool2d(image.grad.square().sum(1), 16)[0]
    near = influence[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].sum()
    assert near > influence.sum() / 2
