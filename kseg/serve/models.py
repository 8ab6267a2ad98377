"""The models of a service, which are loaded when they are first used."""

import functools
from collections.abc import Callable
from typing import Any

from kseg import inference, visualize
from kseg.classes import default_names
from kseg.serve.answers import ANSWERS, Answers


class NamedModel:
    """A model of a service.

    Args:
        name: Its name in requests.
        load: Returns its predictor; called once, in the thread of the service. The `warn` of the predictor is replaced,
            as each answer names what is doubtful about its image.
        about: What the page states about the model, such as the data that it was trained on.
    """

    def __init__(self, name: str, load: Callable[[], inference.Predictor], about: str = ""):
        self.name, self.load, self.about = name, load, about

    @property
    def loaded(self) -> bool:
        """Whether the model has been used."""
        return "answers" in vars(self)

    @functools.cached_property
    def predictor(self) -> inference.Predictor:
        """The predictor, loaded on first use."""
        predictor = self.load()
        predictor.warn = lambda name, doubt: None
        return predictor

    @functools.cached_property
    def answers(self) -> Answers:
        """What encodes the label maps of the model."""
        model, count = self.predictor.model, max(2, self.predictor.channels)
        classes = list(getattr(model, "classes", ()) or default_names(count))
        palette = [tuple(color) for color in getattr(model, "palette", ()) or visualize.default_palette(count)]
        return Answers(classes, palette, inference.background(classes, binary=self.predictor.channels == 1))

    def description(self) -> dict[str, Any]:
        """Returns the name, the classes, and what the model takes."""
        answers = self.answers
        colors = ["#" + bytes(color).hex() for color in answers.palette]
        return {
            "name": self.name,
            "about": self.about,
            "classes": [
                {"id": index, "class": name, "color": color, "background": index in answers.background}
                for index, (name, color) in enumerate(zip(answers.classes, colors, strict=True))
            ],
            "bands": self.predictor.bands,
            "pixels": self.predictor.pixels.to_json(),
            "formats": [*ANSWERS, "json"],
        }
