import re

import cv2
import numpy as np
import pytest
import torch
from torchvision.models.optical_flow import raft_small

from selfseg.data.format import schema
from selfseg.data.format.settings import DisSettings, IngestSettings
from selfseg.data.ingest.dis_matching import DisMatcher
from selfseg.data.ingest.raft_matching import RaftMatcher, both_ways
from selfseg.data.ingest.samples import samples
from selfseg.data.ingest.videos import open_video
from selfseg.errors import UserError
from selfseg.nets.raft import Raft, load_raft_weights
from tests.synthetic import moving_disc, write_frames
from tests.unit.nets.published import raft_that_sees

SCENE = moving_disc(3, height=128, width=160, radius=20, velocity=(3, -1))
SEED = 4


@pytest.fixture
def untaught(tmp_path) -> RaftMatcher:
    torch.manual_seed(SEED)
    torch.save(raft_small(weights=None).state_dict(), tmp_path / "raft.pt")
    return RaftMatcher("raft_small", str(tmp_path / "raft.pt"))


def test_inverse_search_sees_gray_and_raft_sees_colours(untaught):
    image = SCENE.frames[0]
    gray = DisMatcher(DisSettings()).view(image, (64, 80))
    luminance = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    expected = cv2.resize(luminance, (80, 64), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(gray, expected)
    assert untaught.view(image, (64, 80)).shape == (128, 128, 3)
    np.testing.assert_array_equal(untaught.view(image, (128, 160)), image)


def test_either_direction_is_what_the_other_order_of_frames_gives(untaught):
    first, second = SCENE.frames[:2]
    ((forward, backward),) = untaught.flows(first, [second])
    assert forward.shape == backward.shape == (128, 160, 2)
    assert np.abs(forward - backward).max() > 0.1
    (swapped,) = untaught.flows(second, [first])
    np.testing.assert_allclose(swapped, (backward, forward), rtol=1e-3, atol=1e-3)


def test_asked_again_it_answers_the_same(untaught):
    first, second = SCENE.frames[:2]
    once, again = untaught.flows(first, [second]), untaught.flows(first, [second])
    np.testing.assert_array_equal(once, again)


def test_several_pairs_in_a_batch_are_what_each_is_alone(untaught):
    first, *others = SCENE.frames
    alone = untaught.flows(first, others)
    assert len(alone) == len(others) == 2
    network = Raft("raft_small")
    load_raft_weights(network, untaught.weights)
    together = both_ways(network.eval(), first, others, torch.device("cpu"))
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-3)
    assert np.abs(np.subtract(*alone)).max() > 0.1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_a_gpu_it_sees_what_it_sees_on_a_cpu_but_for_half_precision(untaught, monkeypatch):
    on_gpu = untaught.flows(SCENE.frames[0], [*SCENE.frames[1:]])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    on_cpu = untaught.flows(SCENE.frames[0], [*SCENE.frames[1:]])
    np.testing.assert_allclose(on_gpu, on_cpu, atol=0.1)
    assert np.abs(np.subtract(on_gpu, on_cpu)).max() > 1e-4


def test_flow_is_kept_in_pixels_of_the_stored_grid(tmp_path):
    weights = raft_that_sees(tmp_path / "raft.pt", (8.0, -4.0))
    settings = IngestSettings(
        height=120, gaps=(1, 2), flow="raft_small", flow_weights=str(weights), matching_scale=1
    )
    video = open_video(write_frames(tmp_path / "disc", SCENE.frames))
    first = next(samples(video, "disc", settings, None))
    # Stored at 60 x 76; 120 x 150 is matched at the nearest grid for RAFT, 128 x 152.
    expected = np.broadcast_to((8 * 76 / 152, -4 * 60 / 128), (60, 76, 2))
    for gap in (1, 2):
        for part in (schema.forward_part(gap), schema.backward_part(gap)):
            stored = schema.decode_flow(first.parts[part])
            np.testing.assert_allclose(stored, expected, atol=0.01)


def test_weights_are_read_once_for_all_videos(tmp_path):
    weights = raft_that_sees(tmp_path / "raft.pt", (8.0, 0.0))
    settings = IngestSettings(
        height=64, gaps=(1,), flow="raft_small", flow_weights=str(weights), flow_scale=1
    )
    video = open_video(write_frames(tmp_path / "disc", SCENE.frames[:2]))
    before = [sample.parts for sample in samples(video, "disc", settings, None)]
    weights.unlink()
    assert [sample.parts for sample in samples(video, "disc", settings, None)] == before


def test_missing_weights_are_named_with_what_they_are_for(tmp_path):
    path = tmp_path / "gone.pt"
    matcher = RaftMatcher("raft_large", str(path))
    message = f"{path}: no such file; it holds the weights of raft_large"
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        matcher.flows(SCENE.frames[0], [SCENE.frames[1]])
    assert "\n" not in str(caught.value)


def test_settings_of_a_collection_that_knew_no_raft_are_read_as_they_were_meant():
    held = IngestSettings(height=96).model_dump(mode="json")
    del held["flow_weights"]
    assert IngestSettings.parse(held, origin="manifest") == IngestSettings(height=96)
