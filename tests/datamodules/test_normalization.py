import pytest
import torch

from datamodules.normalization import Normalization
from datamodules.splits import RawData, Split, fingerprint, split_indices


def test_uint8_images_per_channel():
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (700, 3, 9, 8), generator=generator, dtype=torch.uint8)
    x[:, 1] //= 3
    fitted = Normalization.fit(x)
    scaled = x.double() / 255
    assert fitted.mean == pytest.approx(scaled.mean((0, 2, 3)).tolist(), rel=1e-12)
    expected = scaled.std((0, 2, 3), correction=0)
    assert fitted.std == pytest.approx(expected.tolist(), rel=1e-12)
    z = fitted(x)
    assert z.dtype == torch.float32
    assert z.double().mean((0, 2, 3)).abs().max() < 1e-6
    assert (z.double().std((0, 2, 3), correction=0) - 1).abs().max() < 1e-6


def test_features_per_column_and_a_constant_one():
    x = torch.tensor([[1.0, 7.0], [3.0, 7.0], [5.0, 7.0], [7.0, 7.0]])
    fitted = Normalization.fit(x)
    assert fitted.mean == (4.0, 7.0)
    assert fitted.std == pytest.approx((5**0.5, 1.0))
    assert torch.allclose(fitted(x)[:, 0] * 5**0.5, torch.tensor([-3.0, -1.0, 1.0, 3.0]))
    assert torch.equal(fitted(x)[:, 1], torch.zeros(4))
    assert x[0, 0] == 1  # the input is left alone


def test_large_offset_loses_no_precision():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2000, 1, 4, 4, generator=generator) + 1000
    assert Normalization.fit(x).std[0] == pytest.approx(x.double().std(correction=0).item())


def test_split_indices_are_disjoint_complete_and_seeded():
    parts = split_indices(100, (20, 15), seed=3)
    assert [len(part) for part in parts] == [65, 20, 15]
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(100))
    again, other = split_indices(100, (20, 15), seed=3), split_indices(100, (20, 15), seed=4)
    assert all(torch.equal(a, b) for a, b in zip(parts, again, strict=True))
    assert not torch.equal(parts[1], other[1])
    with pytest.raises(ValueError, match=r"20 examples are too few: 12 \+ 8 are held out"):
        split_indices(20, (12, 8), seed=0)


def test_fingerprint_sees_every_part():
    x, y = torch.zeros(4, 2, dtype=torch.uint8), torch.arange(4)
    base = fingerprint(Split(x, y))
    assert len(base) == 16
    assert base == fingerprint(Split(x.clone(), y.clone()))
    pixel = x.clone()
    pixel[3, 1] = 1
    others = [Split(pixel, y), Split(x, y.flip(0)), Split(x.view(2, 4), y), Split(x.float(), y)]
    assert len({base, *(fingerprint(other) for other in others)}) == 5


X, Y = torch.zeros(6, 2), torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (RawData(X[:, :1], Y), r"train part: an example has shape \(1,\), expected \(2,\)"),
        (RawData(X.int(), Y), "examples are torch.int32, expected uint8 or floats"),
        (RawData(X, Y[:5]), "6 examples need as many integer labels"),
        (RawData(X, Y.float()), "integer labels, got torch.float32"),
        (RawData(X, Y + 1), "labels run from 1 to 3, expected 0 to 2"),
        (RawData(X, Y - 1), "labels run from -1 to 1, expected 0 to 2"),
        (RawData(X / 0, Y), "values that are not finite"),
        (RawData(X, Y, X), "must come together"),
        (RawData(X, Y, X, Y + 1), "test part: labels run from 1"),
        (RawData(X, Y, X.byte(), Y), "test examples torch.uint8, but both must be the same"),
    ],
)
def test_raw_data_that_do_not_fit(raw, message):
    with pytest.raises(ValueError, match=message):
        raw.check("spirals", (2,), 3)
