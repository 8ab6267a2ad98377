"""ConvNeXt and Swin: features and weights of timm and torchvision; any size, any number of channels."""

import json

import keras
import numpy as np
import pytest
import safetensors.torch
import torch

from kseg import download, encoders, pretrained, zoo
from kseg.encoders import convnext, swin
from kseg.encoders.stages import added
from tests.checkpoints import pytorch

pytestmark = pytest.mark.usefixtures("numpy_initializers")

FIRST = {"name": "convnext_tiny", "filters": [8, 12, 16, 24], "depths": [1, 1, 2, 1]}
SECOND = {**FIRST, "name": "convnextv2_atto"}
SWIN = {"name": "swin_tiny", "filters": 8, "depths": [2, 1, 1, 2], "heads": [1, 2, 2, 4], "window": 3}


def of_torchvision(options) -> torch.nn.Module:
    """A network of torchvision that returns the outputs of its stages."""
    from torchvision.models import convnext as convnexts
    from torchvision.models import swin_transformer

    if options is SWIN:
        network = swin_transformer.SwinTransformer([4, 4], 8, options["depths"], options["heads"], [3, 3])
    else:
        widths = [*options["filters"], None]
        blocks = [convnexts.CNBlockConfig(*widths[s : s + 2], n) for s, n in enumerate(options["depths"])]
        network = convnexts.ConvNeXt(blocks)
    maps: list[torch.Tensor] = []
    for stage in (1, 3, 5, 7):
        network.features[stage].register_forward_hook(lambda *call: maps.append(call[-1]))
    network.register_forward_hook(
        lambda *call: [each.permute(0, 3, 1, 2) for each in maps] if options is SWIN else maps.copy()
    )
    return pytorch.randomized(network)


def of_timm(options) -> torch.nn.Module:
    """A network of timm that returns the outputs of its stages; a Swin for images of 96x192."""
    import timm

    if options is SWIN:
        sizes = {"embed_dim": 8, "num_heads": options["heads"], "window_size": 3, "img_size": (96, 192)}
        name, sizes = "swin_tiny_patch4_window7_224", sizes
    else:
        name, sizes = options["name"], {"dims": options["filters"], "conv_mlp": True}
    network = timm.create_model(name, depths=options["depths"], **sizes)
    network.forward = lambda x: network.forward_intermediates(x, intermediates_only=True)
    return pytorch.randomized(network)


@pytest.mark.parametrize(
    ("options", "network", "size"),
    [
        (FIRST, of_torchvision, (65, 98)),
        (SECOND, of_timm, (65, 98)),
        (SWIN, of_torchvision, (68, 100)),  # stage 4 has 3x4 pixels, windows have 3x3
        (SWIN, of_timm, (96, 192)),  # 3x6; timm completes the windows of other sizes after shifting them
    ],
)
def test_features_equal_those_of_other_libraries(options, network, size, torchvision):
    theirs = network(options)
    shift = {"always_shift": False} if options is SWIN else {}
    model = encoders.build({**options, **shift, "feature_norms": False}, weights=None)
    module = swin if options is SWIN else convnext
    pretrained.load(model, module.convert(pytorch.arrays(theirs)))
    pixels = pytorch.image(size)
    pytorch.assert_same(pytorch.logits(model, pixels), pytorch.outputs(theirs, pixels))


@pytest.mark.parametrize(("options", "first"), [(FIRST, "features.0.0"), (SECOND, "stem.0"), (SWIN, "features.0.0")])
def test_imagenet_weights_are_converted(options, first, torchvision, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KSEG_HOME", str(tmp_path / "home"))
    theirs = of_timm(options) if options is SECOND else of_torchvision(options)
    module = swin if options is SWIN else convnext
    if options is SECOND:
        safetensors.torch.save_file(theirs.state_dict(), tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps({"architecture": options["name"]}))
        monkeypatch.setattr(download, "fetch_from_hub", lambda repository, file, revision: tmp_path / file)
    else:
        torch.save(theirs.state_dict(), tmp_path / "model.pth")
        digits = download.file_sha256(tmp_path / "model.pth")[:8]
        file = (tmp_path / "model.pth").rename(tmp_path / f"model-{digits}.pth")
        monkeypatch.setitem(module.ADDRESSES, options["name"], file.as_uri())
    model = encoders.build(options, input_shape=(None, None, 4))
    kernel = theirs.state_dict()[f"{first}.weight"].numpy().transpose(2, 3, 1, 0)
    weights = pretrained.weight_keys(model)
    found = weights["patch_conv/kernel" if options is SWIN else "stem_conv/kernel"]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), kernel[:, :, [0, 1, 2, 0]] * 0.75, rtol=1e-6)
    assert keras.ops.convert_to_numpy(weights["stage4_norm/gamma"]).tolist() == [1] * model.outputs[-1].shape[-1]
    assert ("forbids commercial use" in capsys.readouterr().err) == (options is SECOND)


def test_names_of_the_authors_are_converted_too():
    state = {f"layers.{stage}.downsample.norm.bias": np.full(1, stage) for stage in range(3)}
    state |= {"layers.0.blocks.0.norm1.bias": np.zeros(1), "layers.0.blocks.0.attn.attn_mask": np.zeros(1)}
    assert {key: array.item() for key, array in swin.convert(state).items() if "merge" in key} == {
        f"stage{stage + 2}_merge_norm/beta": stage for stage in range(3)
    }


def test_a_block_is_left_out_for_whole_images_during_training():
    image = keras.Input((2, 3, 4))
    model = keras.Model(image, added(image, image, 0.5, "block"))
    x = np.ones((64, 2, 3, 4), "float32")
    found = keras.ops.convert_to_numpy(model(x, training=True)).reshape(64, -1)
    assert (found == found[:, :1]).all() and set(np.unique(found)) == {1, 3}
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(x, training=False)), 2 * x)


@pytest.mark.parametrize("options", [SECOND, SWIN])
def test_any_size_and_a_saved_encoder(options, tmp_path):
    encoder = encoders.build(options, weights=None, input_shape=(None, None, 1))
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras")
    pixels = pytorch.image((33, 70))[..., :1]
    known = encoders.ENCODERS[options["name"]]
    sides = zip(known.sizes(33).values(), known.sizes(70).values(), encoder.outputs, strict=True)
    for found, (height, width, output) in zip(pytorch.logits(loaded, pixels), sides, strict=True):
        assert found.shape == (1, height, width, output.shape[-1]) and np.isfinite(found).all()
    assert loaded.to_json() == encoder.to_json()
    for found, expected in zip(loaded.get_weights(), encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_an_option_or_an_output_stride_that_an_encoder_has_not_is_named():
    with pytest.raises(ValueError, match="swin_tiny has no output stride 16, only 32: choose another encoder"):
        zoo.deeplabv3plus(2, encoder="swin_tiny")
    with pytest.raises(ValueError, match="encoder convnext_tiny has no option 'heads': it has filters, depths"):
        encoders.build({"name": "convnext_tiny", "heads": 3}, weights=None)
    with pytest.raises(ValueError, match="9 channels cannot be divided among 2 heads"):
        encoders.build({**SWIN, "filters": 9, "heads": [2, 2, 2, 2]}, weights=None)
    with pytest.raises(ValueError, match="multi_grid has 6 factors, but there are 5"):
        encoders.build(FIRST, weights=None, multi_grid=(1,) * 6)
