import pytest
import torch

from datamodules.augmentation import CropFlip
from datamodules.batches import ShuffledBatches, TensorBatches
from datamodules.normalization import Normalization
from datamodules.seeding import stable_seed
from datamodules.splits import Split


def numbered(n: int) -> Split:
    """Example i is the vector (i, -i) with label i."""
    numbers = torch.arange(n)
    return Split(torch.stack((numbers, -numbers), dim=1).float(), numbers)


def flat(lists):
    return [entry for each in lists for entry in each]


def labels(loader) -> list[list[int]]:
    return [y.tolist() for _, y in loader]


def test_every_example_once_per_epoch_with_its_label():
    loader = ShuffledBatches(numbered(103), 10, seed=0)
    assert len(loader) == 11
    batches = list(loader)
    assert [len(y) for _, y in batches] == [10] * 10 + [3]
    x, y = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    assert torch.equal(y.sort().values, torch.arange(103))
    assert torch.equal(x, torch.stack((y, -y), dim=1).float())
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64


def test_drop_last_leaves_out_the_incomplete_batch():
    loader = ShuffledBatches(numbered(103), 10, drop_last=True)
    assert len(loader) == 10
    assert [len(y) for y in labels(loader)] == [10] * 10
    assert len({label for batch in labels(loader) for label in batch}) == 100
    # A set that divides evenly loses nothing.
    assert len(ShuffledBatches(numbered(100), 10, drop_last=True)) == 10


def test_order_depends_on_seed_and_epoch_alone():
    reference = ShuffledBatches(numbered(50), 7, seed=1)
    first, second = labels(reference), labels(reference)
    assert first != second  # passes advance the epoch by themselves

    torch.manual_seed(99)
    torch.rand(1000)
    again = ShuffledBatches(numbered(50), 7, seed=1)
    state = torch.random.get_rng_state()
    assert labels(again) == first
    assert torch.equal(torch.random.get_rng_state(), state)  # and it draws nothing from it

    again.sampler.set_epoch(0)
    assert labels(again) == first
    again.sampler.set_epoch(1)
    assert labels(again) == second
    assert labels(ShuffledBatches(numbered(50), 7, seed=2)) != first
    # The epoch's permutation does not depend on the batch size.
    assert flat(labels(ShuffledBatches(numbered(50), 50, seed=1))) == flat(first)


def test_order_is_pinned_across_versions_of_this_package():
    assert stable_seed(0, "shuffle", 0) == 2606704288943195725
    loader = ShuffledBatches(numbered(8), 8, seed=0)
    assert labels(loader) == [[2, 5, 0, 6, 7, 1, 4, 3]]
    assert labels(loader) == [[1, 6, 0, 4, 5, 7, 2, 3]]


def test_a_pass_begins_with_its_first_batch():
    loader = ShuffledBatches(numbered(20), 5, seed=3)
    iter(loader)  # an iterator nobody asks is no pass
    iterator = iter(loader)
    loader.sampler.set_epoch(4)
    late = [y.tolist() for _, y in iterator]
    fresh = ShuffledBatches(numbered(20), 5, seed=3)
    fresh.sampler.set_epoch(4)
    assert late == labels(fresh)
    assert loader.sampler.epoch == 5
    # Breaking off counts as a pass, as with torch's DataLoader.
    next(iter(loader))
    assert loader.sampler.epoch == 6


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_processes_share_each_global_batch(world_size):
    n, size = 12 * 6 + 2 * world_size, 12
    whole = labels(ShuffledBatches(numbered(n), size, seed=1))
    ranks = [
        labels(ShuffledBatches(numbered(n), size, seed=1, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert len(whole) == 7
    for k, batch in enumerate(whole):
        parts = [rank[k] for rank in ranks]
        assert flat(parts) == batch
        assert len({len(part) for part in parts}) == 1


@pytest.mark.parametrize("tail", [1, 3])
def test_a_tail_that_cannot_be_divided_goes_whole_to_every_process(tail):
    whole = labels(ShuffledBatches(numbered(40 + tail), 10, seed=1))
    for rank in (0, 1):
        part = labels(ShuffledBatches(numbered(40 + tail), 10, seed=1, rank=rank, world_size=2))
        assert part[4] == whole[4]
        assert len(part[4]) == tail
        assert part[0] == whole[0][rank * 5 : rank * 5 + 5]


def test_augmentation_is_the_same_for_any_number_of_processes():
    generator = torch.Generator().manual_seed(0)
    images = Split(torch.randn(31, 2, 6, 6, generator=generator), torch.arange(31))

    def batches(rank: int, world_size: int) -> list[torch.Tensor]:
        loader = ShuffledBatches(
            images, 8, seed=2, augmentation=CropFlip(), rank=rank, world_size=world_size
        )
        return [x for x, _ in loader]

    whole, first, second = batches(0, 1), batches(0, 2), batches(1, 2)
    for k in range(3):
        assert torch.equal(whole[k], torch.cat((first[k], second[k])))
    assert torch.equal(whole[3], first[3])


def test_augmentation_differs_from_epoch_to_epoch_and_repeats_with_the_seed():
    images = Split(torch.arange(36.0).repeat(40, 1).view(40, 1, 6, 6), torch.zeros(40).long())
    loader = ShuffledBatches(images, 40, seed=2, augmentation=CropFlip())
    (first,), (second,) = ([x for x, _ in loader] for _ in range(2))
    assert not torch.equal(first, second)
    loader.sampler.set_epoch(0)
    assert torch.equal(next(iter(loader))[0], first)


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("n", [3, 10, 11, 29, 31])
def test_evaluation_counts_every_example_once_in_equally_many_batches(n, world_size):
    ranks = [
        TensorBatches(numbered(n), 10, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    assert {len(loader) for loader in ranks} == {-(-n // 10)}
    assert sorted(flat(flat(labels(loader) for loader in ranks))) == list(range(n))
    sizes = [len(y) for loader in ranks for y in labels(loader)]
    assert min(sizes) >= 1
    assert max(sizes) * world_size <= 10 + world_size - 1


def test_evaluation_in_order_without_copies():
    split = numbered(25)
    loader = TensorBatches(split, 10)
    batches = list(loader)
    assert torch.equal(torch.cat([y for _, y in batches]), split.y)
    assert batches[0][0].data_ptr() == split.x.data_ptr()
    assert labels(loader) == labels(loader)
    assert not hasattr(loader, "sampler")


def test_uint8_batches_are_normalised_like_the_whole():
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (57, 3, 5, 4), generator=generator, dtype=torch.uint8)
    normalization = Normalization.fit(x)
    split, whole = Split(x, torch.arange(57)), normalization(x)
    for loader in (
        TensorBatches(split, 9, normalization=normalization),
        ShuffledBatches(split, 9, normalization=normalization),
    ):
        for images, y in loader:
            assert torch.equal(images, whole[y])


def test_a_checkpointed_place_continues_with_the_next_batch():
    loader = ShuffledBatches(numbered(50), 7, seed=1)
    labels(loader)
    iterator = iter(loader)
    begun = [next(iterator)[1].tolist() for _ in range(3)]
    state = loader.state_dict()
    assert state == {"epoch": 1, "batch": 3, "seed": 1, "batch_size": 7, "examples": 50}
    rest = [y.tolist() for _, y in iterator]

    fresh = ShuffledBatches(numbered(50), 7, seed=1)
    fresh.load_state_dict(state)
    assert fresh.state_dict() == state
    assert labels(fresh) == rest
    assert len(begun + rest) == 8
    assert labels(fresh) == labels_of_epoch(2)  # the next pass is whole again

    other_epoch = ShuffledBatches(numbered(50), 7, seed=1)
    other_epoch.load_state_dict(state)
    other_epoch.sampler.set_epoch(2)
    assert labels(other_epoch) == labels_of_epoch(2)


def labels_of_epoch(epoch: int) -> list[list[int]]:
    loader = ShuffledBatches(numbered(50), 7, seed=1)
    loader.sampler.set_epoch(epoch)
    return labels(loader)


def test_a_place_inside_an_epoch_of_other_batches_is_refused():
    state = {"epoch": 1, "batch": 3, "seed": 1, "batch_size": 7, "examples": 50}
    with pytest.raises(ValueError, match=r"in the middle of an epoch with .*'seed': 1"):
        ShuffledBatches(numbered(50), 7, seed=2).load_state_dict(state)
    ended = ShuffledBatches(numbered(50), 10, seed=1)
    ended.load_state_dict({**state, "batch": 8})  # past its 5 batches: nothing to continue


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 5, "world_size": 2}, "batch_size 5 is not divisible by the 2 processes"),
        ({"batch_size": 30, "drop_last": True}, "leaves no batch of 20 training examples"),
        ({"batch_size": 4, "rank": 2, "world_size": 2}, "rank must be from 0 to 1, not 2"),
    ],
)
def test_impossible_batches(arguments, message):
    with pytest.raises(ValueError, match=message):
        ShuffledBatches(numbered(20), **arguments)


def test_fewer_examples_than_processes():
    with pytest.raises(ValueError, match="2 examples cannot be shared by 3"):
        TensorBatches(numbered(2), 10, world_size=3)


def test_batches_on_another_device():
    split = numbered(20)
    meta = Split(split.x.to("meta"), split.y.to("meta"))
    for loader in (ShuffledBatches(meta, 8), TensorBatches(meta, 8)):
        assert {(x.device.type, y.device.type) for x, y in loader} == {("meta", "meta")}


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_uneven_shares_are_each_example_once_or_every_process_the_whole(world_size):
    n, size = 32, 10  # the last batch has two examples
    whole = list(ShuffledBatches(numbered(n), size, seed=1))
    loaders = [
        ShuffledBatches(numbered(n), size, seed=1, uneven=True, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    for index, (batch, *parts) in enumerate(zip(whole, *loaders, strict=True)):
        shares = [y.tolist() for _, y in parts]
        together = world_size > len(batch[1])
        assert [each.copies(index) for each in loaders] == [
            world_size if together else 1
        ] * world_size
        if together:
            assert shares == [batch[1].tolist()] * world_size
        else:
            assert [label for share in shares for label in share] == batch[1].tolist()
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_copies_of_a_last_batch_that_cannot_be_divided():
    loader = ShuffledBatches(numbered(15), 6, world_size=2)
    assert [loader.copies(index) for index in range(3)] == [1, 1, 2]
    alone = ShuffledBatches(numbered(15), 6)
    assert [alone.copies(index) for index in range(3)] == [1, 1, 1]
