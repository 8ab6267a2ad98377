"""The sections of a recipe that change where a run is recorded and computed, not what it computes; and their base."""

from typing import Annotated, Any, Self

import pydantic

Whole = Annotated[int, pydantic.Strict()]
Number = Annotated[float, pydantic.Strict(), pydantic.Field(allow_inf_nan=False)]
Switch = Annotated[bool, pydantic.Strict()]
Positive = Annotated[Whole, pydantic.Field(gt=0)]
Share = Annotated[Number, pydantic.Field(ge=0, lt=1)]
NotNegative = Annotated[Number, pydantic.Field(ge=0)]
Color = tuple[Whole, Whole, Whole]

APART = {"tracking", "distribution"}
"""Sections that change where a run is recorded or computed, not what it computes."""


class Section(pydantic.BaseModel):
    """A table of the recipe. Unknown keys are errors; values are immutable. The docstrings of keys describe them."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Tracking(Section):
    """`[tracking]`: where progress is recorded besides `log.csv`. It changes nothing else, not even the hash."""

    tensorboard: Switch | None = None
    """Whether to write TensorBoard logs, with any backend. By default if the backend is TensorFlow."""
    wandb: dict[str, Any] | None = None
    """Arguments of `wandb.init`, e.g. `{ project = "leaves" }`, to record the run with Weights & Biases."""
    mlflow: dict[str, Any] | None = None
    """`experiment` and `tracking_uri`, and arguments of `mlflow.start_run`, to record the run with MLflow."""
    images: Annotated[Whole, pydantic.Field(ge=0)] = 4
    """Number of validation images whose predictions are recorded after each validation."""

    @pydantic.model_validator(mode="after")
    def _check_tables(self) -> Self:
        for name, options, key in (("wandb", self.wandb, "config"), ("mlflow", self.mlflow, "tags")):
            if not isinstance((options or {}).get(key, {}), dict):
                raise ValueError(f"{key} of {name} must be a table, got {(options or {})[key]!r}")
        return self


class Distribution(Section):
    """`[distribution]`: devices and hosts. It does not change the hash: a run can be resumed on others.

    The `batch_size` of `[data]` is that of all devices together.
    """

    devices: Positive | None = None
    """Devices of each host. By default one; on JAX with several hosts, all of each."""
    hosts: str | None = None
    """The address of process 0 and a port, e.g. `"node-1:29400"`; the next port is used too."""
    processes: Positive | None = None
    """The number of hosts, on each of which the command is started."""
    process: Annotated[Whole, pydantic.Field(ge=0)] | None = None
    """The number of this host, from 0."""
