"""Less memory in training: features are computed again for the gradient instead of being kept.

Keras's `RematScope` computes layer by layer, which saves little, and counts each batch twice in batch normalization.
Here `keras.remat` is applied to segments of the network, of which n layers make about the square root of n.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from kseg.layers import layer_calls

SIDE = 256
"""Side of the image for which segments are chosen."""

Key = tuple[int, int]
"""A tensor: the number of the call of the submodel that it belongs to, and its id there."""


class _Step:
    """One call of a layer or an operation."""

    def __init__(self, operation: Any, node: Any, frame: int):
        self.operation, self.node, self.frame = operation, node, frame

    def run(self, values: dict[Key, Any], aliases: dict[Key, Key], *, symbolic: bool = False) -> None:
        """Computes the outputs, or their shapes, from the values of earlier steps, and adds them."""
        given = {id(tensor): values[_resolved(self.key(tensor), aliases)] for tensor in self.node.input_tensors}
        arguments, options = self.node.arguments.fill_in(given)
        if isinstance(self.operation, keras.layers.Layer) and not symbolic:
            options["training"] = True  # when it is computed again, there is no model around to say so
        function = self.operation.compute_output_spec if symbolic else self.operation
        results = keras.tree.flatten(function(*arguments, **options))
        values.update(zip(map(self.key, self.node.output_tensors), results, strict=True))

    def key(self, tensor: Any) -> Key:
        return self.frame, id(tensor)


def rematerialize(model: keras.Model) -> None:
    """Makes the training of a functional model keep the features between segments only; nothing else changes.

    A step computes each segment twice, so it takes about a third longer.

    Args:
        model: The model, changed in place. Prediction is as before.
    """
    steps: list[_Step] = []
    aliases: dict[Key, Key] = {}
    _add_steps(model, 0, steps, aliases, itertools.count(1))
    parts = _divided(steps, _sizes(model, steps, aliases))
    ends = [_resolved((0, id(tensor)), aliases) for tensor in model.outputs]
    segments: list[_Segment] = []
    needed = set(ends)
    for part in reversed(parts):
        segments.insert(0, _Segment(part, aliases, needed))
        needed |= set(segments[0].inputs)
    plain = model.call

    def call(inputs: Any, training: bool | None = None, mask: Any = None, **options: Any) -> Any:
        if not training:
            return plain(inputs, training=training, mask=mask, **options)
        names = [(0, id(tensor)) for tensor in model.inputs]
        pairs = zip(keras.tree.flatten(inputs), model.inputs, strict=True)
        given = [keras.ops.cast(array, tensor.dtype) for array, tensor in pairs]
        values = dict(zip(names, given, strict=True))
        for segment in segments:
            segment.run(values)
        return keras.tree.pack_sequence_as(model.output, [values[end] for end in ends])

    model.call = call


def _sizes(model: keras.Model, steps: Sequence[_Step], aliases: dict[Key, Key]) -> list[int]:
    """Returns the numbers of values that each step computes from an image of `SIDE` pixels."""
    shapes = [(1, *(side or SIDE for side in tensor.shape[1:])) for tensor in model.inputs]
    pairs = zip(model.inputs, shapes, strict=True)
    specs = {(0, id(tensor)): keras.KerasTensor(shape, tensor.dtype) for tensor, shape in pairs}
    sizes = []
    for step in steps:
        step.run(specs, aliases, symbolic=True)
        sizes.append(sum(math.prod(specs[step.key(tensor)].shape) for tensor in step.node.output_tensors))
    return sizes


def _divided(steps: Sequence[_Step], sizes: Sequence[int]) -> list[list[_Step]]:
    """Divides n steps into about sqrt(n) segments, with about as many values each."""
    most = sum(sizes) / math.sqrt(len(steps))
    parts: list[list[_Step]] = [[]]
    filled = 0
    for step, size in zip(steps, sizes, strict=True):
        if parts[-1] and filled + size > most:
            parts.append([])
            filled = 0
        parts[-1].append(step)
        filled += size
    return parts


class _Segment:
    """Consecutive steps, of which only the outputs that later ones need are kept."""

    def __init__(self, steps: Sequence[_Step], aliases: dict[Key, Key], needed: set[Key]):
        self.steps, self.aliases = steps, aliases
        made = {step.key(tensor) for step in steps for tensor in step.node.output_tensors}
        read = [_resolved(step.key(tensor), aliases) for step in steps for tensor in step.node.input_tensors]
        self.inputs = list(dict.fromkeys(key for key in read if key not in made))
        self.outputs = sorted(made & needed)
        layers = [step.operation for step in steps if isinstance(step.operation, keras.layers.Layer)]
        found = {id(variable): variable for layer in layers for variable in layer.variables}
        self.variables = list(found.values())
        # What a call changes: statistics, unless the layer is frozen, and random states.
        changed = {
            id(variable)
            for layer in layers
            for variable in layer.non_trainable_variables
            if layer.trainable or not keras.backend.is_float_dtype(variable.dtype)
        }
        self.states = [variable for variable in self.variables if id(variable) in changed]

    def run(self, values: dict[Key, Any]) -> None:
        """Computes the outputs, adds them to the values, and drops nothing."""
        weights = [keras.ops.convert_to_tensor(variable) for variable in self.variables]
        outputs, states = keras.remat(self._compute)(weights, [values[key] for key in self.inputs])
        values.update(zip(self.outputs, outputs, strict=True))
        for variable, state in zip(self.states, states, strict=True):  # here, so that they change once
            variable.assign(state)

    def _compute(self, weights: list[Any], inputs: list[Any]) -> tuple[list[Any], list[Any]]:
        with keras.StatelessScope(state_mapping=list(zip(self.variables, weights, strict=True))) as scope:
            values = dict(zip(self.inputs, inputs, strict=True))
            for step in self.steps:
                step.run(values, self.aliases)
            states = [scope.get_current_value(variable) for variable in self.states]
        return [values[key] for key in self.outputs], states


def _add_steps(
    model: keras.Model, frame: int, steps: list[_Step], aliases: dict[Key, Key], numbers: Iterator[int]
) -> None:
    """Adds the steps of a functional model, and of the functional models in it, in order."""
    for operation, node in layer_calls(model):
        if not isinstance(operation, keras.Model) or not hasattr(operation, "operations"):
            steps.append(_Step(operation, node, frame))
            continue
        inner = next(numbers)
        for own, given in zip(operation.inputs, node.input_tensors, strict=True):
            aliases[inner, id(own)] = frame, id(given)
        _add_steps(operation, inner, steps, aliases, numbers)
        for given, own in zip(node.output_tensors, operation.outputs, strict=True):
            aliases[frame, id(given)] = inner, id(own)


def _resolved(key: Key, aliases: dict[Key, Key]) -> Key:
    while key in aliases:
        key = aliases[key]
    return key
