"""Mix Transformers: their features at all sizes, their options, and the authors' names of their weights."""

import keras
import numpy as np
import pytest
import safetensors.torch

from kseg import checkpoints, download, encoders, pretrained, zoo
from kseg.encoders import mit
from tests.checkpoints import pytorch
from tests.layers.tracing import computed

pytestmark = pytest.mark.usefixtures("numpy_initializers")

TINY = {"name": "mit_b0", "filters": [8, 12, 20, 24], "depths": [1, 1, 2, 1], "heads": [1, 2, 2, 3]}


@pytest.fixture
def network(torchvision):
    """The authors' encoder, without its image and its empty feature at stride 2."""
    from segmentation_models_pytorch.encoders.mix_transformer import (
        MixVisionTransformerEncoder,
        mix_transformer_encoders,
    )

    network = MixVisionTransformerEncoder(
        out_channels=[3, 0, *TINY["filters"]],
        embed_dims=TINY["filters"],
        num_heads=TINY["heads"],
        depths=TINY["depths"],
        mlp_ratios=[4, 4, 4, 4],
        qkv_bias=True,
        patch_size=4,
        norm_layer=mix_transformer_encoders["mit_b0"]["params"]["norm_layer"],
    )
    network.register_forward_hook(lambda *call: call[-1][2:])
    return pytorch.faint(pytorch.randomized(network))


def test_features_equal_those_of_the_authors(network):
    """Among them are numbers whose variance is near the epsilon of the layer normalization."""
    model = encoders.build(TINY, weights=None)
    pretrained.load(model, mit.convert(pytorch.arrays(network)))
    pixels = pytorch.image((65, 98))
    pytorch.assert_same(computed(model, pixels), pytorch.outputs(network, pixels))


def test_imagenet_weights_are_converted(network, tmp_path, monkeypatch, capsys):
    safetensors.torch.save_file(network.state_dict(), tmp_path / "model.safetensors")
    asked = []
    monkeypatch.setattr(download, "fetch_from_hub", lambda *given: asked.append(given) or tmp_path / given[1])
    with pytest.raises(ValueError, match="need the default heads, mean and std: leave these options out"):
        encoders.build(TINY)
    small = {**TINY, "heads": (1, 2, 5, 8)}
    model = encoders.build(small, input_shape=(None, None, 4))
    kernel = network.state_dict()["patch_embed1.proj.weight"].numpy().transpose(2, 3, 1, 0)
    found = model.get_layer("stage1_patch_conv").get_weights()[0]
    np.testing.assert_allclose(found, kernel[:, :, [0, 1, 2, 0]] * 0.75, rtol=1e-6)
    assert asked == [("smp-hub/mit_b0.imagenet", "model.safetensors", mit.COMMITS["mit_b0"])]
    assert "forbids commercial use" in capsys.readouterr().err


def test_any_size_and_a_saved_encoder(tmp_path):
    encoder = encoders.build(TINY, weights=None, input_shape=(None, None, 1))
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras")
    pixels = pytorch.image((9, 17))[..., :1]  # the first feature is smaller than the kernel of the reduction
    shapes = [(1, 3, 5, 8), (1, 2, 3, 12), (1, 1, 2, 20), (1, 1, 1, 24)]
    for found, expected, shape in zip(computed(loaded, pixels), computed(encoder, pixels), shapes, strict=True):
        assert found.shape == shape and np.isfinite(found).all()
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_option_or_an_output_stride_that_an_encoder_lacks_is_named():
    with pytest.raises(ValueError, match="mit_b0 has no output stride 8, only 16 and 32: choose another"):
        zoo.deeplabv3plus(2, encoder="mit_b0", output_stride=8)
    with pytest.raises(ValueError, match="encoder mit_b0 has no option 'width': it has filters, depths"):
        encoders.build({"name": "mit_b0", "width": 3}, weights=None)
    with pytest.raises(ValueError, match="encoder vgg16 has no option 'depths': give only its name"):
        encoders.build({"name": "vgg16", "depths": 3}, weights=None)
    with pytest.raises(ValueError, match='needs the key "name"'):
        encoders.build({"depths": 3}, weights=None)
    with pytest.raises(ValueError, match="9 channels cannot be divided among 2 heads"):
        encoders.build({**TINY, "filters": [8, 9, 16, 24]}, weights=None)


def test_names_of_transformers_are_converted_too():
    state = {"encoder.block.3.1.attention.self.key.weight": np.ones((4, 8)), "classifier.bias": np.ones(2)}
    assert {key: array.shape for key, array in mit.convert(state).items()} == {"stage4_1_attention/key/kernel": (8, 4)}
    assert checkpoints.revert({"stage4_1_attention/key/kernel": np.ones((8, 4))}, mit.TRANSFORMERS).keys() == {
        "encoder.block.3.1.attention.self.key.weight"
    }
