"""The root of the configuration, and the only place where settings become objects."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import Field, ValidationError, model_validator
from torch import Tensor, nn

from selfseg.config import Config, changed, dotted, laid_over, read_tree
from selfseg.contracts import Method, Phase
from selfseg.data.format.settings import IngestSettings
from selfseg.data.reading.selection import DataConfig
from selfseg.errors import UsageError, UserError
from selfseg.methods.dystab import bootstrap, self_training
from selfseg.methods.dystab.bootstrap import Bootstrap
from selfseg.methods.dystab.config import (
    BootstrapConfig,
    DynamicConfig,
    SelfTrainingConfig,
    SupervisedConfig,
)
from selfseg.methods.dystab.dynamic import DynamicModel
from selfseg.methods.dystab.self_training import SelfTraining
from selfseg.methods.dystab.supervised import Supervised
from selfseg.methods.proposal import proposal
from selfseg.methods.proposal.config import InpaintersConfig, ProposalConfig
from selfseg.methods.proposal.inpainting import Inpainters
from selfseg.methods.proposal.proposal import Proposal
from selfseg.redaction import lets_in
from selfseg.training import checkpoint, run_folder
from selfseg.training.loop import LoopConfig
from selfseg.training.optimisers import OptimisersConfig

RECIPES = Path(__file__).parent / "recipes"

MethodConfig = Annotated[
    DynamicConfig
    | BootstrapConfig
    | SelfTrainingConfig
    | SupervisedConfig
    | InpaintersConfig
    | ProposalConfig,
    Field(discriminator="name"),
]


class ExperimentConfig(Config):
    """One run, completely; what it reads and where it writes are the command's to say."""

    seed: int = 0
    """Seeds weights, reading order, augmentation and every draw of a step."""

    method: MethodConfig
    data: DataConfig
    optim: OptimisersConfig
    loop: LoopConfig

    start: dict[str, str] = Field(default_factory=dict)
    """Players that begin with the weights they have in another run: its URL, by player."""

    @property
    def round_ends(self) -> dict[int, int]:
        """After how many steps each of the method's rounds is complete; no rounds: empty."""
        return round_ends(_phases(self.method))

    @model_validator(mode="after")
    def _holds_no_secrets(self) -> Self:
        for path, value in dotted(self.model_dump(mode="json")):
            if lets_in(str(value)):
                raise ValueError(
                    f"{path}: this URL holds a password or a signature, and a run keeps its "
                    "settings in clear: give a path, or s3:// and keys in the environment"
                )
        return self

    @model_validator(mode="after")
    def _has_earlier_videos_to_rehearse(self) -> Self:
        data = self.data
        if data.rehearsal is not None and not (data.growth or data.follow):
            raise ValueError(
                f"data.rehearsal={data.rehearsal:g} draws from videos that are there before others "
                "come, and none will: set data.growth or data.follow=true, or leave it null; what "
                "a run in start learned from does not count"
            )
        return self

    @model_validator(mode="after")
    def _fits_its_phases(self) -> Self:
        phases = _phases(self.method)
        if phases and self.loop.steps != phases[-1].stop:
            total = phases[-1].stop
            raise ValueError(f"loop.steps must be {total}, the sum of the method's phases")
        self.data.require_growth_in(round_ends(phases))
        return self


@dataclass(frozen=True, slots=True)
class Model:
    """A trained method, and everything needed to show it a new video as it saw the old ones."""

    method: Method
    config: ExperimentConfig
    ingest: IngestSettings
    url: str
    step: int
    collection: str
    manifest: str

    @property
    def round(self) -> int | None:
        """The round that these weights complete; None if they are of another step."""
        ends = round_ends(self.method.phases)
        return next((number for number, stop in ends.items() if stop == self.step), None)


def recipe_names() -> list[str]:
    """Name the recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def recipe_path(recipe: str) -> Path:
    """Find a recipe by name, or by the path of one's own TOML file."""
    path = Path(recipe) if recipe.endswith(".toml") else RECIPES / f"{recipe}.toml"
    if not path.is_file():
        known = ", ".join(recipe_names())
        raise UsageError(f"no recipe {recipe}: give the path of a .toml file, or one of {known}")
    return path


def read_recipe(recipe: str) -> ExperimentConfig:
    """Read a recipe by name, or one's own TOML file; it may build on another, see `Basis`.

    Raises:
        UsageError: one line that names the file and the key that is wrong.
    """
    return _read(recipe_path(recipe), ())


class Basis(Config):
    """What a recipe says before its settings, which then are only those that differ."""

    base: str | None = None
    """The recipe that it builds on, complete by itself: a name, or a path beside the file. Tables
    are laid over it key by key."""

    null: tuple[str, ...] = ()
    """Dotted paths of settings that are null, for which TOML has no word."""


def _read(path: Path, built_on_it: tuple[Path, ...]) -> ExperimentConfig:
    """Read a recipe, given those that build on it."""
    tree = read_tree(path)
    said = {key: tree.pop(key) for key in Basis.model_fields if key in tree}
    basis = Basis.parse(said, origin=str(path))
    if basis.base is not None:
        # What is wrong from here on is this file's doing: the base by itself is not.
        tree = laid_over(_base(path, basis.base, built_on_it).model_dump(mode="json"), tree)
    tree = changed(tree, dict.fromkeys(basis.null), origin=f"{path}: null")
    return ExperimentConfig.parse(tree, origin=str(path))


def _base(path: Path, base: str, built_on_it: tuple[Path, ...]) -> ExperimentConfig:
    """Read what the recipe at `path` builds on."""
    try:
        found = recipe_path(str(path.parent / base) if base.endswith(".toml") else base)
    except UsageError as error:
        raise UsageError(f"{path}: base: {error}") from None
    chain = (*built_on_it, path.resolve())
    if found.resolve() in chain:
        raise UsageError(f"{path}: base: {base} builds on this file itself")
    return _read(found, chain)


def build_method(config: MethodConfig) -> Method:
    """Turn settings into the method they describe, with fresh weights."""
    match config:
        case DynamicConfig():
            return DynamicModel(config)
        case BootstrapConfig():
            return Bootstrap(config)
        case SelfTrainingConfig():
            return SelfTraining(config)
        case SupervisedConfig():
            return Supervised(config)
        case InpaintersConfig():
            return Inpainters(config)
        case ProposalConfig():
            return Proposal(config)


def _phases(config: MethodConfig) -> tuple[Phase, ...]:
    """Return the phases that settings alone decide on, without building the method."""
    match config:
        case BootstrapConfig():
            return bootstrap.phases(config)
        case SelfTrainingConfig():
            return self_training.phases(config)
        case ProposalConfig():
            return proposal.phases(config)
        case _:
            return ()


def round_ends(phases: Iterable[Phase]) -> dict[int, int]:
    """Return after how many steps each round is complete."""
    return {phase.completes: phase.stop for phase in phases if phase.completes is not None}


def begin(method: Method, config: ExperimentConfig) -> None:
    """Give a fresh run's players the weights that its settings name.

    Raises:
        UsageError: `start` names a player that one of the two runs does not have, or not the one
            that the method cannot begin without.
        UserError: weights are out of reach, damaged, or of another network.
    """
    _check_start(method, config)
    method.initialise([name for name in method.players if name not in config.start])
    # Several players mostly begin with the same run, which is read once.
    runs = {
        url: checkpoint.read_inference(checkpoint.resolve(url)).weights
        for url in dict.fromkeys(config.start.values())
    }
    for name, url in config.start.items():
        _take_over(method.players[name], name, runs[url], url)


def _check_start(method: Method, config: ExperimentConfig) -> None:
    for name in _needed(config.method):
        if name not in config.start:
            raise UsageError(
                f"{config.method.name} begins with a trained {name}: add --set start.{name}=RUN"
            )
    for name in config.start:
        if name not in method.players:
            known = ", ".join(method.players)
            raise UsageError(f"setting start.{name}: no such player; there are {known}")


def _needed(config: MethodConfig) -> tuple[str, ...]:
    """Name the players that a run of these settings does not train and cannot do without."""
    match config:
        case SelfTrainingConfig():
            return ("static",)
        case ProposalConfig(inpainter_steps=0, background="inpainted"):
            return proposal.inpainters_of(config)
        case _:
            return ()


def _take_over(player: nn.Module, name: str, saved: Mapping[str, Tensor], url: str) -> None:
    """Give a player the weights that it has among those of another run."""
    prefix = f"{name}."
    own = {key.removeprefix(prefix): w for key, w in saved.items() if key.startswith(prefix)}
    if not own:
        raise UsageError(f"setting start.{name}: {url} has no such player")
    try:
        player.load_state_dict(own)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UsageError(
            f"setting start.{name}: {url} has another network in its place: {reason}"
        ) from None


def of_today(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's settings with the defaults of those that are younger than the run.

    Settings that are not understood any more stay as they are.
    """
    try:
        return ExperimentConfig.model_validate(settings).model_dump(mode="json")
    except ValidationError:
        return dict(settings)


def round_checkpoint(run_url: str, number: int) -> str:
    """Find the checkpoint at the end of a round; 0: of what comes before the first.

    Raises:
        UsageError: the run has no such round.
        UserError: there is no run, or it has not come so far.
    """
    record = run_folder.read_record(run_url)
    if record is None:
        raise UserError(f"{run_url}: no run here, so no rounds: name the --run of `selfseg train`")
    config = ExperimentConfig.parse(record.settings, origin=run_url)
    ends = config.round_ends
    if number not in ends:
        known = f"has rounds {min(ends)} to {max(ends)}" if ends else "has no rounds"
        raise UsageError(f"--round {number}: {run_url} {known}")
    url = checkpoint.step_url(run_url, ends[number])
    if url not in checkpoint.committed(run_url):
        raise UserError(f"{run_url}: round {number} is not complete: let it train on")
    return url


def load_model(url: str, device: torch.device) -> Model:
    """Rebuild the method of a checkpoint, or of a run's newest one, from its settings alone.

    Raises:
        UserError: no such checkpoint, or one that is damaged; one line, with the remedy.
    """
    saved = checkpoint.read_inference(checkpoint.resolve(url))
    config = ExperimentConfig.parse(saved.settings, origin=saved.url)
    method = build_method(config.method)
    try:
        method.players.load_state_dict(saved.weights)
    except RuntimeError:
        raise UserError(
            f"{saved.url}: its networks are not those of this version of selfseg: train again, "
            "or go back to the version that wrote it"
        ) from None
    method.players.to(device).eval()
    return Model(
        method=method,
        config=config,
        ingest=IngestSettings.parse(saved.ingest, origin=saved.url),
        url=saved.url,
        step=saved.step,
        collection=saved.collection,
        manifest=saved.manifest,
    )
