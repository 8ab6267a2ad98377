"""The engines against the plain model, whose logits are compared by argmax."""

import gc
import importlib.util
import weakref

import keras
import numpy as np
import pytest

from kseg import zoo
from kseg.engines import conversion, keras_engines, keras_runner
from kseg.inference import Predictor
from tests.layers.tracing import computed
from tests.zoo.cheap import CHEAP, encoder_to

pytestmark = pytest.mark.usefixtures("numpy_initializers")

TENSORFLOW, JAX = (keras.backend.backend() == name for name in ("tensorflow", "jax"))
UNET = {"filters": (8, 8, 4), **encoder_to(8)}

CONVERTED = (
    *("deeplabv2", "deeplabv3plus", "fcn8", "fpn", "manet", "pan", "pspnet", "segformer", "segnet_basic"),
    *("eomt", "pidnet", "swiftnet", "unet_2015"),
)
"""Builders with, together, the layers of all builders: conversion takes longest."""


def random_statistics(model, seed=0):
    """Gives batch normalization moments, scales and offsets other than 0 and 1."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if len(weight.shape) == 1:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


def photo(*size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype("uint8")


def same(model, predictor, image):
    """Fraction of pixels with the label of the plain model."""
    logits = computed(model, image[None])[0]
    return (predictor(image) == (logits.argmax(-1) if logits.shape[-1] > 1 else logits[..., 0] > 0)).mean()


# JAX takes long to compile, and folding does not depend on the backend.
@pytest.mark.parametrize("builder", CHEAP if not JAX else ("unet", "deeplabv3plus"))
def test_every_builder_gives_the_labels_of_the_plain_model(builder):
    model = random_statistics(zoo.build(builder, 4, **CHEAP[builder]))
    assert same(model, Predictor(model), photo(41, 50)) >= 0.999
    if TENSORFLOW and builder in CONVERTED:
        for name in ("openvino", "onnxruntime"):
            predictor = Predictor(model, engine=name)
            for size in ((64, 64), (41, 50)):  # OpenVINO has a graph for the first size and one for all others
                assert same(model, predictor, photo(*size)) >= 0.999, (name, size)


def test_the_converted_builders_have_the_layers_of_all(without_memory):
    def kinds(model):
        own = (kinds(layer) if isinstance(layer, keras.Model) else {type(layer)} for layer in model.layers)
        return set().union(*own)

    found = {builder: kinds(zoo.build(builder, 4, **CHEAP[builder])) for builder in CHEAP}
    assert set().union(*found.values()) == set().union(*(found[builder] for builder in CONVERTED))


@pytest.mark.parametrize("name", ["keras", "openvino"] if TENSORFLOW else ["keras"])
def test_a_new_predictor_has_the_new_weights_and_compiles_nothing(name, monkeypatch):
    made = []
    for step in ("tensorflow_function", "openvino_graph"):
        function = getattr(keras_engines, step)
        monkeypatch.setattr(keras_engines, step, lambda *a, f=function, step=step, **k: made.append(step) or f(*a, **k))
    model = random_statistics(zoo.unet(3, **UNET))
    first = Predictor(model, engine=name)
    assert same(model, first, photo(32, 40)) >= 0.999
    scores = model.get_layer("head").conv
    scores.set_weights([-weight for weight in scores.get_weights()])  # the least likely class is the likeliest now
    assert same(model, first, photo(32, 40)) < 0.01
    assert same(model, Predictor(model, engine=name), photo(32, 40)) >= 0.999
    assert same(model, Predictor(model, engine=name), photo(32, 40, seed=2)) >= 0.999
    assert made == {"keras": ["tensorflow_function"] * TENSORFLOW, "openvino": ["openvino_graph"] * 2}[name]


def test_probabilities_and_binary_labels(monkeypatch):
    if TENSORFLOW:  # tf2onnx at times makes its reshapes in the second round only, after removing the last identity
        optimizer = importlib.import_module("tf2onnx.optimizer.reshape_optimizer").ReshapeOptimizer
        optimize = optimizer.optimize
        monkeypatch.setattr(optimizer, "optimize", lambda self, graph, i: optimize(self, graph, i) if i else graph)
    model = random_statistics(zoo.unet(1, **UNET))
    expected = 1 / (1 + np.exp(-computed(model, photo(32, 40)[None])[0]))
    for name in ("keras", "openvino", "onnxruntime") if TENSORFLOW else ("keras",):
        predictor = Predictor(model, engine=name)
        assert same(model, predictor, photo(32, 40)) >= 0.999
        np.testing.assert_allclose(predictor.probabilities(photo(32, 40)), expected, atol=1e-5)


def test_foreign_models_and_compiled_ones_run():
    image = keras.Input((None, None, 3))
    inner = keras.Sequential([keras.layers.Conv2D(4, 3, padding="same"), keras.layers.BatchNormalization()])
    x = keras.ops.relu(inner(image / 255))
    shared = keras.layers.Conv2D(4, 1)
    x = keras.layers.BatchNormalization()(shared(shared(x)))
    functional = keras.Model(image, keras.layers.Conv2D(3, 1)(x))
    sequential = keras.Sequential([keras.Input((None, None, 3)), functional, keras.layers.BatchNormalization()])
    nested = keras.Model(image, keras.layers.BatchNormalization()(sequential(image)))
    for model in (functional, sequential, nested):
        model.compile("adam", "mse")
        random_statistics(model)
        assert same(model, Predictor(model), photo(12, 17)) == 1


def test_a_model_and_its_network_are_freed():
    model = zoo.unet(2, **UNET)
    Predictor(model)(photo(32, 32))
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def test_openvino_compiles_a_graph_for_a_size_that_recurs(monkeypatch):
    model = random_statistics(zoo.unet(3, **UNET))
    if JAX:
        with pytest.raises(
            ValueError, match="openvino takes no models of the backend jax: set KERAS_BACKEND=tensorflow"
        ):
            Predictor(model, engine="openvino")
        return
    predictor = Predictor(model, engine="openvino")
    run = predictor.runner.labels
    monkeypatch.setattr(type(run), "PIXELS", 2 * 32 * 40)
    assert same(model, predictor, photo(34, 40)) >= 0.999
    assert run._shape == (1, 34, 40, 3)
    for count in range(1, 4):  # with PyTorch there is no graph for all sizes, so one is made at once
        assert same(model, predictor, photo(32, 40, seed=count)) >= 0.999
        assert run._shape == ((1, 32, 40, 3) if count > 2 or not TENSORFLOW else (1, 34, 40, 3))
    if not TENSORFLOW:
        with pytest.raises(ValueError, match="needs the size of the image"):
            conversion.openvino_graph(model)


def test_engines_that_cannot_run_are_refused_with_the_cure(monkeypatch):
    model = zoo.unet(2, **UNET)
    with pytest.raises(ValueError, match="engine must be one of keras, openvino, onnxruntime, auto, got 'tensorrt'"):
        Predictor(model, engine="tensorrt")
    assert keras_runner.choose("auto") is (keras_engines.AutoRun if TENSORFLOW else keras_engines.KerasRun)
    if not TENSORFLOW:
        with pytest.raises(ValueError, match="set KERAS_BACKEND=tensorflow"):
            Predictor(model, engine="onnxruntime")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("openvino", "onnx") else find(name))
    assert keras_runner.choose("auto") is keras_engines.KerasRun
    for name, package in (("openvino", "openvino"), ("onnxruntime", "onnx")):
        with pytest.raises(ModuleNotFoundError, match=rf"{name} needs {package}, .*pip install 'kseg\[export\]'"):
            Predictor(model, engine=name)


def test_int8_labels_are_close_to_those_of_float32():
    rng = np.random.default_rng(0)  # of its own: the labels of a random network are more or less close to a tie
    model = random_statistics(zoo.unet(3, **UNET))
    for weight in model.weights:
        if weight.path.endswith("kernel"):
            weight.assign(rng.normal(0, np.prod(weight.shape[:-1]) ** -0.5, weight.shape))
    scores = model.get_layer("head").conv
    kernel, bias = scores.get_weights()
    scores.set_weights([kernel, bias - computed(model, photo(41, 50)[None])[0].mean((0, 1))])  # all labels are found
    options = {"engine": "openvino", "precision": "int8", "calibration": [photo(40, 48, seed=n) for n in range(4)]}
    if TENSORFLOW:
        predictor = Predictor(model, **options)
        assert same(model, predictor, photo(41, 50)) >= 0.9
        assert "FakeQuantize" in {each.get_type_name() for each in predictor.runner.labels.graph.get_ops()}
    else:
        with pytest.raises(ValueError, match=r"(?i)tensorflow"):
            Predictor(model, **options)
    for options, error in (
        ({"precision": "int8"}, "together"),
        ({"calibration": [photo(8, 8)]}, "together"),
        ({"precision": "int8", "calibration": []}, "no images for calibration"),
        ({"precision": "int8", "calibration": [photo(8, 8)]}, 'needs the engine "openvino"'),
        ({"precision": "fp4"}, 'must be "float32" or "int8"'),
    ):
        with pytest.raises(ValueError, match=error):
            Predictor(model, **options)
