"""The query of `POST /predict`."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kseg.data import Pixels


class Options(BaseModel):
    """The query of `POST /predict`."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["png", "overlay", "geojson", "coco", "json"] = Field(
        "png",
        description="png: class ids with the palette; overlay: a JPEG picture; geojson and coco: objects in pixels; "
        "json: the areas of the classes and the PNG mask as a data URL.",
    )
    model: str | None = Field(None, description="The name of the model, one of GET /models; by default the first.")
    range: str | None = Field(None, description="The image values that are black and white: 0,4095, or percentile.")
    bands: str | None = Field(None, description="The bands to use, counted from 1: 4,3,2.")
    page: int | None = Field(None, ge=1, description="The page of a file with several, counted from 1.")
    picture: bool = Field(False, description="Whether json contains the image too, as a data URL.")

    @model_validator(mode="after")
    def _check_format(self) -> "Options":
        if self.picture and self.format != "json":
            raise ValueError("picture is for format=json")
        return self

    def pixels(self, trained: Pixels) -> Pixels:
        """Returns what the numbers of the upload mean: what the model was trained on, unless stated.

        Raises:
            ValueError: If the range or the bands are not such, or do not fit the model.
        """
        stated: dict[str, Any] = {} if self.page is None else {"page": self.page}
        if self.range is not None:
            stated["range"] = "percentile" if self.range == "percentile" else _numbers("range", self.range, float)
        if self.bands is not None:
            stated["bands"] = _numbers("bands", self.bands, int)
        found = dataclasses.replace(trained, **stated)
        if found.channels != trained.channels:
            raise ValueError(f"the model takes {trained.channels} bands, got bands={self.bands}")
        return found


def _numbers(name: str, text: str, kind: Callable[[str], Any]) -> tuple[Any, ...]:
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        example = "0,4095, or percentile" if name == "range" else "4,3,2"
        raise ValueError(f"{name} takes numbers such as {example}, got {text[:40]!r}") from None
