from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from selfseg.contracts import FramePairs
from selfseg.methods.dystab import cue
from selfseg.methods.dystab.config import DynamicConfig
from selfseg.methods.dystab.dynamic import DynamicModel
from selfseg.ops.masks import foreground_side, resize
from selfseg.ops.warp import sample_along
from tests.synthetic import moving_disc

SMALL = DynamicConfig(segmenter="unet", unet_width=8, segmenter_input="compensated")


def discs(size: int = 4) -> FramePairs:
    """Discs in several places, each moving its own way before a panning camera."""
    turns = [torch.tensor(0.7 * k) for k in range(size)]
    scenes = [
        moving_disc(
            2,
            start=(20 + 5 * k, 18 + 3 * k),
            velocity=(2 + 3 * turn.cos().item(), 1 + 3 * turn.sin().item()),
            pan=(2, 1),
        )
        for k, turn in enumerate(turns)
    ]

    def stacked(first: int, second: int) -> torch.Tensor:
        flows = [torch.from_numpy(scene.flow(first, second)) for scene in scenes]
        return torch.stack(flows).permute(0, 3, 1, 2).contiguous()

    camera = torch.tensor([2.0, 1.0]).view(1, 2, 1, 1).expand(size, 2, 48, 64)
    images = torch.stack([torch.from_numpy(scene.frames[0]) for scene in scenes])
    return FramePairs(
        image=images.permute(0, 3, 1, 2) / 255,
        flow=stacked(0, 1),
        flow_back=stacked(1, 0),
        camera=camera,
        camera_back=-camera,
        keys=tuple(f"disc_{k}" for k in range(size)),
    )


def move(model: DynamicModel, player: str, batch: FramePairs, step: int = 0) -> dict[str, float]:
    """Let one player take a step of plain gradient descent, as the loop would."""
    for name, module in model.players.items():
        module.requires_grad_(name == player)
    objective = model.objective(player, batch, step, torch.Generator())
    objective.loss.backward()
    with torch.no_grad():
        for parameter in model.players[player].parameters():
            assert parameter.grad is not None
            parameter.sub_(0.1 * parameter.grad)
            parameter.grad = None
    return {name: term.item() for name, term in objective.terms.items()} | {
        "loss": objective.loss.item()
    }


@pytest.mark.parametrize("mover", ["segmenter", "inpainter"])
def test_only_the_mover_changes(mover):
    model = DynamicModel(SMALL)
    before = {name: value.clone() for name, value in model.players.state_dict().items()}
    move(model, mover, discs())
    changed = {
        name.split(".")[0]
        for name, value in model.players.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {mover}


@pytest.mark.parametrize("psi", ["network", "affine_residual"])
@pytest.mark.parametrize("mover", ["segmenter", "inpainter"])
def test_every_player_is_called_once_a_step(psi, mover):
    model = DynamicModel(SMALL.override({"psi": psi}))
    calls = []
    for name, module in model.players.items():
        module.register_forward_hook(lambda *_, name=name: calls.append(name))
    model.objective(mover, discs(), 0, torch.Generator())
    assert sorted(calls) == ["inpainter", "segmenter"]


def test_the_inpainter_moves_after_three_steps_of_the_segmenter():
    model = DynamicModel(SMALL)
    turns = [model.player_at(step) for step in range(8)]
    assert turns == 2 * (3 * ["segmenter"] + ["inpainter"])


def test_a_closed_form_psi_is_no_player():
    model = DynamicModel(SMALL.override({"psi": "affine"}))
    assert list(model.players) == ["segmenter"]
    assert {model.player_at(step) for step in range(8)} == {"segmenter"}


def test_phi_maximises_equation_5():
    model = DynamicModel(SMALL.override({"lambda_tc": -0.3}))
    terms = move(model, "segmenter", discs())
    expected = -(terms["separation"] - 0.3 * terms["inconsistency"])
    assert terms["loss"] == pytest.approx(expected)


def test_imitation_comes_first_and_then_beside_the_game():
    model = DynamicModel(
        SMALL.override({"psi": "affine", "imitation_steps": 5, "imitation_weight": 0.5})
    )
    early = move(model, "segmenter", discs(), step=4)
    assert set(early) == {"imitation", "area", "loss"}
    assert early["loss"] == pytest.approx(early["imitation"])
    late = move(model, "segmenter", discs(), step=5)
    game = late["separation"] - 0.1 * late["inconsistency"]
    assert late["loss"] == pytest.approx(0.5 * late["imitation"] - game)


def test_the_cue_marks_what_moves_against_the_camera():
    batch = discs()
    truth = (batch.flow - batch.camera).norm(dim=1, keepdim=True) > 0.5
    assert torch.equal(cue.moving(batch.flow, batch.camera) > 0.5, truth)


def test_phi_sees_flow_only():
    model = DynamicModel(SMALL)
    batch = discs()
    other = replace(batch, image=1 - batch.image)
    torch.testing.assert_close(model.masks(batch), model.masks(other), rtol=0, atol=0)


def test_the_camera_taken_out_leaves_phi_blind_to_it():
    model = DynamicModel(SMALL)
    batch = discs()
    pan = torch.tensor([5.0, -3.0]).view(1, 2, 1, 1)
    panned = replace(batch, flow=batch.flow + pan, camera=batch.camera + pan)
    torch.testing.assert_close(model.masks(panned), model.masks(batch))


def test_the_carried_mask_is_the_other_frames_mask_along_the_flow():
    own, carried = (DynamicModel(SMALL.override({"carried_mask": share})) for share in (0.0, 1.0))
    carried.players.load_state_dict(own.players.state_dict())
    batch = discs()
    turned = replace(
        batch,
        flow=batch.flow_back,
        flow_back=batch.flow,
        camera=batch.camera_back,
        camera_back=batch.camera,
    )
    expected = sample_along(own.masks(turned), batch.flow)
    torch.testing.assert_close(carried.masks(batch), expected)


def test_a_frames_mask_is_the_mean_over_its_motions():
    model = DynamicModel(SMALL)
    frame = discs()
    torch.testing.assert_close(model.segment(frame, "dynamic"), model.masks(frame)[:, 0].mean(0))


def test_on_a_coarser_grid_it_sees_the_same_motion_in_fewer_pixels():
    coarse, fine = (DynamicModel(SMALL.override({"stride": side})) for side in (2, 1))
    coarse.players.load_state_dict(fine.players.state_dict())
    small = discs()
    double = FramePairs(
        *(functional.interpolate(part, scale_factor=2) * factor for part, factor in (
            (small.image, 1), (small.flow, 2), (small.flow_back, 2),
            (small.camera, 2), (small.camera_back, 2),
        )),
        keys=small.keys,
    )  # fmt: skip
    expected = resize(fine.masks(small), *double.flow.shape[-2:])
    torch.testing.assert_close(coarse.masks(double), expected)
    even = torch.full((len(small.keys), 1, 48, 64), 0.3)
    torch.testing.assert_close(
        coarse.separation_of(double, functional.interpolate(even, scale_factor=2)),
        fine.separation_of(small, even),
    )


def test_it_learns_to_outline_what_moves():
    torch.manual_seed(0)
    model = DynamicModel(SMALL.override({"psi": "affine", "imitation_steps": 60}))
    batch = discs(8)
    optimiser = torch.optim.Adam(model.players.parameters(), lr=1e-2)
    for step in range(60):
        optimiser.zero_grad()
        model.objective("segmenter", batch, step, torch.Generator()).loss.backward()
        optimiser.step()
    truth = (batch.flow - batch.camera).norm(dim=1, keepdim=True) > 0.5
    found = foreground_side(model.masks(batch)) > 0.5
    overlap = (found & truth).sum() / (found | truth).sum()
    assert overlap > 0.8
