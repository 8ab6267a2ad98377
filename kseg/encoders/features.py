"""The features of an encoder, by stride."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import keras

from kseg.encoders.own import outputs_line


@dataclass(frozen=True)
class Features:
    """The features that an encoder computes from an image; `features[8]` is short for `features.by_stride[8]`.

    Attributes:
        by_stride: `{stride: feature}`, strides ascending.
        penultimate: Output of the last stage but one, if it was requested.
        outputs: All outputs of the encoder, finest first, of which several may have one stride (`blocks` of a ViT).
        layers: `{stride: name of a layer}` of a model with one output, which could be outputs too; for error messages.
    """

    by_stride: dict[int, keras.KerasTensor]
    penultimate: keras.KerasTensor | None = None
    outputs: Sequence[keras.KerasTensor] = ()
    layers: Mapping[int, str] = field(default_factory=dict)

    def __getitem__(self, stride: int) -> keras.KerasTensor:
        if stride not in self.by_stride:
            cure = outputs_line(self.layers) if stride in self.layers else ""
            raise ValueError(f"the model needs features at stride {stride}, but {self._found()}{cure}")
        return self.by_stride[stride]

    @property
    def coarsest(self) -> keras.KerasTensor:
        """The feature at the greatest stride."""
        return self.by_stride[max(self.by_stride)]

    @property
    def skips(self) -> list[keras.KerasTensor]:
        """All features but the coarsest, finest first; raises a ValueError if there are none."""
        if len(self.by_stride) < 2:
            cure = outputs_line(self.layers) if len(self.layers) > 1 else ": pass a keras.Model with several outputs"
            raise ValueError(f"the model needs features at several strides for its skips, but {self._found()}{cure}")
        return list(self.by_stride.values())[:-1]

    def beyond(self, *, full_size: bool) -> list[None]:
        """One entry for each block of a decoder that follows the finest feature and has no skip.

        Args:
            full_size: Whether the blocks end at the size of the image; otherwise there is one.

        Example:
            >>> Features({4: None, 8: None}).beyond(full_size=True)
            [None, None]
        """
        return [None] * (min(self.by_stride).bit_length() - 1 if full_size else 1)

    def _found(self) -> str:
        strides = ", ".join(map(str, self.by_stride))
        return f"the encoder has only {'strides' if len(self.by_stride) > 1 else 'stride'} {strides}"
