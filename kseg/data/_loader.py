"""Batches of a data set, read in threads by Grain, reproducible from any step."""

import ctypes
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from kseg.data.augment import INSTALL, Augmentation
from kseg.data.dataset import Dataset

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # parameters of glibc's mallopt
ENDLESS = 2**31  # epochs; with Grain's infinite repeat the number of batches overflows at batch size 1


def loader(
    dataset: Dataset,
    *,
    batch_size: int,
    augment: Augmentation | None = None,
    seed: int = 0,
    shuffle: bool = True,
    start_step: int = 0,
    epochs: int | None = None,
    num_threads: int | None = None,
    shard: tuple[int, int] = (0, 1),
) -> Any:
    """Returns training batches for `model.fit(batches, steps_per_epoch=..., shuffle=False)`.

    The samples of all epochs form one stream, in which each epoch has a new order; a batch can contain samples of two
    epochs. Position p of the stream belongs to epoch `p // len(dataset)`. The augmentation of a sample depends only on
    (seed, epoch, index), not on threads or on the start of the stream. With `shuffle=False`, Keras does not warn that
    it cannot shuffle the batches. On Linux, batches make the process keep freed memory for the next step, unless the
    environment variable `MALLOC_TRIM_THRESHOLD_` is set.

    Args:
        dataset: The data set.
        batch_size: Number of images per batch.
        augment: An augmentation, for example from `kseg.data.augment.pipeline`.
        seed: Seed of order and augmentation, 0 or more.
        shuffle: Whether each epoch has a new random order.
        start_step: Number of batches to skip, without reading them, to resume.
        epochs: Number of epochs after which the stream ends, with a smaller last batch if necessary; `None` never
            ends.
        num_threads: Number of threads that read ahead. `None` uses one per core, at most 8; 0 reads on demand.
        shard: The number of a process, from 0, and the number of processes: the stream contains its share of each
            batch, so that all processes together read the samples that one alone would.

    Returns:
        A `grain.IterDataset` of `(images, labels)`: `(batch_size, H, W, C)`, of the data set's type, and uint8
        `(batch_size, H, W)`; of several processes, each has an equal share of `batch_size`.

    Raises:
        ValueError: If the data set is empty or an option is invalid.
        ImportError: If grain is missing.

    Example:
        >>> from kseg import data
        >>> batches = data.loader(data.load("streets", "val"), batch_size=4, seed=1)
        >>> images, labels = next(iter(batches))
        >>> images.shape, labels.shape
        ((4, 128, 160, 3), (4, 128, 160))
    """
    _check_not_empty(dataset)
    grain = _import_grain()
    for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0), ("start_step", start_step, 0)):
        if value < least:
            raise ValueError(f"{name} must be {least} or more, got {value}")
    process, processes = shard
    if not 0 <= process < processes or batch_size % processes:
        raise ValueError(f"shard is (process, processes), which divides batch_size = {batch_size}, got {shard}")

    def sample(position: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        image, label = dataset[int(index)]
        if augment is None:
            return image, label
        source = np.random.SeedSequence([seed, position // len(dataset), int(index)])
        return augment(image, label, int(source.generate_state(1, np.uint64)[0]))

    order = grain.MapDataset.range(len(dataset)).seed(seed)
    if shuffle:
        order = order.shuffle()
    samples = order.repeat(ENDLESS if epochs is None else epochs).map_with_index(sample)
    if start_step:
        samples = samples.slice(slice(start_step * batch_size, None))
    if processes > 1:
        samples = samples.slice(slice(process, None, processes))
    return samples.batch(batch_size // processes, batch_fn=_stack).to_iter_dataset(_reading(grain, num_threads))


def evaluation_loader(dataset: Dataset, *, batch_size: int, num_threads: int | None = None) -> Any:
    """Returns every image once, without augmentation.

    All images of a batch have the same size: a new batch begins when the size changes. Iterate over the batches, or, if
    all images have the same size, pass them to `model.evaluate(batches, steps=math.ceil(len(dataset) / batch_size))`;
    without `steps` Keras does not know the number of batches and warns at the end.

    Args:
        dataset: The data set.
        batch_size: Largest number of images per batch.
        num_threads: Number of threads that read ahead, as in `loader`.

    Returns:
        A `grain.IterDataset` of `(images, labels)`: `(N, H, W, C)`, of the data set's type, and uint8 `(N, H, W)`,
        `N <= batch_size`.

    Raises:
        ValueError: If the data set is empty or `batch_size` is below 1.
        ImportError: If grain is missing.

    Example:
        >>> from kseg import data
        >>> [len(images) for images, _ in data.evaluation_loader(data.streets("val", count=5), batch_size=2)]
        [2, 2, 1]
    """
    _check_not_empty(dataset)
    grain = _import_grain()
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
    starts = np.fromiter(_starts(dataset, batch_size), np.int64)  # eight bytes per batch, for millions of images
    ends = np.append(starts[1:], len(dataset))

    def batch(place: int) -> tuple[np.ndarray, np.ndarray]:
        return _stack([dataset[index] for index in range(int(starts[place]), int(ends[place]))])

    return grain.MapDataset.range(len(starts)).map(batch).to_iter_dataset(_reading(grain, num_threads))


def _starts(dataset: Dataset, batch_size: int) -> Iterator[int]:
    """Yields the first index of each batch: the size changes there, or the batch before is full."""
    start, size = 0, None
    for index in range(len(dataset)):
        if (found := dataset.size(index)) != size or index - start == batch_size:
            start, size = index, found
            yield index


def _stack(samples: Any) -> tuple[np.ndarray, np.ndarray]:
    sizes = {image.shape for image, _ in samples}
    if len(sizes) > 1:
        raise ValueError(f"images of different sizes cannot share a batch: {sorted(sizes)[:3]}; set a crop size")
    _keep_freed_memory()  # per batch: TensorFlow lowers the threshold again
    return np.stack([image for image, _ in samples]), np.stack([label for _, label in samples])


def _keep_freed_memory() -> None:
    """Keeps glibc from returning freed memory to the system, unless `MALLOC_TRIM_THRESHOLD_` is set.

    Otherwise every training step on a CPU returns its activations and faults them in again: a seventh of the time of a
    U-Net on PyTorch, and a third on TensorFlow, where `tf.data.Dataset.from_generator`, through which Keras reads a
    loader, lowers the trim threshold to 128 kB.
    """
    if sys.platform == "linux" and "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_TRIM_THRESHOLD, 1 << 30)
            if not mallopt(M_MMAP_THRESHOLD, 1 << 30):  # older versions of glibc refuse more than 32 MiB
                mallopt(M_MMAP_MAX, 0)


def _reading(grain: Any, num_threads: int | None) -> Any:
    # Two batches per thread: Grain's default of 500 would fill the memory.
    threads = min(8, os.cpu_count() or 1) if num_threads is None else num_threads
    return grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(1, 2 * threads))


def _check_not_empty(dataset: Dataset) -> None:
    if len(dataset) == 0:
        raise ValueError(f"{dataset.name}: there are no images in this split")


def _import_grain() -> Any:
    try:
        import grain
    except ImportError as error:
        raise ImportError(f"loading batches needs grain: {INSTALL} ({error})") from error
    return grain
