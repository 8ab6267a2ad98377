"""Features that are computed again: the same training, with less in memory."""

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from kseg import losses, zoo
from kseg.training import Recipe, train
from kseg.training.rematerialization import rematerialize
from tests.training import tiny
from tests.zoo.cheap import CHEAP

BACKEND = keras.backend.backend()


def test_a_run_has_the_same_weights_statistics_and_random_states(tmp_path):
    """Also with dropout, whose mask is the same the second time."""
    states = []
    for name, given in (("kept", {}), ("again", {"rematerialize": True})):
        train(Recipe.from_dict(tiny.content(**given)), tmp_path / name, progress=False)
        states.append(load_file(tmp_path / name / "checkpoint.safetensors"))
    kept, again = states
    assert kept.keys() == again.keys()
    for name, values in kept.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(again[name], values, atol=2e-6 * max(1, np.abs(values).max()), err_msg=name)
        else:
            np.testing.assert_array_equal(again[name], values)


@pytest.mark.usefixtures("numpy_initializers")
@pytest.mark.parametrize("builder", ["upernet", "eomt"])
def test_a_step_of_a_builder_is_the_same(builder):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 65, 97, 3)).astype("float32")
    labels = rng.integers(0, 5, (2, 65, 97)).astype("uint8")
    dropout = {"dropout": 0.0} if "dropout" in zoo.BUILDERS[builder].options else {}
    model = zoo.build(builder, 5, **CHEAP[builder], **dropout)
    start = model.get_weights()
    results = []
    for change in (lambda model: None, rematerialize):
        model.set_weights(start)
        change(model)
        model.compile(keras.optimizers.SGD(0.01), losses.CrossEntropy())
        loss = float(model.train_on_batch(images, labels))
        results.append((loss, model.get_weights(), keras.ops.convert_to_numpy(model(images))))
    (loss, weights, logits), (again, others, same) = results
    assert again == pytest.approx(loss, rel=1e-5)
    for old, one, other in zip(start, weights, others, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6 * max(1, np.abs(one).max()) + 1e-4 * np.abs(one - old).max())
    np.testing.assert_allclose(same, logits, atol=1e-4 * np.ptp(logits))


def kept_bytes(model, images):
    """Returns the bytes that the gradient keeps, without the weights."""
    weights = sum(weight.nbytes for weight in model.get_weights())
    if BACKEND == "torch":
        import torch

        found = {}

        def keep(tensor):
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(images, training=True).sum()
        return sum(found.values()) - weights
    import jax

    trained, others = ([v.value for v in kind] for kind in (model.trainable_variables, model.non_trainable_variables))
    gradient = jax.vjp(lambda weights: model.stateless_call(weights, others, images, training=True)[0], trained)[1]
    return sum(leaf.nbytes for leaf in jax.tree.leaves(gradient)) - weights


def convolutions(model, images):
    """Returns the number of convolutions that TensorFlow computes for the output and its gradient."""
    import tensorflow

    @tensorflow.function
    def gradient(images):
        with tensorflow.GradientTape() as tape:
            loss = tensorflow.reduce_sum(model(images, training=True))
        return tape.gradient(loss, [weight.value for weight in model.trainable_variables])

    graph = gradient.get_concrete_function(images).graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return sum(node.op == "Conv2D" for node in nodes)


@pytest.mark.usefixtures("numpy_initializers")
def test_features_are_computed_twice_and_few_are_kept():
    model = zoo.build("unet", 5, **CHEAP["unet"])
    images = np.zeros((2, 128, 192, 3), "float32")
    measure = convolutions if BACKEND == "tensorflow" else kept_bytes
    before = measure(model, images)
    rematerialize(model)
    after = measure(model, images)
    assert (after > 1.5 * before) if BACKEND == "tensorflow" else (after < 0.6 * before), (before, after)
