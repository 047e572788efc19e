"""``llava-faba predict``: one question about one picture."""

from __future__ import annotations

import argparse

from llava_faba.cli import options


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "predict",
        help="ask one question about one picture",
        parents=[options.model(), options.conversation(old=("--conversation",)), options.decoding(), options.device()],
    )
    parser.add_argument("image", metavar="FILE", help="picture of a face")
    parser.formerly("--image", "FILE")
    parser.add_argument(
        "--question", default="What AUs are conveyed by this face?", help="what to ask (default: %(default)s)"
    )
    parser.add_argument("--align", action="store_true", help="crop and align the face first")
    options.add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import warnings

    from faba_bench.console.output import emit, tell

    import llava_faba
    from llava_faba.compat.half import check_can_compute
    from llava_faba.inference.conversations import template_of

    check_can_compute(args.dtype, args.device)
    loaded = llava_faba.load_model(args.model_path, args.model_base, device=args.device, dtype=args.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the template: that was said
        prediction = llava_faba.predict(
            loaded,
            args.image,
            args.question,
            align=args.align,
            conversation=args.conv_mode,
            max_new_tokens=args.max_new_tokens,
        )
    template_of(loaded.model.config, args.conv_mode, lambda note: tell(f"[note: {note}]"))
    landmarks = None if prediction.landmarks is None else prediction.landmarks.tolist()
    remark = "" if prediction.status in ("found", "no_prior") else f"\n[facial prior: {prediction.status}]"
    if prediction.about_faces:
        remark = f"\n[{prediction.about_faces}]"
    emit(
        args,
        {"text": prediction.text, "status": prediction.status, "landmarks": landmarks, "face": prediction.face},
        prediction.text + remark,
    )
    return 0
