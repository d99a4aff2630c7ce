"""A ``GeneratorDataset`` of whole batches: what MindSpore's users may do with it, and what our own loops rely on."""

from __future__ import annotations

import gc
import time
from contextlib import closing

import mindspore as ms
import mindspore.dataset as ds
import numpy as np
import pytest

from model_utils.errors import InputError
from src.ops.batch_dataset import PREFETCHED, BatchDataset

STEPS, BATCH = 4, 3
COLUMNS = np.dtype([("clip", np.uint8, (2, 5)), ("label", np.int32)])


class Batches:
    """Batch number n holds n; all that are started, taken and closed are counted."""

    def __init__(self, fails_at=None, ends_at=1000):
        self.started, self.closed, self.taken = 0, 0, []
        self.fails_at, self.ends_at = fails_at, ends_at

    def __call__(self):
        self.started += 1
        try:
            for number in range(self.ends_at):
                if number == self.fails_at:
                    raise InputError("clip 7: frame is missing")
                self.taken.append(number)
                yield np.full((BATCH, 2, 5), number, np.uint8), np.full(BATCH, number, np.int32)
        finally:
            self.closed += 1


def dataset_of(batches, first_step=0):
    return BatchDataset(batches, COLUMNS, BATCH, STEPS, first_step)


def numbers(batches):
    found = []
    for clip, label in batches:
        clip, label = (value.asnumpy() if isinstance(value, ms.Tensor) else value for value in (clip, label))
        assert (clip.shape, clip.dtype, label.shape, label.dtype) == ((BATCH, 2, 5), np.uint8, (BATCH,), np.int32)
        assert len(np.unique(clip)) == 1
        assert np.unique(label).tolist() == [clip[0, 0, 0]]
        found.append(int(label[0]))
    return found


def test_it_is_a_generator_dataset_that_knows_its_sizes_without_reading():
    batches = Batches()
    dataset = dataset_of(batches)
    assert isinstance(dataset, ds.GeneratorDataset)
    assert (dataset.get_dataset_size(), dataset.get_batch_size()) == (STEPS, BATCH)
    assert dataset.get_col_names() == ["clip", "label"]
    assert dataset.output_shapes() == [[BATCH, 2, 5], [BATCH]]
    assert dataset.output_types() == [np.dtype(np.uint8), np.dtype(np.int32)]
    assert batches.started == 0


@pytest.mark.parametrize("first_step", [0, 3])
def test_each_epoch_is_the_next_one_and_each_iterator_begins_anew(first_step):
    batches = Batches()
    dataset = dataset_of(batches, first_step)
    steps = STEPS - first_step
    iterator = dataset.create_tuple_iterator(num_epochs=3)
    assert numbers(iterator) == list(range(steps))
    other = dataset.create_dict_iterator(num_epochs=1, output_numpy=True)
    assert [int(batch["label"][0]) for batch in other] == list(range(steps))
    assert numbers(iterator) == list(range(steps, steps + STEPS))
    assert numbers(iterator) == list(range(steps + STEPS, steps + 2 * STEPS))
    assert batches.started == 2
    assert numbers(dataset.read(2)) == list(range(steps + STEPS))
    assert numbers(dataset.read(output_numpy=True)) == list(range(steps))


def test_operations_of_mindspore_go_on_top():
    dataset = dataset_of(Batches()).map(lambda label: label + np.int32(1), ["label"])
    assert dataset.get_dataset_size() == STEPS
    iterator = dataset.create_dict_iterator(num_epochs=2, output_numpy=True)
    assert [int(batch["label"][0]) for batch in iterator] == [1, 2, 3, 4]
    assert [int(batch["label"][0]) for batch in iterator] == [5, 6, 7, 8]


def test_the_last_batch_may_be_short():
    def start():
        yield np.zeros((BATCH, 2, 5), np.uint8), np.zeros(BATCH, np.int32)
        yield np.ones((1, 2, 5), np.uint8), np.ones(1, np.int32)

    dataset = BatchDataset(start, COLUMNS, BATCH, 2)
    assert [len(label) for _, label in dataset.read(output_numpy=True)] == [BATCH, 1]
    assert list(BatchDataset(start, COLUMNS, BATCH, 0).read()) == []
    assert list(dataset.read(0)) == []


def test_what_the_source_raises_comes_after_the_batches_before_it():
    batches = Batches(fails_at=6)
    with closing(dataset_of(batches).read(5)) as reading:
        assert [int(next(reading)[1][0].asnumpy()) for _ in range(6)] == list(range(6))
        with pytest.raises(InputError, match="^clip 7: frame is missing$"):
            next(reading)
    assert batches.closed == 1


def test_mindspore_raises_an_error_that_holds_it():
    """Nobody trains on what could not be read."""
    iterator = dataset_of(Batches(fails_at=2)).create_tuple_iterator(num_epochs=1)
    with pytest.raises(RuntimeError, match="clip 7: frame is missing"):
        list(iterator)


def test_few_batches_are_taken_ahead():
    """And the prefetch size of the user's own datasets stays."""
    ds.config.set_prefetch_size(9)
    try:
        batches = Batches()
        with closing(dataset_of(batches).read(1)) as reading:
            next(reading)
            time.sleep(0.3)
            assert len(batches.taken) <= 1 + PREFETCHED + 1
        assert ds.config.get_prefetch_size() == 9
    finally:
        ds.config.set_prefetch_size(16)


def test_what_is_left_early_is_closed():
    batches = Batches()
    dataset = dataset_of(batches)
    with closing(dataset.read(100)) as reading:
        next(reading)
        assert batches.closed == 0
    assert batches.closed == 1
    iterator = dataset.create_tuple_iterator(num_epochs=2)
    next(iter(iterator))
    del iterator
    gc.collect()
    assert batches.closed == 2
