import torch

from selfseg.ops.warp import covisible, sample_along
from tests.synthetic import moving_disc


def constant_flow(x: float, y: float) -> torch.Tensor:
    return torch.tensor([float(x), float(y)]).view(1, 2, 1, 1).expand(1, 2, 12, 16).clone()


def test_sampling_along_no_motion_changes_nothing():
    values = torch.rand(1, 3, 12, 16)
    torch.testing.assert_close(sample_along(values, constant_flow(0, 0)), values)


def test_sampling_looks_where_the_flow_points_and_the_edge_goes_on():
    values = torch.rand(1, 1, 12, 16)
    there = sample_along(values, constant_flow(2, -1))
    torch.testing.assert_close(there[..., 1:, :-2], values[..., :-1, 2:])
    torch.testing.assert_close(there[..., 1:, -1], values[..., :-1, -1])


def test_half_a_pixel_is_the_mean_of_two():
    values = torch.rand(1, 1, 12, 16)
    there = sample_along(values, constant_flow(0.5, 0))
    torch.testing.assert_close(there[..., :-1], (values[..., :-1] + values[..., 1:]) / 2)


def test_motion_there_and_back_is_seen_in_both_frames_but_for_what_leaves():
    seen = covisible(constant_flow(3, 0), constant_flow(-3, 0))
    assert seen[..., :-3].all()
    assert not seen[..., -3:].any()


def test_the_wall_that_a_disc_covers_is_occluded():
    scene = moving_disc(2, height=48, width=64, radius=10, velocity=(6, 0))
    flow, back = (
        torch.from_numpy(scene.flow(*pair)).permute(2, 0, 1)[None] for pair in ((0, 1), (1, 0))
    )
    first, second = (torch.from_numpy(mask) for mask in scene.masks)
    seen = covisible(flow, back)[0, 0]
    assert not seen[second & ~first].any()
    assert seen[~second & ~first].all()
    assert seen[first].float().mean() > 0.99
