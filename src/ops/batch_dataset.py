"""A ``GeneratorDataset`` of whole batches, which are put together outside MindSpore.

MindSpore makes batches out of rows, which it copies three times, in threads that share Python's lock or in processes
that start anew in each epoch. On 2 cores its threads gave 244 to 281 clips a second, its processes 60, and the workers
of ``src.data.clip_workers`` behind this dataset 384 to 638.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Generator, Iterator
from itertools import islice
from typing import Any, Callable

import mindspore.dataset as ds
import numpy as np

PREFETCHED = 2  # batches; MindSpore's 16 are gigabytes of test crops

Batches = Generator[tuple[np.ndarray, ...], None, None]


class BatchDataset(ds.GeneratorDataset):
    """Batches of clips, features or frames.

    Each iterator begins with the first epoch; each of its epochs is the next one.

    Args:
        start: starts the batches of all epochs, one after the other; closing them ends what loads them.
        columns: names, dtypes and shapes of the columns of one row.
        batch_size: rows of a batch; the last batch of an epoch may be short.
        steps: batches of an epoch.
        first_step: batches that the first epoch leaves out.
    """

    def __init__(
        self, start: Callable[[], Batches], columns: np.dtype, batch_size: int, steps: int, first_step: int = 0
    ) -> None:
        names = list(columns.names or ())
        super().__init__(EpochSource(start, steps, first_step), names, python_multiprocessing=False)
        # MindSpore would read a batch to find these out, and takes a batch for a row.
        self.dataset_size, self._batch_size = steps, batch_size
        self.saved_output_shapes = [[batch_size, *columns[name].shape] for name in names]
        self.saved_output_types = [columns[name].base for name in names]

    source: EpochSource

    def parse(self, children: Any = None) -> Any:
        """MindSpore calls this for each iterator, on a copy of the dataset."""
        self.source = run = self.source.anew()
        self.prepared_source = lambda: iter(run)  # for 1.10; 2.x makes its own of ``source``
        prefetched = ds.config.get_prefetch_size()
        ds.config.set_prefetch_size(PREFETCHED)
        try:
            return super().parse(children)
        finally:
            ds.config.set_prefetch_size(prefetched)

    def read(self, num_epochs: int = 1, output_numpy: bool = False) -> Generator[tuple[Any, ...], None, None]:
        """The batches of the first epochs, as tensors or arrays.

        An error of the source is raised unchanged, after all batches before it. MindSpore's iterators raise a
        RuntimeError with a traceback inside, at once. If the iterator may be left early, close it
        (``contextlib.closing``): that closes the batches.
        """
        if not self.dataset_size or num_epochs < 1:
            return
        own = copy.copy(self)
        own.source = self.source.anew(raises=False)
        iterator = own.create_tuple_iterator(num_epochs=num_epochs, output_numpy=output_numpy, do_copy=False)
        run = own.source.latest
        assert run is not None
        try:
            for epoch in range(num_epochs):
                yield from map(tuple, iterator)
                if run.failure and run.failed_in == epoch + 1:  # not in an epoch that is read ahead
                    raise run.failure
        finally:
            iterator.release()
            run.close()


class EpochSource:
    """The source of one iterator over a ``BatchDataset``: each time it is iterated, it gives the next epoch.

    With ``raises`` false an epoch ends where the batches raise. In any case ``failure`` is what they raised, in epoch
    ``failed_in``.
    """

    def __init__(self, start: Callable[[], Batches], steps: int, first_step: int, raises: bool = True) -> None:
        self.start, self.steps, self.first_step, self.raises = start, steps, first_step, raises
        self.batches: Batches | None = None
        self.failure: Exception | None = None
        self.epochs = self.failed_in = 0  # counted from 1
        self._latest: Callable[[], EpochSource | None] = lambda: None

    def anew(self, raises: bool | None = None) -> EpochSource:
        """A run that has not begun."""
        run = EpochSource(self.start, self.steps, self.first_step, self.raises if raises is None else raises)
        self._latest = weakref.ref(run)
        return run

    @property
    def latest(self) -> EpochSource | None:
        """The run that ``anew`` returned last, as long as an iterator holds it."""
        return self._latest()

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        self.epochs += 1
        steps = self.steps
        if self.batches is None:
            self.batches, steps = self.start(), self.steps - self.first_step
        try:
            yield from islice(self.batches, steps)
        except Exception as error:
            self.failure, self.failed_in = error, self.epochs
            if self.raises:
                raise

    def close(self) -> None:
        if self.batches is not None:
            self.batches.close()
