"""The smallest tree of each dataset that converts with ``allow_missing``: four rows in each table, real images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from llava_faba.datatools.convert import Options
from llava_faba.records.vocabulary import au_protocol

_colour = iter(range(10**9))


def picture(path: Path) -> Path:
    """A small picture that no other one equals."""
    number = next(_colour)
    image = Image.new("RGB", (4, 4))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    with path.open("ab") as stream:  # JPEG would make neighbouring colours one
        stream.write(b"%d" % number)
    return path


@dataclass
class Tree:
    """Where the tables and images are, and which cells may change."""

    name: str
    root: Path
    tables: list[Path]
    images: Path
    delimiter: str = ","
    options: dict = field(default_factory=lambda: {"allow_missing": True})

    def given(self, **more: object) -> Options:
        return Options(**{**self.options, **more})


def rafdb(root: Path) -> Tree:
    names = ["train_00001", "train_00002", "test_0001", "test_0002"]
    table = root / "EmoLabel" / "list_patition_label.txt"
    table.parent.mkdir(parents=True)
    table.write_text("".join(f"{name}.jpg {label}\n" for name, label in zip(names, (5, 4, 1, 7), strict=True)))
    for name in names:
        picture(root / "Image" / "aligned" / f"{name}_aligned.jpg")
    return Tree("rafdb", root, [table], root / "Image" / "aligned", " ")


def affectnet(root: Path) -> Tree:
    tables = []
    for name, part in (("training.csv", "a"), ("validation.csv", "b")):
        lines = [
            "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
        ]
        for number, expression in enumerate((1, 0, 8, 6)):
            lines.append(f"{part}/{number}.jpg,1,1,9,9,1.5;2.5;3.5,{expression},0.5,-0.25")
            picture(root / "Manually_Annotated_Images" / part / f"{number}.jpg")
        table = root / "Manually_Annotated_file_lists" / name
        table.parent.mkdir(exist_ok=True)
        table.write_text("\n".join(lines if part == "a" else lines[1:]) + "\n")
        tables.append(table)
    return Tree("affectnet", root, tables, root / "Manually_Annotated_Images")


def bp4d(root: Path) -> Tree:
    tables = []
    for subject in ("F001", "F003"):
        lines = ["0," + ",".join(str(number) for number in range(1, 31))]
        for frame in range(41, 45):
            codes = [str(int(au == 12 and frame == 42)) for au in range(1, 31)]
            lines.append(f"{frame}," + ",".join(codes))
            picture(root / "2D+3D" / subject / "T1" / f"{frame:04d}.jpg")
        table = root / "AUCoding" / "AU_OCC" / f"{subject}_T1.csv"
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text("\n".join(lines) + "\n")
        tables.append(table)
    return Tree("bp4d", root, tables, root / "2D+3D" / "F001" / "T1")


def disfa(root: Path) -> Tree:
    tables = []
    for subject in ("SN001", "SN003"):
        folder = root / "ActionUnit_Labels" / subject
        folder.mkdir(parents=True)
        for au in au_protocol("disfa").vocabulary:
            table = folder / f"{subject}_au{au}.txt"
            table.write_text("".join(f"{frame},{4 if (au, frame) == (12, 3) else 0}\n" for frame in range(1, 5)))
            tables.append(table)
        for frame in range(1, 5):
            picture(root / "Images" / subject / f"{frame:05d}.png")
    return Tree("disfa", root, tables, root / "Images" / "SN001")


def gft(root: Path) -> Tree:
    aus = au_protocol("gft").vocabulary
    tables = []
    for subject in ("001A", "002B"):
        lines = ["frame," + ",".join(f"AU{au}" for au in aus)]
        for frame in range(1, 5):
            lines.append(f"{frame}," + ",".join(str(int(au == 12 and frame == 2)) for au in aus))
            picture(root / "Frames" / subject / f"{frame:05d}.jpg")
        table = root / "occurrence" / f"{subject}.csv"
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text("\n".join(lines) + "\n")
        tables.append(table)
    partition = root / "partition.csv"
    partition.write_text("001A,train\n002B,test\n")
    return Tree("gft", root, [*tables, partition], root / "Frames" / "001A")


def emotionet(root: Path) -> Tree:
    lines = ["URL,URL orig," + ",".join(f"AU {au}" for au in range(1, 61))]
    for number in range(1, 9):
        name = f"N_0000000001_{number:05d}.jpg"
        codes = ",".join(str(int(au in (6, 12) and number % 2)) for au in range(1, 61))
        lines.append(f"http://host.invalid/N_1/{name},http://o.invalid/{name},{codes}")
        picture(root / "images" / name)
    table = root / "labels.csv"
    table.write_text("\n".join(lines) + "\n")
    return Tree("emotionet", root, [table], root / "images")


TREES: dict[str, Callable[[Path], Tree]] = {
    "rafdb": rafdb,
    "affectnet": affectnet,
    "bp4d": bp4d,
    "disfa": disfa,
    "gft": gft,
    "emotionet": emotionet,
}
