"""The model of a command."""

import sys
from typing import Any


def load_model(weights: str) -> Any:
    """Loads a model, exported or not, checks that it labels one image, and says what is unknown about its input.

    Raises:
        ValueError: If there are no such weights, or the model has other inputs or outputs.
    """
    from kseg import inference

    if inference.is_exported(weights):
        return inference.Exported(weights)  # without Keras
    from kseg import zoo

    model = zoo.load(weights)
    inference.check_model(model)
    if not model.builder and _begins_with_convolution(model):
        print(
            f"note: {weights} has no layer before its first convolution that scales images; they have values from 0 to "
            "255. If it was trained on others, put such a layer first, e.g. "
            "model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Rescaling(1 / 255), model])",
            file=sys.stderr,
        )
    return model


def _begins_with_convolution(model: Any) -> bool:
    import keras

    first = next((each for each in model.layers if not isinstance(each, keras.layers.InputLayer)), None)
    if isinstance(first, keras.Model):
        return _begins_with_convolution(first)
    kinds = (
        keras.layers.Conv2D,
        keras.layers.SeparableConv2D,
        keras.layers.DepthwiseConv2D,
        keras.layers.ZeroPadding2D,
    )
    return isinstance(first, kinds)
