import pytest
import torch
from torch.nn.functional import pad

from datamodules.augmentation import CropFlip, get_augmentation


def by_hand(image: torch.Tensor, row: int, column: int, flip: int) -> torch.Tensor:
    """Pad, crop and mirror one image, step by step."""
    _, height, width = image.shape
    crop = pad(image, (4, 4, 4, 4))[:, row : row + height, column : column + width]
    return crop.flip(2) if flip else crop


def test_every_offset_and_flip_equals_the_definition():
    image = torch.arange(1.0, 1 + 2 * 5 * 7).view(2, 5, 7)  # no two pixels alike, none 0
    draws = torch.cartesian_prod(torch.arange(9), torch.arange(9), torch.arange(2))
    images = CropFlip()(image.expand(len(draws), -1, -1, -1), draws)
    assert images.shape == (162, 2, 5, 7)
    for result, draw in zip(images, draws.tolist(), strict=True):
        assert torch.equal(result, by_hand(image, *draw))
    # The centre offset without flip is the image itself; the extreme one leaves a corner.
    assert torch.equal(images[4 * 18 + 4 * 2], image)
    assert torch.equal(images[0][:, 4:, 4:], image[:, :1, :3])
    assert images[0].count_nonzero() == 2 * 1 * 3


def test_images_of_a_batch_are_shifted_independently_and_not_mixed():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(64, 3, 8, 8, generator=generator)
    augment = CropFlip()
    draws = augment.draw(64, generator)
    results = augment(images, draws)
    for image, result, draw in zip(images, results, draws.tolist(), strict=True):
        assert torch.equal(result, by_hand(image, *draw))
    assert len(set(map(tuple, draws.tolist()))) > 40  # of 162 possible


def test_distribution_of_the_draws():
    n = 40_000
    draws = CropFlip().draw(n, torch.Generator().manual_seed(1))
    assert draws.dtype == torch.int64
    assert abs(draws[:, 2].float().mean().item() - 0.5) < 4 * (0.25 / n) ** 0.5
    for column in (0, 1):
        counts = torch.bincount(draws[:, column], minlength=9)
        assert counts.shape == (9,)
        spread = (n * (1 / 9) * (8 / 9)) ** 0.5
        assert (counts - n / 9).abs().max().item() < 4 * spread
    joint = torch.corrcoef(draws.double().T) - torch.eye(3, dtype=torch.float64)
    assert joint.abs().max().item() < 4 / n**0.5


def test_same_generator_seed_same_draws():
    first, second, third = (
        CropFlip().draw(50, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_by_name():
    assert get_augmentation(None, (5,)) is None
    assert get_augmentation("crop_flip", (3, 32, 32)) == CropFlip(pad=4)
    with pytest.raises(ValueError, match=r"'cropflip' is unknown \(did you mean 'crop_flip'\?\)"):
        get_augmentation("cropflip", (3, 32, 32))
    with pytest.raises(ValueError, match=r"needs images .* has shape \(5,\)"):
        get_augmentation("crop_flip", (5,))
