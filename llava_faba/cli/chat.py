"""``llava-faba chat``: a conversation about one picture, and the landmarks that the model saw in it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faba_bench.console.output import say, tell
from faba_bench.files.atomic import replacing

from llava_faba.cli import options

if TYPE_CHECKING:
    from llava_faba.inference.chat import Chat
    from llava_faba.inference.native import NativeChat

_PICTURE_SIDE = 512  # pixels


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "chat",
        help="talk about one picture, and see the landmarks that the model saw",
        description="Reads questions from standard input, one a line; an empty line or the end of the input ends it.",
        parents=[options.model(), options.conversation(old=("--conversation",)), options.decoding(), options.device()],
    )
    parser.add_argument("image", metavar="FILE", help="picture of a face")
    parser.formerly("--image-file", "FILE")
    parser.add_argument("--align", action="store_true", help="crop and align the face first")
    parser.add_argument(
        "--landmarks-file",
        metavar="PNG",
        help="picture to draw the landmarks in (default: the picture's name with .landmarks.png, here)",
    )
    parser.add_argument("--temperature", type=float, default=0.0, help="0 decodes greedily (default: %(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import llava_faba
    from llava_faba.compat.half import check_can_compute
    from llava_faba.images import open_image

    picture = open_image(args.image)
    check_can_compute(args.dtype, args.device)
    loaded = llava_faba.load_model(args.model_path, args.model_base, device=args.device, dtype=args.dtype)
    from llava_faba.inference.aligning import aligned

    crop = aligned(picture, loaded[1]) if args.align else None
    picture = picture if crop is None else crop.image
    chat = _opened(loaded, picture, args.conv_mode)
    say(_about_prior(chat, picture, args) + _about_faces(chat, crop), flush=True)
    _talk(chat, args)
    return 0


def _opened(loaded: Any, picture: Any, conversation: str | None) -> Chat | NativeChat:
    """The conversation, of either home."""
    import warnings

    from llava_faba.inference.loading import is_native

    if is_native(loaded[1]):
        from llava_faba.inference.native import NativeChat

        return NativeChat(loaded, picture, conversation)
    from llava_faba.inference.chat import Chat
    from llava_faba.inference.conversations import template_of

    name = template_of(loaded[1].config, conversation, lambda note: tell(f"[note: {note}]"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the template: that was said
        return Chat(loaded, picture, name)


def _about_faces(chat: Chat | NativeChat, crop: Any) -> str:
    """Which of several faces was read: in the picture that was given, also when a crop of it was made."""
    from llava_faba.inference.prediction import Prediction, box_around

    if crop is not None and crop.face is not None:
        said = Prediction("", None, crop.status.value, crop.face).about_faces
    else:
        said = Prediction("", None, chat.status, box_around(chat.landmarks)).about_faces
    return f" {said[0].upper()}{said[1:]}." if said else ""


def _about_prior(chat: Chat | NativeChat, picture: Any, args: argparse.Namespace) -> str:
    from llava_faba.inference.prediction import strongest

    if chat.status == "no_prior":
        return "This model has no facial prior: it is plain LLaVA."
    if chat.status == "not_found":
        hint = "" if args.align else " For a photograph that is not a face crop, try --align."
        return f"No face was found in {args.image}: the answers come without a facial prior.{hint}"
    shown = strongest(chat.named_values)
    named = f" It reads {shown}." if shown else ""
    if chat.landmarks is None:
        return f"A facial prior was computed; its expert places no landmarks.{named}"
    target = Path(args.landmarks_file or Path(args.image).with_suffix(".landmarks.png").name)
    _draw(chat, picture, target)
    return f"A face was found; its {len(chat.landmarks)} landmarks are drawn in {target}.{named}"


def _draw(chat: Chat | NativeChat, picture: Any, target: Path) -> None:
    import numpy as np
    from PIL import Image

    from llava_faba.errors import UserError
    from llava_faba.priors.show import Shown, drawn

    points = None if chat.landmarks is None else chat.landmarks[:, :2]
    shown = drawn(Shown(target.name, np.asarray(picture), chat.status, points), _PICTURE_SIDE)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        kind = Image.registered_extensions().get(target.suffix.lower())
        if kind is None:
            raise ValueError(f"'{target.suffix}' is the ending of no picture format")
        with replacing(target) as partial:
            shown.save(partial, format=kind)
    except (OSError, ValueError) as error:  # ValueError: a suffix that names no picture format
        raise UserError(f"{target}: the landmarks cannot be drawn there ({error}); name a --landmarks-file.") from error


def _talk(chat: Chat | NativeChat, args: argparse.Namespace) -> None:
    while True:
        try:
            question = input(f"{chat.roles[0]}: ").strip()
        except EOFError:
            question = ""
        if not question:
            say("exit...")
            return
        say(f"{chat.roles[1]}: ", end="", flush=True)
        chat.ask(
            question,
            max_new_tokens=args.max_new_tokens,
            temperature=args.temperature,
            on_text=lambda text: say(text, end="", flush=True),
        )
        say(flush=True)
