"""The root of the configuration, and the only place where settings become objects."""

from dataclasses import dataclass
from pathlib import Path

import torch

from selfseg.config import Config
from selfseg.contracts import Method
from selfseg.data.ingesting import IngestSettings
from selfseg.data.loader import DataConfig
from selfseg.errors import UsageError
from selfseg.methods.dystab.config import DynamicConfig
from selfseg.methods.dystab.dynamic import DynamicModel
from selfseg.training import checkpoint
from selfseg.training.loop import LoopConfig
from selfseg.training.optimisers import OptimisersConfig

RECIPES = Path(__file__).parent / "recipes"


class ExperimentConfig(Config):
    """One run, completely; what it reads and where it writes are the command's to say."""

    seed: int = 0
    """Seeds weights, reading order, augmentation and every draw of a step."""

    method: DynamicConfig
    data: DataConfig
    optim: OptimisersConfig
    loop: LoopConfig


@dataclass(frozen=True, slots=True)
class Model:
    """A trained method, and everything needed to show it a new video as it saw the old ones."""

    method: Method
    config: ExperimentConfig
    ingest: IngestSettings
    url: str
    collection: str
    manifest: str


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


def build_method(config: DynamicConfig) -> Method:
    """Turn settings into the method they describe, with fresh weights."""
    match config:
        case DynamicConfig():
            return DynamicModel(config)


def load_model(url: str, device: torch.device) -> Model:
    """Rebuild the method of a checkpoint, or of a run's newest one, from its settings alone.

    Raises:
        UserError: no such checkpoint, or one that is damaged; one line, with the remedy.
    """
    saved = checkpoint.read_inference(checkpoint.resolve(url))
    config = ExperimentConfig.parse(saved.settings, origin=saved.url)
    method = build_method(config.method)
    method.players.load_state_dict(saved.weights)
    method.players.to(device).eval()
    return Model(
        method=method,
        config=config,
        ingest=IngestSettings.parse(saved.ingest, origin=saved.url),
        url=saved.url,
        collection=saved.collection,
        manifest=saved.manifest,
    )
