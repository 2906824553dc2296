import numpy as np

from selfseg.data.format.settings import IngestSettings
from selfseg.prediction.sources import Preparation, local_source
from tests.synthetic import moving_disc, write_frames
from tests.unit.nets.published import raft_that_sees


def test_a_new_video_moves_as_the_network_of_the_training_data_sees_it(tmp_path):
    weights = raft_that_sees(tmp_path / "raft.pt", (4.0, 2.0))
    settings = IngestSettings(
        height=128, flow="raft_small", flow_weights=str(weights), matching_scale=1, flow_scale=1
    )
    scene = moving_disc(3, height=128, width=160)
    source = local_source(write_frames(tmp_path / "disc", scene.frames), "disc")
    frames = list(source.frames(Preparation(settings, (1,), "none")))
    assert [len(frame.pairs) for frame in frames] == [1, 2, 1]
    for pair in frames[1].pairs:
        np.testing.assert_allclose(pair.flow, np.broadcast_to((4, 2), pair.flow.shape), atol=0.01)
