"""What the service takes."""

import dataclasses

PIECE = 2**17
"""Number of bytes that a client must send, or take of its answer, within `PATIENCE` seconds."""
PATIENCE = 10.0
"""Seconds in which a client sends or takes the next `PIECE` bytes."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the service takes.

    Attributes:
        upload_bytes: Largest size of an upload.
        pixels: Largest height times width of an image.
        queue: Most requests that wait for the one that is worked on.
        seconds: Longest time from the first byte of a request to its answer, and longest time to send the answer.

    Raises:
        ValueError: If one is not positive; the queue may be 0.
    """

    upload_bytes: int = 32_000_000
    pixels: int = 25_000_000
    queue: int = 16
    seconds: float = 60.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "queue" and not value >= 0:
                raise ValueError(f"queue must be 0 or more, got {value}")
            if field.name != "queue" and not value > 0:  # also not a number
                raise ValueError(f"{field.name} must be positive, got {value}")

    @property
    def places(self) -> int:
        """Most requests that are worked on, wait for it, or have an answer that is being sent."""
        return self.queue + 1

    @property
    def memory(self) -> int:
        """Most bytes that the uploads which are being read hold together."""
        return self.places * self.upload_bytes
