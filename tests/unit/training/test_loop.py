"""What one step of the loop does to the players, and what its randomness depends on."""

from dataclasses import fields

import torch
from torch import nn

from selfseg.contracts import FramePairs
from selfseg.training.loop import Cast, LoopConfig, Progress, Step, to_device, train
from selfseg.training.optimisers import AdamConfig, OptimisersConfig, build_optimisers
from selfseg.training.worker import AcceleratedWorker, seed_step
from tests.toy import Game, toy_batches

CPU = torch.device("cpu")


def play(game: Game, steps: int, optim: OptimisersConfig | None = None) -> list[Step]:
    optim = optim or OptimisersConfig()
    return list(
        train(
            game,
            toy_batches(0),
            optimisers=build_optimisers(game.players, optim),
            optim=optim,
            worker=AcceleratedWorker(),
            config=LoopConfig(steps=steps),
            seed=0,
            progress=Progress(),
        )
    )


def copy(players: nn.ModuleDict) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in players.state_dict().items()}


def test_a_step_changes_the_mover_and_nobody_else():
    game = Game()
    before = copy(game.players)
    play(game, 1)
    after = copy(game.players)
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"guesser"}


def test_the_mover_learns_through_the_players_that_rest():
    game = Game()
    [step] = play(game, 1)
    expected = Game()
    objective = expected.objective("guesser", next(toy_batches(0)), 0, torch.Generator())
    objective.loss.backward()
    gradients = [p.grad for p in expected.players["guesser"].parameters() if p.grad is not None]
    norm = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
    torch.testing.assert_close(step.terms["gradient_norm"], norm)


def test_after_the_run_every_player_is_itself_again():
    game = Game()
    players = dict(game.players.items())
    play(game, 3)
    assert dict(game.players.items()) == players


def test_gradients_are_bounded_as_each_player_is_told():
    # AdamW's first step is learning_rate * g / (|g| + 1e-8): 0.5 where |g| is cut to 1e-8.
    game = Game()
    before = copy(game.players)
    optim = OptimisersConfig(players={"guesser": AdamConfig(learning_rate=1.0, clip_value=1e-8)})
    play(game, 1, optim)
    moves = [(game.players.state_dict()[name] - before[name]).abs().max() for name in before]
    assert max(moves).item() <= 0.5 + 1e-6
    assert max(moves).item() > 0.4


def test_a_gradient_that_is_too_long_keeps_its_direction():
    worker = AcceleratedWorker()
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.grad = torch.tensor([[30.0, 40.0]])
    optimiser = torch.optim.SGD(layer.parameters(), 1.0)
    norm = worker.clip(optimiser, list(layer.parameters()), norm=5.0, value=None)
    assert norm.item() == 50.0
    torch.testing.assert_close(layer.weight.grad, torch.tensor([[3.0, 4.0]]))


def test_large_elements_are_cut_before_the_norm_is_bounded():
    worker = AcceleratedWorker()
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.grad = torch.tensor([[30.0, 4.0]])
    optimiser = torch.optim.SGD(layer.parameters(), 1.0)
    worker.clip(optimiser, list(layer.parameters()), norm=2.5, value=3.0)
    # cut to (3, 3), of norm 3 sqrt 2, then shortened to 2.5
    expected = torch.full((1, 2), 2.5 / 2**0.5)
    torch.testing.assert_close(layer.weight.grad, expected)


def test_the_learning_rate_follows_the_schedule_of_the_step():
    game = Game()
    optim = OptimisersConfig(learning_rate=1.0, warmup_steps=10)
    optimisers = build_optimisers(game.players, optim)
    steps = train(
        game,
        toy_batches(6),
        optimisers=optimisers,
        optim=optim,
        worker=AcceleratedWorker(),
        config=LoopConfig(steps=100),
        seed=0,
        progress=Progress(step=6),
    )
    next(steps)
    assert optimisers["guesser"].param_groups[0]["lr"] == 0.7


def test_draws_depend_on_seed_step_and_rank_alone():
    def draw(seed: int, step: int, rank: int) -> tuple[float, float]:
        generator = seed_step(seed, step, rank, CPU)
        return torch.rand(1).item(), torch.rand(1, generator=generator).item()

    base = draw(1, 2, 3)
    torch.rand(100)
    assert draw(1, 2, 3) == base
    others = [draw(0, 2, 3), draw(1, 0, 3), draw(1, 2, 0), draw(12, 3, 0), draw(1, 23, 0)]
    assert len({base, *others}) == 6
    assert base[0] != base[1]


def test_everything_in_a_batch_goes_to_the_device():
    frame, mask = torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)
    flow = torch.zeros(1, 2, 4, 4)
    batch = FramePairs(frame, flow, flow, flow, flow, ("k",), truth=mask, background=frame)
    moved = to_device(batch, torch.device("meta"))
    tensors = [getattr(moved, field.name) for field in fields(moved) if field.name != "keys"]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_only_who_moves_drops_out():
    game = Game(dropout=0.5)
    cast = Cast(game.players, AcceleratedWorker())
    assert not any(player.training for player in game.players.values())
    with cast.turn("guesser"):
        assert game.players["guesser"].training
        assert not game.players["judge"].training
    assert not game.players["guesser"].training
