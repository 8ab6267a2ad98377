"""A network that tells dark pixels from light ones, whose labels are known, in Keras and as an ONNX file."""

import json

import keras
import numpy as np

KERNEL, BIAS = np.array([[-1.0, 1.0]] * 3, "float32"), np.array([384.3, -384.3], "float32")
DESCRIPTION = {
    "shape": [None, None, None, 3], "dtype": "float32", "num_classes": 2, "classes": ["dark", "light"],
    "palette": [[0, 0, 0], [255, 255, 0]],
}  # fmt: skip


def is_light(image):
    """Returns the labels of an image `(H, W, 3)` as booleans."""
    return image.sum(-1, dtype=float) > 384


def network():
    """Builds the network."""
    image = keras.Input((None, None, 3))
    last = keras.layers.Conv2D(2, 1, name="brightness")
    model = keras.Model(image, last(image))
    last.set_weights([KERNEL[None, None], BIAS])
    model.classes, model.palette = DESCRIPTION["classes"], DESCRIPTION["palette"]
    return model


def write(path, *, labels=False):
    """Writes the network as an ONNX file without a converter, and its description beside it."""
    from onnx import TensorProto, helper, numpy_helper, save_model

    constants = [numpy_helper.from_array(KERNEL, "kernel"), numpy_helper.from_array(BIAS, "bias")]
    nodes = [
        helper.make_node("MatMul", ["image", "kernel"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["scores" if labels else "output"]),
        helper.make_node("ArgMax", ["scores"], ["ids"], axis=3, keepdims=0),
        helper.make_node("Cast", ["ids"], ["output"], to=TensorProto.UINT8),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", "h", "w", 3])
    output = (
        helper.make_tensor_value_info("output", TensorProto.UINT8, ["n", "h", "w"])
        if labels
        else helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", "h", "w", 2])
    )
    made = helper.make_graph(nodes if labels else nodes[:2], "brightness", [image], [output], constants)
    save_model(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    text = json.dumps(DESCRIPTION | {"output": "labels" if labels else "logits"})
    path.with_name(path.name + ".json").write_text(text)
    return path
