"""What an ingest is asked to generate beside the images themselves."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tasks.images.augmentation import Augmentation, AugmentationStrength

_VERSION = 1


class TilingOptions(BaseModel):
    """How images are cut into tiles."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(640, ge=32, le=16384, description="Side of a tile in pixels.")
    overlap: float = Field(0.2, ge=0, lt=1, description="Part of a side that neighbours share.")
    min_visible: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Part of an object's area that must be in a tile for it to be labelled there.",
    )
    background: float = Field(
        0.1, ge=0, le=1, description="Part of the tiles without any object that is kept."
    )
    seed: int = Field(0, description="Another seed keeps other background tiles.")


class GenerationOptions(BaseModel):
    """What is generated from every image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    augmentations: tuple[Augmentation, ...] = Field(
        (), description="Turned, mirrored, lighter, darker, blurred or noisy copies."
    )
    seed: int = Field(0, description="Another seed gives other noise.")
    tiling: TilingOptions | None = Field(
        None, description="Cut images that are larger than a tile into tiles."
    )
    resize: Annotated[int, Field(ge=16, le=65536)] | None = Field(
        None, description="A copy of larger images whose longer side has so many pixels."
    )

    def wanted_keys(self) -> tuple[str, ...]:
        """One key for each thing to generate; another way of making it has another key."""
        keys = [self._augmentation_key(one) for one in dict.fromkeys(self.augmentations)]
        if self.tiling is not None:
            keys.append("tiles:" + json.dumps([_VERSION, *self.tiling.model_dump().values()]))
        if self.resize is not None:
            keys.append("resized:" + json.dumps([_VERSION, self.resize]))
        return tuple(keys)

    def _augmentation_key(self, augmentation: Augmentation) -> str:
        strength = AugmentationStrength(seed=self.seed)
        values = {
            Augmentation.BRIGHT: [strength.bright],
            Augmentation.DARK: [strength.dark],
            Augmentation.BLUR: [strength.blur_sigma],
            Augmentation.NOISE: [strength.noise_sigma, self.seed],
        }.get(augmentation, [])
        return f"{augmentation.value}:" + json.dumps([_VERSION, *values])


def kind_of_key(key: str) -> str:
    """What a key makes: the name of an augmentation, `tiles` or `resized`."""
    return key.partition(":")[0]
