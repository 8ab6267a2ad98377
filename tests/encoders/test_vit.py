"""Vision Transformers and DINOv2: features and weights of transformers, timm and torchvision; any size."""

import hashlib
import math

import keras
import numpy as np
import pytest
import torch

from kseg import encoders, pretrained, zoo
from kseg.encoders import vit
from tests.checkpoints import pytorch
from tests.layers.tracing import computed

pytestmark = pytest.mark.usefixtures("numpy_initializers")

TINY = {"name": "vit_tiny", "filters": 12, "depth": 3, "heads": 2, "patch": 4, "grid": 3, "blocks": [0, 2]}
DINO = {**TINY, "name": "dinov2_small", "patch": 7}
REGISTERS = {**DINO, "name": "dinov2_small_registers", "registers": 2}
SIZES = {"hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2}


def of_timm(options) -> torch.nn.Module:
    """A network of timm that returns the outputs of two of its blocks."""
    import timm

    name = {"vit_tiny": "vit_tiny_patch16_224", "dinov2_small": "vit_small_patch14_dinov2"}.get(
        options["name"], "vit_small_patch14_reg4_dinov2"
    )
    sizes = {"embed_dim": 12, "depth": 3, "num_heads": 2, "patch_size": options["patch"]}
    sizes |= {"img_size": 3 * options["patch"], "dynamic_img_size": True, "dynamic_img_pad": True}
    sizes |= {"reg_tokens": 2} if options is REGISTERS else {}
    network = timm.create_model(name, **sizes)
    norm = options is not TINY
    network.forward = lambda x: network.forward_intermediates(x, [0, 2], norm=norm, intermediates_only=True)
    return network


def of_transformers(options) -> torch.nn.Module:
    """A backbone of transformers that returns the outputs of two of its blocks."""
    import transformers

    kind = "Dinov2" if options["name"] == DINO["name"] else "Dinov2WithRegisters"
    config = getattr(transformers, f"{kind}Config")(
        **SIZES, patch_size=7, image_size=21, out_features=["stage1", "stage3"]
    )
    config.num_register_tokens = 2
    network = getattr(transformers, f"{kind}Backbone")(config)
    network.register_forward_hook(lambda *call: list(call[-1].feature_maps))
    return network


def of_torchvision(options) -> torch.nn.Module:
    """A network of torchvision, which takes one size, and returns the normalized output of its last block."""
    from torchvision.models.vision_transformer import VisionTransformer

    network = VisionTransformer(12, 4, 3, 2, 12, 48)
    maps: list[torch.Tensor] = []
    network.encoder.register_forward_hook(lambda *call: maps.append(call[-1][:, 1:]))
    network.register_forward_hook(lambda *call: [maps[0].reshape(1, 3, 3, 12).permute(0, 3, 1, 2)])
    return network


@pytest.mark.parametrize(
    ("options", "changed", "network", "size"),
    [
        (TINY, {}, of_timm, (16, 25)),
        (DINO, {}, of_timm, (13, 30)),  # smaller and larger than the grid of positions
        (REGISTERS, {}, of_timm, (14, 35)),
        (DINO, {"interpolation": "bicubic"}, of_transformers, (14, 35)),
        (REGISTERS, {}, of_transformers, (14, 35)),
        (TINY, {"blocks": 1, "feature_norms": True}, of_torchvision, (12, 12)),
    ],
)
def test_features_equal_those_of_other_libraries(options, changed, network, size, torchvision, transformers):
    theirs = pytorch.randomized(network(options))
    model = encoders.build({**options, **changed}, weights=None)
    arrays = vit.convert(pytorch.arrays(theirs))
    if options is TINY and not changed:
        arrays = {key: array for key, array in arrays.items() if not key.startswith("norm/")}
    pretrained.load(model, arrays)
    pixels = pytorch.image(size)
    expected = pytorch.outputs(theirs, pixels)
    found = computed(model, pixels)
    pytorch.assert_same(found if isinstance(found, list) else [found], expected)


def test_imagenet_weights_are_converted(torchvision, tmp_path, monkeypatch):
    monkeypatch.setenv("KSEG_HOME", str(tmp_path / "home"))
    from torchvision.models.vision_transformer import VisionTransformer

    theirs = pytorch.randomized(VisionTransformer(12, 4, 3, 3, 12, 48))
    former = {"mlp.0": "mlp.linear_1", "mlp.3": "mlp.linear_2"}  # names in the published files
    state = {
        next((name.replace(new, old) for new, old in former.items() if new in name), name): tensor
        for name, tensor in theirs.state_dict().items()
    }
    torch.save(state, tmp_path / "model.pth")
    digits = hashlib.sha256((tmp_path / "model.pth").read_bytes()).hexdigest()[:8]
    file = (tmp_path / "model.pth").rename(tmp_path / f"model-{digits}.pth")
    monkeypatch.setitem(vit.ADDRESSES, "vit_tiny", file.as_uri())
    model = encoders.build({**TINY, "heads": 3}, input_shape=(None, None, 4))
    kernel = theirs.conv_proj.weight.detach().numpy().transpose(2, 3, 1, 0)
    weights = {key: keras.ops.convert_to_numpy(value) for key, value in pretrained.weight_keys(model).items()}
    np.testing.assert_allclose(weights["patch_conv/kernel"], kernel[:, :, [0, 1, 2, 0]] * 0.75, rtol=1e-6)
    rows = theirs.encoder.layers[2].self_attention.in_proj_weight.detach().numpy()
    np.testing.assert_array_equal(weights["block2_attention/key/kernel"], rows[12:24].T)
    with pytest.raises(ValueError, match="need the default heads, not 2: leave this option out"):
        encoders.build(TINY)
    with pytest.raises(ValueError, match="no ImageNet weights of dinov2_small, only of vit_base"):
        encoders.build("dinov2_small")


@pytest.mark.parametrize("options", [TINY, {**REGISTERS, "readout": "append"}])
def test_any_size_and_a_saved_encoder(options, tmp_path):
    encoder = encoders.build({**options, "drop_path": 0.1}, weights=None, input_shape=(None, None, 1))
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras")
    pixels = pytorch.image((9, 22))[..., :1]
    sides = tuple(math.ceil(side / options["patch"]) for side in (9, 22))
    for found, expected in zip(computed(loaded, pixels), computed(encoder, pixels), strict=True):
        assert found.shape == (1, *sides, 24 if "readout" in options else 12) and np.isfinite(found).all()
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("vit_small", 21_665_664),
        ("vit_base", 85_798_656),
        ("dinov2_small", 22_056_192),
        ("dinov2_base", 86_579_712),
        ("dinov2_base_registers", 86_582_016 + 768),  # timm's class token contains its position
    ],
)
def test_counts_are_those_of_timm(name, count, without_memory):
    encoder = encoders.build({"name": name, "feature_norms": True}, weights=None)
    assert encoder.count_params() == count


def test_the_class_token_is_added_or_appended():
    pixels = pytorch.image((8, 12))
    models = {}
    for readout in ("ignore", "add", "append"):
        models[readout] = encoders.build({**TINY, "blocks": 1, "readout": readout}, weights=None)
        models[readout].set_weights(models["ignore"].get_weights())
    found = {readout: computed(model, pixels) for readout, model in models.items()}
    plain, added, both = (each[0] if isinstance(each, list) else each for each in found.values())
    np.testing.assert_allclose(both[..., :12], plain, atol=1e-6)
    np.testing.assert_allclose(added - plain, both[..., 12:], atol=1e-5)


def test_options_that_do_not_fit_are_named():
    for blocks in ([], [2, 1], [3], 4):
        with pytest.raises(ValueError, match="blocks must be from 0 to 2 in ascending order, or their number, got"):
            encoders.build({**TINY, "blocks": blocks}, weights=None)
    with pytest.raises(ValueError, match=r"interpolation must be one of \('bilinear', .*, got 'nearest'"):
        encoders.build({**TINY, "interpolation": "nearest"}, weights=None)
    with pytest.raises(ValueError, match="readout must be one of"):
        encoders.build({**TINY, "readout": "mean"}, weights=None)
    with pytest.raises(ValueError, match="vit_tiny has no output stride 8, only 16 and 32: choose another encoder"):
        encoders.build("vit_tiny", weights=None, output_stride=8)
    with pytest.raises(ValueError, match="vit_tiny with encoder_depth=3 ends at stride 8, not 16: leave it out"):
        encoders.build("vit_tiny", weights=None, depth=3)
    with pytest.raises(ValueError, match="its skips, but the encoder has only stride 16"):
        zoo.unet(2, encoder="vit_tiny", encoder_weights=None)
