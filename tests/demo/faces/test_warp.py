"""The spline goes through its points, and sampling is what bilinear interpolation says."""

from __future__ import annotations

import numpy as np
import pytest

from llava_faba.demo.faces.warp import ThinPlate, grid, refine, sample


def test_the_spline_goes_through_its_points() -> None:
    rng = np.random.default_rng(0)
    points, values = rng.uniform(-1, 1, (30, 2)), rng.uniform(-1, 1, (30, 2))
    np.testing.assert_allclose(ThinPlate(points, values, smoothness=0.0)(points), values, atol=1e-6)


def test_an_affine_map_is_kept_everywhere() -> None:
    rng = np.random.default_rng(1)
    points, elsewhere = rng.uniform(-1, 1, (20, 2)), rng.uniform(-2, 2, (50, 2))
    matrix, shift = np.array([[1.1, 0.2], [-0.1, 0.9]]), np.array([0.3, -0.2])
    spline = ThinPlate(points, points @ matrix + shift)
    np.testing.assert_allclose(spline(elsewhere), elsewhere @ matrix + shift, atol=1e-6)


@pytest.mark.parametrize(("size", "step"), [(224, 4), (50, 7), (64, 2)])
def test_a_linear_map_survives_the_coarse_grid(size: int, step: int) -> None:
    where, count = grid(size, step)
    fine = refine(where * (2.0, -1.0) + (3.0, 5.0), count, size, step)
    assert fine.shape == (size, size, 2)
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    np.testing.assert_allclose(fine[..., 0], 2.0 * x + 3.0, atol=1e-9)
    np.testing.assert_allclose(fine[..., 1], 5.0 - y, atol=1e-9)


def test_sampling_between_pixels_and_beyond_the_border() -> None:
    picture = np.array([[[0.0], [10.0]], [[20.0], [30.0]]], dtype=np.float32)
    x, y = np.array([0.5, 0.0, 0.5, -4.0]), np.array([0.5, 0.25, 0.0, 0.0])
    np.testing.assert_allclose(sample(picture, x, y)[:, 0], [15.0, 5.0, 5.0, 0.0], atol=0.05)
