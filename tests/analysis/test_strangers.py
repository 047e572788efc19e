"""Videos of somebody else: one file is read, and none that it lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llava_faba.analysis import video
from llava_faba.errors import UserError

av = pytest.importorskip("av")

LISTS = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{0}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {0}\n",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "images": "ffconcat version 1.0\nfile {0}\nduration 1\nfile {0}\n",
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "other.ts"
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for number in range(10):
            picture = np.full((64, 64, 3), 20 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_the_clip_itself_is_read(clip):
    assert len(list(video.frames(clip, 0))) == 10


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".mkv"])
@pytest.mark.parametrize("kind", LISTS)
def test_a_list_called_a_video_opens_nothing(kind, suffix, clip):
    """FFmpeg tells formats by content; frames of another file would be taken for this one's."""
    path = clip.parent / f"{kind}{suffix}"
    path.write_text(LISTS[kind].format(clip.name))
    with pytest.raises(UserError, match="not a video that can be read"):
        list(video.frames(path, 0))


def test_frames_have_a_largest_size(clip, monkeypatch):
    monkeypatch.setattr(video, "PIXEL_LIMIT", 64 * 64 - 1)
    with pytest.raises(UserError, match="scale the video down"):
        list(video.frames(clip, 0))
