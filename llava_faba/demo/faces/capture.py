"""How the picture is taken: pose, light, colour, background, sharpness and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from .warp import FloatArray

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "grey": (150, 150, 152), "white": (226, 226, 224), "black": (32, 32, 34), "blue": (70, 104, 158),
    "green": (86, 128, 92), "brown": (122, 92, 66), "red": (150, 62, 56), "yellow": (206, 182, 104),
    "purple": (112, 84, 138), "pink": (208, 160, 168),
}  # fmt: skip
LIGHTS = ("left", "right", "above", "below", "even")


@dataclass(frozen=True)
class Capture:
    """One shot of a face. Angles in degrees, shifts in shares of the picture's side.

    Attributes:
        tilt: in-plane rotation; positive turns the head clockwise for the viewer.
        zoom: the distance between the eyes as a share of the picture's side.
        shift: of the face from its usual place, to the right and down.
        keystone: perspective, growth of the face towards the right and towards the bottom, a share per face
            unit.
        background: a name of :data:`BACKGROUNDS`.
        pattern: "plain", "gradient" or "cloudy".
        light: where it comes from; ``strength`` how much brighter that side is.
        exposure, contrast, saturation, warmth: 1, 1, 1 and 0 leave the picture as it is.
        blur: standard deviation in pixels at 224.
        noise: standard deviation in grey levels.
        seed: of the noise and the cloudy pattern.
    """

    tilt: float = 0.0
    zoom: float = 0.262
    shift: tuple[float, float] = (0.0, 0.0)
    keystone: tuple[float, float] = (0.0, 0.0)
    background: str = "grey"
    pattern: str = "plain"
    light: str = "even"
    strength: float = 0.0
    exposure: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    warmth: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    seed: int = 0


def draw_capture(rng: Generator) -> Capture:
    """A random shot: an aligned crop as a face detector makes it, not quite straight and not quite
    centred."""
    light = LIGHTS[int(rng.integers(len(LIGHTS)))]
    return Capture(
        tilt=float(np.clip(rng.normal(0, 5.0), -12, 12)),
        zoom=float(rng.uniform(0.243, 0.280)),
        shift=(float(rng.uniform(-0.045, 0.045)), float(rng.uniform(-0.03, 0.03))),
        keystone=(float(rng.normal(0, 0.022)), float(rng.normal(0, 0.015))),
        background=list(BACKGROUNDS)[int(rng.integers(len(BACKGROUNDS)))],
        pattern=("plain", "gradient", "cloudy")[int(rng.integers(3))],
        light=light,
        strength=0.0 if light == "even" else float(rng.uniform(0.12, 0.38)),
        exposure=float(rng.uniform(0.74, 1.18)),
        contrast=float(rng.uniform(0.85, 1.15)),
        saturation=0.0 if rng.random() < 0.1 else float(rng.uniform(0.7, 1.2)),
        warmth=float(rng.normal(0, 0.05)),
        blur=float(max(0.0, rng.uniform(-0.5, 1.1))),
        noise=float(rng.uniform(0.0, 5.0)),
        seed=int(rng.integers(2**31)),
    )


def unpose(capture: Capture, size: int) -> FloatArray:
    """The 3x3 matrix that takes pixel positions of a ``size`` square to face units (homogeneous)."""
    turn = np.deg2rad(capture.tilt)
    scale = capture.zoom * size
    cos, sin = np.cos(turn) * scale, np.sin(turn) * scale
    # the eyes lie at two fifths of the height
    place = np.array(
        [
            [cos, -sin, size * (0.5 + capture.shift[0])],
            [sin, cos, size * (0.405 + capture.shift[1])],
            [0, 0, 1],
        ]
    )
    lens = np.array([[1, 0, 0], [0, 1, 0], [-capture.keystone[0], -capture.keystone[1], 1]])
    return np.linalg.inv(place @ lens)


def to_units(matrix: FloatArray, pixels: FloatArray) -> FloatArray:
    """Face units of pixel positions (m, 2)."""
    mapped = pixels @ matrix[:, :2].T + matrix[:, 2]
    return mapped[:, :2] / mapped[:, 2:]


def _background(capture: Capture, size: int, rng: Generator) -> np.ndarray:
    base = np.array(BACKGROUNDS[capture.background], dtype=np.float32)
    if capture.pattern == "plain":
        return np.broadcast_to(base, (size, size, 3))
    if capture.pattern == "gradient":
        angle = rng.uniform(0, 2 * np.pi)
        ticks = np.linspace(-1, 1, size, dtype=np.float32)
        ramp = 1 + 0.28 * (np.cos(angle) * ticks[None] + np.sin(angle) * ticks[:, None])
        return base * ramp[..., None].astype(np.float32)
    from PIL import Image

    cells = Image.fromarray((255 * rng.random((6, 6))).astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
    return base * (0.72 + 0.5 * np.asarray(cells, dtype=np.float32)[..., None] / 255)


def develop(picture: np.ndarray, capture: Capture) -> np.ndarray:
    """The finished photograph, (size, size, 3) uint8, from RGB and the person's share (size, size, 4)."""
    from scipy.ndimage import gaussian_filter

    size = picture.shape[0]
    rng = np.random.default_rng(capture.seed)
    person = picture[..., 3:]
    behind = _background(capture, size, rng)
    image = behind + (picture[..., :3] - behind) * person
    image *= (_light(capture, size) * capture.exposure)[..., None]
    grey = image[..., 0] * np.float32(0.299) + image[..., 1] * np.float32(0.587)
    grey += image[..., 2] * np.float32(0.114)
    image = grey[..., None] + (image - grey[..., None]) * np.float32(capture.saturation)
    tint = np.array([1 + capture.warmth, 1.0, 1 - capture.warmth], dtype=np.float32) if capture.saturation else 1
    image = (image - 118) * np.float32(capture.contrast) + 118
    image = image * tint
    if capture.blur > 0.15:
        sigma = capture.blur * size / 224
        image = gaussian_filter(image, (sigma, sigma, 0), truncate=2.5)
    if capture.noise > 0:
        image = image + rng.standard_normal((size, size, 1), dtype=np.float32) * np.float32(capture.noise)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


def _light(capture: Capture, size: int) -> np.ndarray:
    ticks = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = ticks[None], ticks[:, None]
    ramp = {"left": -x, "right": x, "above": -y, "below": y, "even": 0 * x}[capture.light]
    light: np.ndarray = np.broadcast_to(1 + np.float32(capture.strength) * np.tanh(1.6 * ramp), (size, size))
    return light
