"""Self-describing weight files."""

import errno
import io
import json
import os
import re
import zipfile

import keras
import numpy as np
import pytest
import safetensors.numpy

from kseg import encoders, pretrained, zoo

pytestmark = pytest.mark.usefixtures("numpy_initializers")

SMALL = {"encoder": "efficientnet_lite0", "filters": [8, 8, 8, 8, 8]}


@pytest.fixture(scope="module")
def unet(numpy_initializers):
    return zoo.unet(3, encoder_weights=None, **SMALL)


@pytest.fixture(scope="module")
def file(unet, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "unet.safetensors"
    palette = [(0, 0, 0), (255, 0, 0), (0, 255, 0)]
    return pretrained.save(unet, path, classes="abc", palette=palette, pixels={"range": [0, 4095]}, epoch=4)


def _changed(file, path, change):
    """A copy of a weight file whose tensors were changed."""
    tensors = safetensors.numpy.load_file(file)
    change(tensors)
    header = {pretrained.HEADER: json.dumps(pretrained.describe(file))}
    safetensors.numpy.save_file(tensors, path, header)
    return path


def test_a_model_is_rebuilt_from_its_file_alone(unet, file):
    image = np.random.default_rng(0).uniform(0, 255, (1, 33, 47, 3)).astype("float32")
    rebuilt = zoo.load(file)
    np.testing.assert_array_equal(rebuilt.predict_on_batch(image), unet.predict_on_batch(image))
    assert rebuilt.classes == ("a", "b", "c")
    assert rebuilt.palette[1] == (255, 0, 0)
    assert rebuilt.pixels == zoo.unet(weights=file, **SMALL).pixels == {"range": [0, 4095]}
    assert pretrained.describe(file)["epoch"] == 4  # a note


def test_half_precision_keeps_whole_what_it_cannot_hold(tmp_path):
    image = keras.Input((4, 4, 2))
    model = keras.Model(image, keras.layers.BatchNormalization(name="norm")(image))
    values = [np.float32([1, 2]), np.float32([0.1, 0]), np.float32([3, -4]), np.float32([1e6, 1])]
    model.set_weights(values)
    path = pretrained.save(model, tmp_path / "norm.safetensors", builder="none", arguments={}, dtype="float16")
    stored = safetensors.numpy.load_file(path)
    assert {key.split("/")[-1]: array.dtype.name for key, array in stored.items()} == {
        "gamma": "float16", "beta": "float16", "moving_mean": "float16", "moving_variance": "float32",
    }  # fmt: skip
    model.set_weights([np.zeros(2, "float32")] * 4)
    pretrained.load(model, path)
    for value, loaded in zip(values, model.get_weights(), strict=True):
        np.testing.assert_allclose(loaded, value, rtol=1e-3)


def test_a_builder_takes_num_classes_from_the_file(file):
    assert zoo.unet(weights=file, **SMALL).output_shape[-1] == 3
    with pytest.raises(ValueError, match=r"num_classes=5, but .* was trained with 3: leave num_classes out"):
        zoo.unet(5, weights=file, **SMALL)
    with pytest.raises(ValueError, match="num_classes is missing"):
        zoo.unet()


def test_no_encoder_weights_are_fetched_when_weights_are_given(file, monkeypatch):
    asked = []
    extract = encoders.extract
    monkeypatch.setattr(
        "kseg.encoders.extract",
        lambda *args, weights, **options: asked.append(weights) or extract(*args, weights=weights, **options),
    )
    zoo.unet(weights=file, **SMALL)
    assert asked == [None]


def test_missing_left_over_and_misshapen_tensors_are_listed(unet, file, tmp_path):
    def change(tensors):
        tensors["head/extra"] = tensors.pop("head/conv/bias")
        tensors["head/conv/kernel"] = tensors["head/conv/kernel"][..., :2].copy()

    before = [value.copy() for value in unet.get_weights()]
    with pytest.raises(ValueError) as error:
        pretrained.load(unet, _changed(file, tmp_path / "other.safetensors", change))
    assert (
        "missing head/conv/bias; left over head/extra; head/conv/kernel is (3, 3, 8, 2), expected (3, 3, 8, 3)"
        in str(error.value)
    )
    for old, new in zip(before, unet.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_not_strict_loads_what_fits_and_reports_the_rest(file, tmp_path):
    def change(tensors):
        tensors["head/extra"] = tensors.pop("head/conv/bias")
        tensors["decoder_1/conv1/conv/kernel"] = np.zeros((1, 1, 2, 2), "float32")

    other = _changed(file, tmp_path / "other.safetensors", change)
    model = zoo.unet(3, encoder_weights=None, **SMALL)
    bias = keras.ops.convert_to_numpy(model.get_layer("head").conv.bias)
    with pytest.warns(
        UserWarning, match=r"missing head/conv/bias; left over head/extra; decoder_1/\S+ is \(1, 1, 2, 2\)"
    ):
        pretrained.load(model, other, strict=False)
    expected = safetensors.numpy.load_file(file)
    for key, variable in pretrained.weight_keys(model).items():
        if key not in ("head/conv/bias", "decoder_1/conv1/conv/kernel"):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), expected[key])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model.get_layer("head").conv.bias), bias)


def test_a_checkpoint_of_another_model_is_refused_without_strict_too(unet):
    with pytest.raises(ValueError, match="none of its 1 tensors belongs there"):
        pretrained.load(unet, {"features.0.weight": np.zeros(3)}, strict=False)


def test_a_finer_net_starts_from_a_coarser_one(tmp_path):
    """FCN-32s, 16s, 8s in stages: the finer net computes what the coarser did, since its new scores are zero."""
    lite = {"encoder": "efficientnet_lite0", "encoder_weights": None}
    coarse = zoo.fcn32(3, **lite)
    kernel = coarse.get_layer("score_32").conv.kernel  # starts at zero
    kernel.assign(np.random.default_rng(1).normal(size=kernel.shape))
    file = pretrained.save(coarse, tmp_path / "fcn32.safetensors")
    with pytest.warns(UserWarning, match="missing fuse_16/score/kernel"):
        fine = pretrained.load(zoo.fcn16(3, **lite), file, strict=False)
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3)).astype("uint8")
    scores = [keras.Model(m.input, m.get_layer("score_32").output).predict_on_batch(image) for m in (coarse, fine)]
    np.testing.assert_array_equal(*scores)


def zipped(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("short.safetensors", None, r"short\.safetensors is not a complete safetensors file"),
        ("other.safetensors", safetensors.numpy.save({"w": np.zeros(1)}), "has no description of its model"),
        (
            "torch.safetensors",
            safetensors.numpy.save({"encoder.w": np.zeros(1)}),
            "another library .* kseg.zoo.smp.load",
        ),
        ("recipe.toml", b"epochs = 1", "is a recipe, which contains no weights: name the run folder"),
        ("m.onnx", b"\x08\x08", "is an exported model, .* name the weights that it was exported from"),
        ("m.h5", b"\x89HDF", r"m\.h5 cannot be loaded as a Keras model \("),
        ("m.keras", b"version https://git-lfs.github.com/spec/v1", "is a pointer of Git LFS, .* run git lfs pull"),
        ("n.keras", b"<html>", r"n\.keras is damaged or no Keras model: fetch or write it again"),
        ("m.bin", b"\x89HDF", r"is a Keras model in HDF5: kseg\.zoo\.load reads it under a name that ends with \.h5"),
        ("net.pth", zipped("net/data.pkl"), r"is a PyTorch file without .*zoo\.smp\.load.*zoo\.torchvision\.load"),
        (
            "net.pt",
            zipped("net/data.pkl", "net/constants.pkl"),
            "is a TorchScript program: in PyTorch, save its tensors",
        ),
        ("whole.bin", zipped("model.weights.h5"), r"is a whole Keras model: .* under a name that ends with \.keras"),
        ("a.npz", zipped("a.npy"), r"is a NumPy archive: kseg\.pretrained\.load\(model, dict\(numpy\.load\(FILE\)\)\)"),
        ("a.zip", zipped("a.txt"), "is no weight file, but a zip archive"),
        ("cut.pt", b"PK\x03\x04", "is a damaged zip archive"),
        ("best.safetensors", b"version https://git-lfs.github.com/spec/v1", "run git lfs pull"),
        ("old.pth", b"\x80\x02", "is a PyTorch file without a description"),
    ],
)
def test_the_error_for_another_file_names_its_kind(file, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content or file.read_bytes()[:5000])
    with pytest.raises(ValueError, match=message):
        zoo.load(tmp_path / name)


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.pop("builder"),
        lambda found: found.update(arguments=[]),
        lambda found: found.update(classes="abc"),
        lambda found: found.update(palette=["red", "green", "blue"]),
        lambda found: found.update(palette=[[0, 0, 256]] * 3),
        lambda found: found["arguments"].update(num_classes="3"),
        lambda found: found.update(pixels=[]),
        lambda found: found.update(processor=[1]),
        lambda found: found.update(classes=["a", "b"]),
        lambda found: found["arguments"].update(num_classes=True),
        None,
    ],
)
def test_a_damaged_description_is_named(file, tmp_path, change):
    found = pretrained.describe(file)
    if change is not None:
        change(found)
    text = "{" if change is None else json.dumps(found)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(safetensors.numpy.save({"w": np.zeros(1)}, {"kseg": text}))
    for load in (zoo.load, lambda path: pretrained.load(unnamed(), path)):
        with pytest.raises(ValueError, match=r"description of the model in .*damaged\.safetensors is damaged"):
            load(damaged)


def test_a_file_of_a_folder_of_another_library_names_the_folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(safetensors.numpy.save({"encoder.w": np.zeros(1)}))
    (tmp_path / "config.json").write_text('{"architecture": "resnet50"}')  # of timm, which has no such models
    with pytest.raises(ValueError, match="is a file of another library without a description"):
        zoo.load(tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"architectures": ["SegformerForSemanticSegmentation"]}')
    with pytest.raises(
        ValueError, match=r"model\.safetensors is part of the model that .*config\.json describes: name"
    ):
        zoo.load(tmp_path / "model.safetensors")


def test_pointers_of_git_lfs_are_told_from_damaged_files(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["SegformerForSemanticSegmentation"]}))
    (tmp_path / "preprocessor_config.json").write_text("{}")
    for name in ("model.safetensors", "preprocessor_config.json", "config.json"):
        (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
        with pytest.raises(
            ValueError, match=rf"{name} .*is a pointer of Git LFS, not the file itself: run git lfs pull"
        ):
            zoo.load(tmp_path)


def unnamed(widths=(4, 4, 6, 6, 6)):
    image = x = keras.Input((None, None, 3))
    return keras.Model(image, [x := keras.layers.Conv2D(width, 3, 2, "same")(x) for width in widths])


def test_unnamed_layers_of_an_own_encoder_are_found_by_their_order(tmp_path):
    options = {"filters": (4, 4, 4, 4, 4), "encoder_weights": None}
    for _ in range(12):  # so that numbers have one digit and two, whose order as texts is another one
        first = zoo.unet(2, encoder=unnamed(), **options)
    file = pretrained.save(first, tmp_path / "own.safetensors")
    second = zoo.unet(2, encoder=unnamed(), weights=str(file), **options)
    assert [*pretrained.weight_keys(first)] != [*pretrained.weight_keys(second)]
    for ours, theirs in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="does not fit 'unet': missing encoder/"):
        zoo.unet(2, encoder=unnamed((4, 4, 6, 6)), weights=str(file), **options)
    with pytest.raises(ValueError, match=r"does not fit 'unet': encoder/.*kernel is .*, expected"):
        zoo.unet(2, encoder=unnamed((4, 4, 6, 6, 8)), weights=str(file), **options)


def test_the_order_of_unnamed_layers_is_that_of_the_model_not_of_their_numbers(tmp_path):
    """An encoder from a file keeps its names, whose numbers may be above or below those of the layers around it."""

    def own(encoder):
        @zoo.builder
        def net(num_classes, *, weights=None):
            x = keras.layers.Conv2D(3, 1)(encoder.outputs[0])
            return keras.Model(encoder.inputs[0], keras.layers.Conv2D(num_classes, 1)(x))

        return net

    image = keras.Input((None, None, 3), name="image")
    named = [keras.layers.Conv2D(3, 1, name=f"conv2d_{number}") for number in (900, 20)]
    encoder = keras.Model(image, named[1](named[0](image)))
    first = own(encoder)(3)
    file = pretrained.save(first, tmp_path / "own.safetensors")
    second = pretrained.load(own(encoder)(3), file)
    assert [*pretrained.weight_keys(first)] != [*pretrained.weight_keys(second)]
    for ours, theirs in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_unnamed_layers_without_a_known_order_are_not_guessed(tmp_path):
    first, second = unnamed((3, 3, 3)), unnamed((3, 3, 3, 3, 3))
    arrays = {
        key.replace(was.name, now.name): variable
        for was, now in zip(first.layers[1:], second.layers[3:], strict=False)
        for key, variable in pretrained.weight_keys(first).items()
        if key.startswith(f"{was.name}/")
    }
    before = second.get_weights()
    with pytest.raises(ValueError, match="none of its 6 tensors belongs there"):
        pretrained.load(second, {key: np.asarray(value) for key, value in arrays.items()}, strict=False)
    for ours, theirs in zip(before, second.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"no weight file at nowhere\.safetensors"):
        zoo.load("nowhere.safetensors")


def test_keras_weight_files_work_too(unet, tmp_path):
    path = str(tmp_path / "m.weights.h5")
    unet.save_weights(path)
    other = zoo.unet(3, weights=path, **SMALL)
    for old, new in zip(unet.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    with pytest.raises(ValueError, match="does not store the number of classes"):
        zoo.unet(weights=path, **SMALL)
    with pytest.raises(ValueError, match=r"m\.weights\.h5 holds .*: build it in Python, kseg\.zoo\.unet\(2, weights="):
        zoo.load(path)


def test_a_whole_keras_model_of_anybody_loads(tmp_path):
    image = keras.Input((4, 4, 3))
    keras.Model(image, keras.layers.ReLU()(image)).save(tmp_path / "m.keras")
    assert zoo.load(tmp_path / "m.keras").classes == ()
    keras.Model(image, keras.layers.ReLU()(image)).save(tmp_path / "m.h5")
    assert zoo.load(tmp_path / "m.h5").output_shape == (None, 4, 4, 3)
    pretrained.SegmentationModel.of(zoo.load(tmp_path / "m.h5"), classes="abc").save(tmp_path / "own.h5")
    assert zoo.load(tmp_path / "own.h5").classes == ("a", "b", "c")
    with pytest.raises(ValueError, match=r"m\.keras is a whole Keras model, whose number of classes is fixed"):
        zoo.load(tmp_path / "m.keras", num_classes=5)
    keras.Sequential([keras.Input((4, 4, 3)), keras.layers.ReLU()]).save(tmp_path / "chain.keras")
    assert zoo.load(tmp_path / "chain.keras").predict_on_batch(np.ones((1, 4, 4, 3))).sum() == 48
    (tmp_path / "cut.keras").write_bytes((tmp_path / "m.keras").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"cut\.keras is a damaged zip archive: fetch or write it again"):
        zoo.load(tmp_path / "cut.keras")
    with pytest.raises(ValueError, match=r"'mine' is a subclassed model, .*: wrap it, x = keras"):
        pretrained.SegmentationModel.of(type("Mine", (keras.Model,), {})(name="mine"))
    with pytest.raises(ValueError, match=r"'functional.*' was not built by kseg.zoo, .* decorate the function that"):
        pretrained.save(zoo.load(tmp_path / "m.keras"), tmp_path / "m.safetensors")


def test_a_run_folder_stands_for_its_best_weights_and_its_state_does_not(unet, file, tmp_path):
    (tmp_path / "best.safetensors").write_bytes(file.read_bytes())
    np.testing.assert_array_equal(zoo.load(tmp_path).get_weights()[0], unet.get_weights()[0])
    for loaded in (zoo.unet(weights=tmp_path), pretrained.load(zoo.unet(3, encoder_weights=None, **SMALL), tmp_path)):
        np.testing.assert_array_equal(loaded.get_weights()[0], unet.get_weights()[0])
    safetensors.numpy.save_file({"model/0": np.zeros(1)}, tmp_path / "checkpoint.safetensors", {"progress": "{}"})
    message = r"checkpoint\.safetensors is the state of a training: its weights are in .*best\.safetensors"
    with pytest.raises(ValueError, match=message):
        zoo.load(tmp_path / "checkpoint.safetensors")
    with pytest.raises(FileNotFoundError, match=rf"neither .*: name one of its run folders, .*{tmp_path.name}"):
        zoo.load(tmp_path.parent)
    (tmp_path / "best.safetensors").unlink()
    for load in (zoo.load, lambda folder: zoo.unet(weights=folder)):
        with pytest.raises(
            FileNotFoundError, match=r"has no weights yet: train it with the same `kseg train` command$"
        ):
            load(tmp_path)
    (tmp_path / "checkpoint.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"neither a run folder .* nor a hub folder"):
        zoo.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"is a folder without best\.safetensors"):
        zoo.unet(weights=tmp_path)


def test_a_file_of_another_builder_is_named_as_such(file):
    message = r"unet\.safetensors was written by unet, not by fcn8: call unet\(weights=\.\.\.\), or kseg.zoo.load$"
    with pytest.raises(ValueError, match=message):
        zoo.fcn8(weights=file)
    with pytest.raises(ValueError, match=message):
        pretrained.load(zoo.fcn8(3, encoder=SMALL["encoder"], encoder_weights=None), file)


def test_a_file_of_the_user_s_own_builder_is_answered_with_the_call_that_loads_it(tmp_path):
    net = zoo.patch_classifier(2)
    file = pretrained.save(net, tmp_path / "own.safetensors")
    message = r"was written by patch_classifier, which is not in kseg.zoo.BUILDERS: call patch_classifier\(weights=FILE"
    with pytest.raises(ValueError, match=message):
        zoo.load(file)
    np.testing.assert_array_equal(zoo.patch_classifier(weights=file).get_weights()[0], net.get_weights()[0])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("m.keras", {}, r"m\.keras must end with \.safetensors"),
        ("m.safetensors", {"classes": "ab"}, "classes has 2 entries, but num_classes=3: give 3"),
        ("m.safetensors", {"palette": [(0, 0, 0)]}, "palette has 1 entries, but num_classes=3: give 3"),
    ],
)
def test_save_refuses_a_wrong_suffix_and_lists_of_wrong_length(unet, tmp_path, name, options, message):
    with pytest.raises(ValueError, match=message):
        pretrained.save(unet, tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_files_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        pretrained.atomic_write(tmp_path / "m.bin", [b"12", b"3"])
    finally:
        os.umask(before)
    assert (tmp_path / "m.bin").read_bytes() == b"123"
    assert os.name != "posix" or (tmp_path / "m.bin").stat().st_mode & 0o777 == 0o640


def test_files_with_the_longest_names_are_written(tmp_path):
    for name in (
        "x" * 251 + ".png",
        "\u00e9" * 125 + "a.png",
        "\u6f22" * 83 + "ab.png",
        os.fsdecode(b"\xe9" * 251) + ".png",
    ):
        assert pretrained.atomic_write(tmp_path / name, b"1").read_bytes() == b"1"
        (tmp_path / name).unlink()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="name too long"):
        pretrained.atomic_write(tmp_path / ("x" * 256), b"1")


def test_a_full_disk_is_named_and_leaves_the_old_file(unet, tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=r"cannot write .*m\.safetensors: No space left on device"):
        pretrained.atomic_write(path, b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("low", "high", "cure"),
    [
        (0, 1, "leave out the division by 255"),
        (-2, 2, "leave out the normalization"),
        (-50, 4000, r"scale each by .*range=\(-50, 4000\)\)\)"),
        (0, 65535, "divide 16-bit"),
    ],
)
def test_arrays_of_another_range_raise_a_warning(unet, low, high, cure):
    with pytest.warns(UserWarning, match=rf"values from {low} to {high}, where 0 is black and 255 is white: {cure}"):
        unet.predict(np.linspace(low, high, 32 * 32 * 3, dtype="float32").reshape(1, 32, 32, 3), verbose=0)


def test_two_variables_with_one_path_are_refused():
    image = keras.Input((4, 4, 3))
    pixels = keras.Input((4, 4, 3))
    inner = keras.Model(pixels, keras.layers.Conv2D(3, 1, name="c")(pixels), name="same")
    model = keras.Model(image, inner(image))
    assert list(pretrained.weight_keys(model)) == ["same/c/kernel", "same/c/bias"]

    class Twice(keras.layers.Layer):
        def build(self, shape):
            self.one, self.two = (self.add_weight(name="w", shape=(1,)) for _ in range(2))

        def call(self, x):
            return x * self.one * self.two

    with pytest.raises(ValueError, match=r"two variables of .* have the path 'twice/w'"):
        pretrained.weight_keys(keras.Model(image, Twice(name="twice")(image)))


@pytest.mark.parametrize(("key", "value"), [("kernel", np.nan), ("kernel", np.inf), ("moving_variance", -1.0)])
def test_weights_that_no_training_gives_are_refused(unet, key, value):
    """Case 20: their scores would be NaN, which reads as class 0 everywhere."""
    arrays = {name: np.array(variable) for name, variable in pretrained.weight_keys(unet).items()}
    before = [np.array(weight) for weight in unet.weights]
    name = next(name for name in reversed(arrays) if name.endswith(key))
    arrays[name].flat[-1] = value
    with pytest.raises(ValueError, match=f"the checkpoint: {re.escape(name)} contains values that no training gives"):
        pretrained.load(unet, arrays)
    assert all(np.array_equal(one, weight) for one, weight in zip(before, unet.weights, strict=True))
