"""``llava-faba priors``: facial priors of whole datasets, and the stores that hold them."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from faba_bench.console.output import emit, say, tell
from faba_bench.console.parser import Parser, warn_old
from faba_bench.console.processes import worker_count

from llava_faba.cli import options
from llava_faba.cli.expert_settings import add_set, settings_of
from llava_faba.cli.progress import progress_bar

_STORE = "made by 'llava-faba priors extract'"


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add ``priors`` with its sub-commands; each sets ``run`` to a function of the parsed arguments."""
    parser = subparsers.add_parser(
        "priors", help="extract facial priors of a dataset, look into stores, merge them", description=__doc__
    )
    commands = parser.add_subparsers(dest="priors_command", metavar="COMMAND", required=True)
    _add_extract(commands)
    _add_info(commands)
    _add_get(commands)
    _add_merge(commands)
    _add_verify(commands)
    _add_export(commands)
    _add_import(commands)
    _add_show(commands)
    _add_stats(commands)


def _add_images(parser: Parser) -> None:
    """The images as the subject: a folder of them, or those that records name."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("images", type=Path, nargs="?", metavar="DIR", help="all images below this folder")
    parser.formerly("--images", "DIR")
    source.add_argument(
        "--annotations", type=Path, nargs="+", metavar="FILE", help="all images that these files of records name"
    )
    parser.add_argument(
        "--image-folder", type=Path, metavar="DIR", help="what image paths are relative to (default: DIR, or .)"
    )
    parser.add_argument(
        "--allow-outside", action="store_true", help="also read images that --annotations names outside that folder"
    )


def _add_extract(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "extract",
        help="images in, a priors store out; resumable",
        description="Compute the facial prior of every image and write a priors store. Run the same command again "
        "after an interruption, whatever it was: it resumes where it stopped. Under torchrun or deepspeed each "
        "process takes its share and writes OUT/shard-I-of-N.",
        parents=[options.progress()],
    )
    parser.add_argument("--expert", required=True, help="name of the facial prior expert; an unknown one lists all")
    _add_images(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="STORE", help="the store's folder")
    options.add_workers(parser, 1, "processes that decode images")
    parser.add_argument("--batch-size", type=int, default=32, help="images per call of a network (default: 32)")
    parser.add_argument("--shard", metavar="I/N", help="only every N-th image, from the I-th on; I counts from 0")
    add_set(parser)
    parser.add_argument(
        "--replace",
        action="store_true",
        help="extract again also where most pictures are not those that the store was made from, and where a store of "
        "an older llava-faba cannot tell",
    )
    options.add_output(parser)
    parser.set_defaults(run=run_extract)


def run_extract(args: argparse.Namespace) -> int:
    from llava_faba.priors.extract import extract
    from llava_faba.priors.sources import images_in

    folder, names = images_in(args.images, args.annotations, args.image_folder, allow_outside=args.allow_outside)
    out, (position, count) = args.out, _shard(args.shard)
    if args.shard is None and count > 1:
        out = out / f"shard-{position}-of-{count}"
    names = names[position::count]
    shown = not (args.no_progress or args.json or (args.shard is None and position > 0))
    with progress_bar("priors", "image", shown) as bar:
        summary = extract(
            names,
            folder,
            out,
            expert=args.expert,
            settings=settings_of(args.set),
            batch_size=args.batch_size,
            workers=worker_count(args.workers),
            replace=args.replace,
            progress=bar,
        )
    lines = [
        f"{summary.processed} images processed now, {summary.before} were in the store before",
        *_about_identity(summary),
        _counts(summary.counts),
        f"images without exactly one face: {summary.problems}",
    ]
    if out != args.out:
        lines.append(
            f"when all processes are done: llava-faba priors merge {args.out}/shard-*-of-{count} --out {args.out}"
        )
    emit(args, {**vars(summary), "store": str(summary.store), "problems": str(summary.problems)}, "\n".join(lines))
    return 0


def _about_identity(summary: Any) -> list[str]:
    lines = []
    if summary.changed:
        lines.append(
            f"{summary.changed} of them again: the picture is not the one that the store's prior was made from"
        )
    if summary.unknown:
        lines.append(
            f"{summary.unknown} priors are by an older llava-faba that did not keep which pictures they are of, so it "
            "cannot be told whether they still are these (--replace extracts them again)"
        )
    if summary.gone:
        lines.append(f"{summary.gone} pictures are no longer there; their priors were kept")
    return lines


def _add_info(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser("info", help="what a store holds", description=run_info.__doc__)
    parser.add_argument("store", type=Path, metavar="STORE", help=_STORE)
    options.add_output(parser)
    parser.set_defaults(run=run_info)


def run_info(args: argparse.Namespace) -> int:
    """Number of images, size of a prior, expert, settings, and images per status."""
    from llava_faba.priors.store import PriorStore

    store = PriorStore.open(args.store)
    values = {
        "n": len(store),
        "size": store.size,
        "expert": store.expert,
        "settings": store.settings,
        "status": store.counts(),
    }
    lines = [
        f"{store.path}: {values['n']} images, {store.size} numbers each",
        f"expert: {store.expert}, version {store.expert_version}, settings {json.dumps(store.settings)}",
        _counts(store.counts()),
    ]
    emit(args, values, "\n".join(lines))
    return 0


def _add_get(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser("get", help="one image's prior", description=run_get.__doc__)
    parser.add_argument("store", type=Path, metavar="STORE", help=_STORE)
    parser.add_argument("image", metavar="IMAGE", help="path relative to the image folder, as in the annotations")
    options.add_output(parser)
    parser.set_defaults(run=run_get)


def run_get(args: argparse.Namespace) -> int:
    """Prior, status, landmarks (in pixels; null without a face, or where the priors are none) and values with names."""
    from llava_faba.errors import ExpertError, PriorError
    from llava_faba.experts import create_expert
    from llava_faba.priors.convert import expert_of
    from llava_faba.priors.store import PriorStore

    store = PriorStore.open(args.store)
    entry, prior = store.entry(args.image), store.get(args.image)
    named: dict[str, float] = {}
    points = None
    try:
        named = create_expert(store.expert, store.settings, size=store.size).named_values(prior)
        points = expert_of(store).landmarks(prior, (entry.width, entry.height)) if entry.width else None
    except (ExpertError, PriorError) as error:
        tell(f"no landmarks: {error}")
    values = {
        "image": entry.image,
        "status": entry.status,
        "width": entry.width,
        "height": entry.height,
        "note": entry.note,
        "sha256": None if entry.content is None or entry.content.sha256 is None else entry.content.name,
        "prior": prior.tolist(),
        "landmarks": None if points is None else points.tolist(),
        "named_values": named,
    }
    note = f", {entry.note}" if entry.note else ""
    head = f"{entry.image}: {entry.status}, {entry.width}x{entry.height}{note}"
    emit(args, values, f"{head}\n{' '.join(f'{number:.6g}' for number in prior)}")
    return 0


def _add_merge(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser("merge", help="several stores into one", description=run_merge.__doc__)
    parser.add_argument("stores", type=Path, nargs="+", metavar="STORE", help="stores of one expert")
    parser.add_argument("--out", type=Path, required=True, metavar="STORE", help="made, or added to")
    parser.set_defaults(run=run_merge)


def run_merge(args: argparse.Namespace) -> int:
    """Merge stores of one expert. An image in several must have the same prior; unreadable gives way to readable."""
    from llava_faba.priors.merge import merge

    merged = merge(args.stores, args.out)
    say(f"{args.out}: {len(merged)} images from {len(args.stores)} stores")
    say(_counts(merged.counts()))
    return 0


def _add_verify(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser("verify", help="check every checksum of a store", description=run_verify.__doc__)
    parser.add_argument("store", type=Path, metavar="STORE", help=_STORE)
    parser.add_argument(
        "--annotations", type=Path, nargs="+", metavar="FILE", help="all images that these files of records name"
    )
    parser.old.append(("--images DIR", "--image-folder DIR"))
    parser.add_argument("--images", type=Path, help=argparse.SUPPRESS)
    parser.add_argument(
        "--image-folder",
        type=Path,
        metavar="DIR",
        help="what image paths are relative to; without --annotations all images below it must be in the store",
    )
    parser.add_argument(
        "--allow-outside", action="store_true", help="also read images that --annotations names outside that folder"
    )
    options.add_output(parser)
    parser.set_defaults(run=run_verify)


def run_verify(args: argparse.Namespace) -> int:
    """Read the whole store and check it; with images, also that each is in it, and still the picture that its prior
    was made from. Exit code 1 when something is wrong."""
    from llava_faba.errors import PriorError
    from llava_faba.priors.sources import images_in
    from llava_faba.priors.store import PriorStore
    from llava_faba.priors.verify import untold, verify

    if args.images is not None:
        warn_old("--images", "--image-folder")
        if args.annotations is not None:
            raise PriorError("--annotations says which images are meant: leave out --images.")
    below = args.images or (args.image_folder if args.annotations is None else None)
    asked = below is not None or args.annotations is not None
    folder, names = (
        images_in(below, args.annotations, args.image_folder, allow_outside=args.allow_outside)
        if asked
        else (None, None)
    )
    problems = verify(args.store, names, folder)
    lines = [str(problem) for problem in problems]
    number = untold(PriorStore.open(args.store), names) if names is not None and not problems else 0
    if number:
        lines.append(
            f"{number} of {len(names or ())} priors are by an older llava-faba that did not keep which pictures they "
            "are of: only the pictures' sizes could be compared"
        )
    result = {"store": str(args.store), "problems": list(lines[: len(problems)]), "by_size_only": number}
    lines.append(f"{args.store}: {f'{len(problems)} problems' if problems else 'sound'}")
    emit(args, result, "\n".join(lines))
    return 1 if problems else 0


def _add_export(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "export", help="landmarks for the report, or .npy files", description=run_export.__doc__
    )
    parser.add_argument("store", type=Path, metavar="STORE", help=_STORE)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path, metavar="FILE.npz", help="images, landmarks and status for faba-bench")
    target.add_argument("--npy", type=Path, metavar="DIR", help="a .npy file per image, as in FABA-Instruct")
    parser.add_argument(
        "--annotations", type=Path, nargs="+", default=[], metavar="FILE", help="with --npy: name files as these do"
    )
    parser.add_argument("--expert", help="with --out: whose landmarks the priors of an imported store are")
    parser.set_defaults(run=run_export)


def run_export(args: argparse.Namespace) -> int:
    """Write landmarks in pixels of each image (an .npz file), or the priors themselves (.npy files)."""
    from llava_faba.priors.convert import export_landmarks, export_npy
    from llava_faba.priors.store import PriorStore

    store = PriorStore.open(args.store)
    if args.npy is not None:
        say(f"{args.npy}: {export_npy(store, args.npy, args.annotations)} files")
        return 0
    say(f"{args.out}: landmarks {export_landmarks(store, args.out, args.expert)}")
    return 0


def _add_import(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser("import", help=".npy files into a store", description=run_import.__doc__)
    _add_images(parser)
    parser.add_argument("--npy", type=Path, metavar="DIR", help="with DIR: the folder of equally named .npy files")
    parser.add_argument("--expert", default="precomputed", help="who made them (default: precomputed, nobody knows)")
    parser.add_argument("--out", type=Path, required=True, metavar="STORE", help="the store's folder")
    parser.set_defaults(run=run_import)


def run_import(args: argparse.Namespace) -> int:
    """Bring .npy files into a store: those that records name under "landmark", or a folder of them."""
    from llava_faba.errors import PriorError
    from llava_faba.priors.convert import import_npy
    from llava_faba.priors.pairs import pairs_of_annotations, pairs_of_folders

    if args.images is not None:
        if args.npy is None:
            raise PriorError("a folder of images needs --npy, the folder of .npy files.")
        folder = args.image_folder or args.images
        found = pairs_of_folders(args.images, args.npy, folder)
    else:
        folder = args.image_folder or Path()
        found = pairs_of_annotations(args.annotations, folder, allow_outside=args.allow_outside)
    store = import_npy(found.pairs, folder, args.out, expert=args.expert)
    say(f"{args.out}: {len(store)} images, {store.size} numbers each")
    if found.without:
        say(f"{len(found.without)} images have no .npy file and are not in the store, first {found.without[0]}")
    if found.unused:
        say(f"{len(found.unused)} files belong to no image and were not read, first {found.unused[0]}")
    say(_counts(store.counts()))
    return 0


def _add_show(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser("show", help="pictures with landmarks drawn on them", description=run_show.__doc__)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files; for a folder a contact sheet")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--expert", help="compute the landmarks now")
    parser.option(
        "--priors",
        old=("--store",),
        within=source,
        type=Path,
        metavar="STORE",
        help="show what this store says; IMAGEs below --image-folder",
    )
    add_set(parser)
    parser.add_argument(
        "--image-folder", type=Path, metavar="DIR", help="with --priors: the folder that its paths are relative to"
    )
    parser.add_argument("--out", type=Path, default=Path("landmarks"), metavar="DIR", help="default: landmarks/")
    parser.add_argument("--limit", type=int, default=480, help="images of a folder to show at most (default: 480)")
    parser.set_defaults(run=run_show)


def run_show(args: argparse.Namespace) -> int:
    """Draw the landmarks of images, one picture each; of folders, contact sheets."""
    from llava_faba.experts import create_expert
    from llava_faba.priors.convert import expert_of
    from llava_faba.priors.show import computed, stored, write_pictures, write_sheets
    from llava_faba.priors.sources import images_below, relative_to
    from llava_faba.priors.store import PriorStore

    store = PriorStore.open(args.priors) if args.priors is not None else None
    expert = expert_of(store) if store is not None else create_expert(args.expert, settings_of(args.set))
    written: list[Path] = []
    folders = [given if given.is_dir() else given.parent for given in map(Path, args.images)]
    common = os.path.commonpath([folder.absolute() for folder in folders])
    for given, folder in zip(map(Path, args.images), folders, strict=True):
        is_folder = given.is_dir()
        root = args.image_folder or folder
        names = images_below(given)[: args.limit] if is_folder else [given.name]
        prefix = relative_to(folder, root)
        names = [prefix + name for name in names]
        shown = computed(names, root, expert) if store is None else stored(names, root, store, expert)
        apart = args.out / folder.absolute().relative_to(common)  # equal names in several folders
        if is_folder:
            written += write_sheets(shown, apart)
        else:
            written += write_pictures(shown, args.out if args.image_folder else apart)
    for path in written:
        say(path)
    return 0


def _add_stats(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser("stats", help="mean face, variance, outliers", description=run_stats.__doc__)
    parser.add_argument("store", type=Path, metavar="STORE", help=_STORE)
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: STORE/stats")
    parser.add_argument("--image-folder", type=Path, help="also write contact sheets of the outliers")
    parser.set_defaults(run=run_stats)


def run_stats(args: argparse.Namespace) -> int:
    """Mean face, how much each point moves, and the images that are odd: write plots and lists of them."""
    from llava_faba.errors import PriorError
    from llava_faba.experts import LandmarkExpert, part_classes
    from llava_faba.priors.convert import expert_of
    from llava_faba.priors.show import stored, write_sheets
    from llava_faba.priors.stats import outliers_in, write_statistics
    from llava_faba.priors.store import PriorStore

    store, out = PriorStore.open(args.store), args.out or args.store / "stats"
    kind, *others = part_classes(store.expert)
    if others or kind.feature_names:
        raise PriorError(
            f"{store.path}: the priors of '{store.expert}' are not points alone; statistics are of points."
        )
    summary = write_statistics(store, out, kind.dimensions if issubclass(kind, LandmarkExpert) else 2)
    say(_counts(summary["status"]))
    say(f"{summary['faces']} faces, {summary['outliers']} of them odd; mean face and plots in {out}")
    if args.image_folder is not None and summary["outliers"]:
        names = outliers_in(out)[:480]
        for path in write_sheets(stored(names, args.image_folder, store, expert_of(store)), out):
            say(path)
    return 0


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{status.replace('_', ' ')}: {number}" for status, number in counts.items())


def _shard(text: str | None) -> tuple[int, int]:
    """(position, number) from ``I/N``, or from what torchrun and deepspeed tell their processes."""
    from llava_faba.errors import PriorError

    if text is None:
        return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    position, _, count = text.partition("/")
    if not (position.isdigit() and count.isdigit() and int(position) < int(count)):
        raise PriorError(f"--shard {text}: expected I/N with 0 <= I < N, such as 0/4.")
    return int(position), int(count)
