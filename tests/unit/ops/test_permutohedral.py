import pytest
import torch
from torch import Tensor

from selfseg.ops.permutohedral import build


def scattered(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_every_point_gives_all_of_its_value_to_the_corners_of_its_simplex(dimensions):
    lattice = build(10 * scattered(2, dimensions, 500))
    assert lattice.weights.min() >= -1e-5
    torch.testing.assert_close(lattice.weights.sum(0), torch.ones(1000))
    # The corners of one simplex are different points.
    corners = lattice.corners.sort(0).values
    assert (corners.diff(dim=0) > 0).all()


@pytest.mark.parametrize("dimensions", [2, 5])
def test_averaging_by_the_lattice_is_averaging_by_a_gaussian(dimensions):
    points = scattered(1, dimensions, 1500)
    signal = points[:, 0].sin()
    distance = torch.cdist(points[0].T, points[0].T)
    kernel = (-(distance**2) / 2).exp()
    exact = (kernel @ signal[0]) / kernel.sum(1)
    lattice = build(points)
    ours = lattice.filter(signal)[0] / lattice.filter(torch.ones_like(signal))[0]
    # The signal's spread is 0.66; the lattice's kernel is not quite a Gaussian.
    assert (ours - exact).abs().mean() < 0.05
    assert torch.corrcoef(torch.stack([ours, exact]))[0, 1] > 0.98


def test_a_point_far_from_all_others_sees_itself_alone():
    # It lies on a corner and gives all there. Of the blur's ways, one stays, and one leads around
    # its simplex and back, halved at each of three steps; the gain of a full lattice is 1 + 2^-2.
    lattice = build(torch.tensor([[[0.0, 1000.0], [0.0, -2000.0]]]))
    seen = lattice.filter(torch.tensor([[3.0, 0.0]]))
    torch.testing.assert_close(seen, torch.tensor([[3.0 * (1 + 2**-3) / (1 + 2**-2), 0.0]]))


def test_sets_of_points_in_the_same_place_do_not_see_each_other():
    points = scattered(1, 3, 50).expand(2, -1, -1)
    lattice = build(points)
    first, second = lattice.filter(torch.stack([torch.ones(50), torch.zeros(50)]))
    assert first.min() > 0
    assert not second.any()


def test_a_lattice_around_one_set_filters_several_signals():
    lattice = build(scattered(1, 2, 200))
    signals = scattered(4, 200, seed=1)
    alone = torch.cat([lattice.filter(signal[None]) for signal in signals])
    torch.testing.assert_close(lattice.filter(signals), alone)


def test_points_too_far_apart_to_number_their_corners_are_refused():
    with pytest.raises(ValueError, match="choose wider Gaussians"):
        build(torch.tensor([[[0.0, 1e5]] * 5]))
