"""What a step sees of collections that are as small as they can be."""

from selfseg.data.reading.selection import DataConfig

CONFIG = DataConfig(
    height=24,
    width=32,
    batch_size=4,
    gaps=(1,),
    lanes=2,
    block=3,
    loader_processes=0,
    augmentation={"reverse": 0},  # pyright: ignore[reportArgumentType] # as a recipe has it
)
