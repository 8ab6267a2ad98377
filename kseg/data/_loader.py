"""Batches of a data set, by Grain: threads, a new order each epoch, reproducible from any step on."""

import os
from typing import Any

import numpy as np

from kseg.data import _tensorflow
from kseg.data.augment import INSTALL, Augmentation
from kseg.data.dataset import Dataset

ENDLESS = 2**31  # epochs; with Grain's own endless repeat the number of batches overflows where batches hold one image


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
) -> Any:
    """Returns batches to train on, for `model.fit(batches, steps_per_epoch=..., shuffle=False)`.

    Samples follow one another in one stream, epoch after epoch, each epoch in a new order; a batch may straddle two
    epochs. Position p of the stream belongs to epoch `p // len(dataset)`. What happens to a sample depends on (seed,
    epoch, index) alone, not on threads or on where the stream was entered. (`shuffle=False` keeps Keras from warning
    that it leaves the order alone.)

    Args:
        dataset: The data set.
        batch_size: Images a batch.
        augment: An augmentation, as from `kseg.data.augment.pipeline`.
        seed: Seed of order and augmentation, 0 or more.
        shuffle: Whether to change the order.
        start_step: Number of batches to pass over, without reading them, to resume.
        epochs: After how many epochs the stream ends (the last batch may then be short); `None` never ends.
        num_threads: Threads that read ahead; `None` takes one per core, at most 8, and 0 reads when asked.

    Returns:
        A `grain.IterDataset` of `(images, labels)`: uint8 arrays `(batch_size, H, W, C)` and `(batch_size, H, W)`.

    Raises:
        ValueError: If the data set is empty or an option makes no sense.
        ImportError: If grain is missing.

    Example:
        >>> from kseg import data
        >>> batches = data.loader(data.load("streets", "val"), batch_size=4, seed=1)
        >>> images, labels = next(iter(batches))
        >>> images.shape, labels.shape
        ((4, 128, 160, 3), (4, 128, 160))
    """
    grain = _grain()
    _require_images(dataset)
    for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0), ("start_step", start_step, 0)):
        if value < least:
            raise ValueError(f"{name} must be {least} or more, got {value}")

    def sample(position: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        image, label = dataset[int(index)]
        if augment is None:
            return image, label
        return augment(image, label, _sample_seed(seed, position // len(dataset), int(index)))

    order = grain.MapDataset.range(len(dataset)).seed(seed)
    if shuffle:
        order = order.shuffle()
    samples = order.repeat(ENDLESS if epochs is None else epochs).map_with_index(sample)
    if start_step:
        samples = samples.slice(slice(start_step * batch_size, None))
    return samples.batch(batch_size, batch_fn=_stack).to_iter_dataset(_reading(grain, num_threads))


def evaluation_loader(dataset: Dataset, *, batch_size: int, num_threads: int | None = None) -> Any:
    """Returns every image once, as it is.

    A batch holds images of one size: where the size changes from one image to the next, a new batch begins. Loop over
    it, or, where all images have one size, hand it to `model.evaluate(batches, steps=math.ceil(len(dataset) /
    batch_size))`: Keras cannot tell the number of batches by itself and would warn at the end.

    Args:
        dataset: The data set.
        batch_size: The most images a batch may hold.
        num_threads: Threads that read ahead, as in `loader`.

    Returns:
        A `grain.IterDataset` of `(images, labels)`: uint8 arrays `(N, H, W, C)` and `(N, H, W)`, `N <= batch_size`.

    Raises:
        ValueError: If the data set is empty or `batch_size` is below 1.
        ImportError: If grain is missing.

    Example:
        >>> from kseg import data
        >>> [len(images) for images, _ in data.evaluation_loader(data.streets("val", count=5), batch_size=2)]
        [2, 2, 1]
    """
    grain = _grain()
    _require_images(dataset)
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
    sizes = [dataset.size(index) for index in range(len(dataset))]
    groups: list[list[int]] = []
    last_size = None
    for index in range(len(dataset)):
        if sizes[index] != last_size or len(groups[-1]) == batch_size:
            groups.append([])
        groups[-1].append(index)
        last_size = sizes[index]
    batches = grain.MapDataset.source(groups).map(lambda group: _stack([dataset[index] for index in group]))
    return batches.to_iter_dataset(_reading(grain, num_threads))


def _sample_seed(seed: int, epoch: int, index: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, index]).generate_state(1, np.uint64)[0])


def _stack(samples: Any) -> tuple[np.ndarray, np.ndarray]:
    sizes = {image.shape for image, _ in samples}
    if len(sizes) > 1:
        raise ValueError(
            f"images of different sizes cannot share a batch: {sorted(sizes)[:3]}; give the augmentation a crop"
        )
    _tensorflow.keep_freed_memory()  # with every batch: TensorFlow changes malloc whenever it starts to read
    return np.stack([image for image, _ in samples]), np.stack([label for _, label in samples])


def _require_images(dataset: Dataset) -> None:
    if len(dataset) == 0:
        raise ValueError(f"{dataset.name}: there are no images in this split")


def _reading(grain: Any, num_threads: int | None) -> Any:
    # Two batches ahead per thread: Grain's own default of 500 would fill the memory.
    threads = min(8, os.cpu_count() or 1) if num_threads is None else num_threads
    return grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(1, 2 * threads))


def _grain() -> Any:
    try:
        import grain
    except ImportError as error:
        raise ImportError(f"loading batches needs grain: {INSTALL} ({error})") from error
    return grain
