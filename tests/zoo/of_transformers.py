"""What kseg promises for every architecture of transformers; each has a short file with a subclass."""

import json
import pathlib
import re
import shutil
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from kseg import checkpoints, pretrained, zoo
from kseg.inference import Predictor
from tests.checkpoints import pytorch

SIZES = ((64, 96), (97, 129))
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]


class OfTransformers:
    """Tests of one architecture.

    Attributes:
        architecture: Name of the class of models.
        processor: Name of the class of image processors that uses Pillow.
        tiny: Fields of the configuration of a small model, with `id2label`.
        small_encoder: A small encoder of kseg, without a normalization of its own.
        published: Fields of a published configuration, and the name of the encoder that they belong to.
        unbuildable: Fields, and values that kseg cannot build; values are dictionaries for fields inside a field.
        enlarges: Whether the model enlarges its scores to the image that it is given.
        size: The height and width to which the processor resizes images.
        processor_fields: Other fields of the processor.
        rule: What the rule of the model contains because of them.
    """

    architecture: ClassVar[str]
    processor: ClassVar[str]
    tiny: ClassVar[Mapping[str, Any]]
    small_encoder: ClassVar[Mapping[str, Any]]
    published: ClassVar[tuple[Mapping[str, Any], str]]
    unbuildable: ClassVar[Mapping[str, Any]]
    enlarges: ClassVar[bool] = False
    size: ClassVar[Mapping[str, int]] = {"height": 48, "width": 80}
    processor_fields: ClassVar[Mapping[str, Any]] = {}
    rule: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture(scope="class")
    @classmethod
    def network(cls, transformers) -> torch.nn.Module:
        return cls.network_of(transformers, cls.tiny)

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, network, transformers, tmp_path_factory) -> pathlib.Path:
        """A folder as transformers writes it, with a processor that normalizes in its own way."""
        folder = tmp_path_factory.mktemp("transformers") / "model"
        network.save_pretrained(folder)
        fields = {"size": cls.size, "resample": 2, "image_mean": MEAN, "image_std": STD, **cls.processor_fields}
        getattr(transformers, cls.processor)(**fields).save_pretrained(folder)
        return folder

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, folder, numpy_initializers):
        return zoo.load(folder)

    @pytest.fixture
    def changed(self, folder, tmp_path):
        """Returns a copy of the folder with other fields in a file."""

        def change(file="config.json", **fields) -> pathlib.Path:
            copy = shutil.copytree(folder, tmp_path / "changed", dirs_exist_ok=True)
            content = json.loads((folder / file).read_text())
            for field, value in fields.items():
                nested = isinstance(value, Mapping) and isinstance(content.get(field), Mapping) and field != "id2label"
                content[field] = content[field] | value if nested else value
            (copy / file).write_text(json.dumps(content))
            return copy

        return change

    @classmethod
    def network_of(cls, transformers, fields) -> torch.nn.Module:
        kind = getattr(transformers, cls.architecture)
        return pytorch.randomized(kind(kind.config_class(**fields)))

    def returned(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays of a model as they are after it was written and read again."""
        return values

    def scores(self, network, x: torch.Tensor) -> torch.Tensor:
        """The logits of transformers for normalized images."""
        return network(x).logits

    def logits(self, network, pixels, mean, std) -> np.ndarray:
        """The logits of transformers for an image from 0 to 255, enlarged to it as its training does."""
        x = (pixels / 255 - np.float32(mean)) / np.float32(std)
        with torch.inference_mode():
            found = self.scores(network, torch.from_numpy(x.transpose(0, 3, 1, 2).astype("float32")))
            found = torch.nn.functional.interpolate(found, pixels.shape[1:3], mode="bilinear", align_corners=False)
        return found.numpy().transpose(0, 2, 3, 1)

    @pytest.mark.parametrize("size", SIZES)
    def test_logits_equal_those_of_transformers(self, network, model, size):
        pixels = pytorch.image(size)
        expected = self.logits(network, pixels, MEAN, STD)
        pytorch.assert_same([pytorch.logits(model, pixels)], [expected])

    def test_a_published_size_equals_transformers(self, transformers, tmp_path, numpy_initializers):
        fields, encoder = self.published
        network = self.network_of(transformers, fields)
        network.save_pretrained(tmp_path)
        with pytest.warns(UserWarning, match="no preprocessor_config.json: ImageNet's mean"):
            model = zoo.load(tmp_path)
        assert model.arguments["encoder"] == encoder and model.classes == () and model.processor == {}
        pixels = pytorch.image((65, 97))
        expected = self.logits(network, pixels, pytorch.MEAN, pytorch.DEVIATION)
        pytorch.assert_same([pytorch.logits(model, pixels)], [expected])

    def test_names_and_size_come_from_the_folder(self, model, tmp_path):
        assert model.classes == tuple(self.tiny["id2label"].values())
        enlarged = {"enlarged": True} if self.enlarges else {}
        assert model.processor == {"size": self.size, "resample": "bilinear", **enlarged, **self.rule}
        again = zoo.load(pretrained.save(model, tmp_path / "model.safetensors"))
        assert pretrained.description_of(again) == pretrained.description_of(model)

    def test_the_predictor_repeats_the_processor(self, network, model, transformers, folder):
        image = np.random.default_rng(0).integers(0, 256, (37, 61, 3)).astype("uint8")
        image = np.kron(image[::8, ::8], np.ones((8, 8, 1), "uint8"))[:37, :61]
        processor = getattr(transformers, self.processor).from_pretrained(folder)
        with torch.inference_mode():
            output = network(**processor(image, return_tensors="pt"))
        expected = processor.post_process_semantic_segmentation(output, [image.shape[:2]])[0].numpy()
        assert len(np.unique(expected)) > 1
        assert np.mean(Predictor(model, resize="processor")(image) == expected) > 0.998

    def test_transformers_loads_what_kseg_writes(self, network, model, transformers, tmp_path):
        folder = checkpoints.export_transformers(model, tmp_path / "written")
        again, report = type(network).from_pretrained(folder, output_loading_info=True)
        unused = re.compile(checkpoints.ARCHITECTURES[self.architecture].unused)
        assert not [name for names in report.values() for name in names if not unused.fullmatch(name)]
        for (name, ours), (known, theirs) in zip(again.state_dict().items(), network.state_dict().items(), strict=True):
            assert name == known and (torch.equal(ours, theirs) or unused.fullmatch(name)), name
        for field, value in self.tiny.items():
            assert_equal(getattr(again.config, field), value)
        processor = getattr(transformers, self.processor).from_pretrained(folder)
        np.testing.assert_allclose(processor.image_std, STD)
        assert {side: length for side, length in dict(processor.size).items() if length} == self.size
        with pytest.raises(FileExistsError, match="is not empty: name another folder"):
            checkpoints.export_transformers(model, folder)

    def test_names_of_a_state_dict_are_read_too(self, network, model):
        state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
        arrays = checkpoints.ARCHITECTURES[self.architecture].arrays(state)
        assert arrays.keys() == _values(model).keys()
        for key, value in _values(model).items():
            np.testing.assert_array_equal(arrays[key], value)

    @pytest.mark.parametrize("channels", [1, 4])
    def test_other_numbers_of_channels_return(self, model, channels, tmp_path):
        options = {**model.arguments, "encoder": self.small_encoder, "input_shape": [None, None, channels]}
        ours = zoo.build(model.builder, **options, encoder_weights=None)
        again = zoo.load(checkpoints.export_transformers(ours, tmp_path / "ours"))
        values = _values(again)
        assert values.keys() == _values(ours).keys()
        for key, value in self.returned(_values(ours)).items():
            np.testing.assert_array_equal(values[key], value)
        first, second = (each.get_layer("encoder").get_layer("normalization").get_config() for each in (ours, again))
        for constant in ("scale", "offset"):
            np.testing.assert_allclose(second[constant], first[constant], rtol=1e-5)

    def test_weights_may_be_a_pickle_in_parts(self, network, model, changed):
        folder = changed()
        (folder / "model.safetensors").unlink()
        architecture = checkpoints.ARCHITECTURES[self.architecture]
        state = architecture.tensors(_values(model), architecture.config(model.arguments)[0])
        parts = {}
        for index, names in enumerate((list(state)[::2], list(state)[1::2]), start=1):
            part = f"pytorch_model-0000{index}-of-00002.bin"
            torch.save({name: torch.from_numpy(state[name]) for name in names}, folder / part)
            parts |= dict.fromkeys(names, part)
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": parts}))
        _, arrays = checkpoints.read_transformers(folder)
        for key, value in _values(model).items():
            np.testing.assert_array_equal(arrays[key], value)

    def test_wrong_tensors_are_listed(self, changed, folder):
        import safetensors.numpy

        state = safetensors.numpy.load_file(folder / "model.safetensors")
        unused = re.compile(checkpoints.ARCHITECTURES[self.architecture].unused)
        first, second, *_ = [name for name in state if name.endswith("weight") and not unused.fullmatch(name)]
        state[second] = state[second][:1]
        state["new.weight"] = state.pop(first)
        copy = changed()
        safetensors.numpy.save_file(state, copy / "model.safetensors")
        with pytest.raises(ValueError, match=r"missing .*; left over new\.weight; .* is \(.*\), expected \("):
            zoo.load(copy)

    def test_a_field_that_kseg_cannot_build_is_named(self, changed):
        for field, value in {**self.unbuildable, "architectures": ["BertModel"], "id2label": {"3": "a"}}.items():
            named = next(iter(value)) if isinstance(value, Mapping) and field != "id2label" else field
            with pytest.raises(ValueError, match=rf"config\.json: .*{named}") as error:
                checkpoints.read_transformers(changed(**{field: value}))
            assert "\n" not in str(error.value)
        wrong = {"image_mean": [0.5], "do_flip_channel_order": True, "image_processor_type": "CLIPImageProcessor"}
        for field, value in wrong.items():
            with pytest.raises(ValueError, match=rf"preprocessor_config\.json: .*{field}"):
                checkpoints.read_transformers(changed("preprocessor_config.json", **{field: value}))
        for field, value in {"size": {"longest_edge": 3}, "resample": 9}.items():
            with pytest.warns(UserWarning, match=rf"preprocessor_config\.json: kseg does not know {field}"):
                described = checkpoints.describe_transformers(changed("preprocessor_config.json", **{field: value}))
            assert described["processor"] == {}


def assert_equal(config, expected) -> None:
    """Checks a field of a configuration, or the fields of a configuration inside it."""
    if isinstance(expected, Mapping) and not isinstance(config, Mapping):
        for field, value in expected.items():
            assert getattr(config, field) == value, field
    else:
        assert config == expected


def _values(model) -> dict[str, np.ndarray]:
    from keras import ops

    return {key: np.array(ops.convert_to_numpy(value)) for key, value in pretrained.weight_keys(model).items()}
