"""How often ``analyze --peak`` finds the apex of clips that the demo's warper makes: ``... bench_peaks.py [CLIPS]``.

Each clip is a made-up person whose expression grows from neutral to its strongest frame, which is drawn at random, and
fades; head and camera move a little from frame to frame. Encoded by PyAV and read like any other video, with dlib's
landmarks. Prints the share of clips in which the frame found is the apex, and in which it is one beside it at most.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "eval"), str(ROOT / "tests" / "analysis")]
FRAMES = 12
NEAR = 1


def make_clip(path: Path, seed: int) -> int:
    """Write the clip of a seed; returns the number of its apex."""
    from videos import write_video

    from llava_faba.demo.faces.capture import draw_capture
    from llava_faba.demo.faces.identity import draw_identity
    from llava_faba.demo.faces.prototypes import draw_prototype
    from llava_faba.demo.faces.render import Face, render_face
    from llava_faba.demo.faces.sources import SOURCES
    from llava_faba.demo.texts import EMOTIONS

    rng = np.random.default_rng([seed, 17])
    person = draw_identity(f"clip-{seed}", SOURCES[seed % len(SOURCES)].name, rng)
    emotion = [name for name in EMOTIONS if name != "Neutral"][seed % 6]
    strength = {unit: float(rng.uniform(0.6, 1.0)) for unit in sorted(draw_prototype(emotion, rng))}
    capture, apex = draw_capture(rng), int(rng.integers(3, FRAMES - 3))
    frames = []
    for number in range(FRAMES):
        rise = max(0.0, 1.0 - abs(number - apex) / 3.0)  # three sampled frames up, three down
        moved = replace(
            capture,
            tilt=capture.tilt + float(rng.normal(0, 0.7)),
            shift=(capture.shift[0] + float(rng.normal(0, 0.004)), capture.shift[1] + float(rng.normal(0, 0.004))),
            zoom=capture.zoom * float(rng.normal(1, 0.006)),
            seed=int(rng.integers(1 << 30)),
        )
        units = {unit: value * rise for unit, value in strength.items() if rise > 0}
        picture = render_face(Face(person, units, (1.0, 1.0), moved), 256)
        frames.append(np.pad(picture, ((64, 64), (64, 64), (0, 0)), mode="edge"))  # people do not fill the frame
    write_video(path, frames, [0.5 * number for number in range(FRAMES)])
    return apex


def found_peak(path: Path, work: Path) -> int | None:
    """The frame that ``analyze --peak`` would ask about; None where no face was tracked."""
    from llava_faba.analysis.detection import Detector
    from llava_faba.analysis.run import _peaks
    from llava_faba.analysis.settings import AnalyzeSettings
    from llava_faba.analysis.sources import Source

    settings = AnalyzeSettings(finder="dlib-68", every=0.5, peak=True, faces="largest")
    frames = list(Detector(work, settings)(Source(str(path), path, True)))
    peaks = _peaks(frames)
    numbers = [frame.frame for frame in frames for face in frame.faces if face.crop in peaks]
    tracked = max(peaks, key=lambda crop: peaks[crop]) if peaks else None
    return next((f.frame for f in frames for face in f.faces if face.crop == tracked), None) if numbers else None


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    exact = near = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(count):
            path = Path(folder, f"{seed}.mp4")
            apex = make_clip(path, seed)
            found = found_peak(path, Path(folder, f"work{seed}"))
            exact += found == apex
            near += found is not None and abs(found - apex) <= NEAR
            if found is None or abs(found - apex) > NEAR:
                print(f"  clip {seed}: apex in frame {apex}, found {found}", flush=True)
    print(f"{count} clips: {near} within {NEAR} sampled frame of the apex, {exact} in the very frame")


if __name__ == "__main__":
    main()
