"""Files that stay open: those that were used last."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Opened = TypeVar("Opened")


class Recent(Generic[Opened]):
    """The results of a function for the numbers that were asked for last. Threads can share it; pickles are empty.

    A result that is dropped is closed once no thread uses it.

    Args:
        make: The function, for example one that opens the file of a number. Threads may call it at the same time.
        most: How many results to keep.

    Example:
        >>> recent = Recent(hex, most=2)
        >>> [recent(number) for number in (1, 2, 3)], len(recent)
        (['0x1', '0x2', '0x3'], 2)
    """

    def __init__(self, make: Callable[[int], Opened], most: int) -> None:
        self.make, self.most = make, most
        self._forget()

    def __len__(self) -> int:
        return len(self._kept)

    def __call__(self, number: int) -> Opened:
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
        made = self.make(number)  # may take long: other threads go on
        with self._lock:
            made = self._kept.setdefault(number, made)
            self._kept.move_to_end(number)
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)
        return made

    def _forget(self) -> None:
        self._kept: OrderedDict[int, Opened] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"make": self.make, "most": self.most}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()
