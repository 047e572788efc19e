"""``llava-faba predict``: one question about one picture."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from llava_faba.cli import options

if TYPE_CHECKING:
    from llava_faba.inference.prediction import Prediction


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "predict",
        help="ask one question about one picture",
        parents=[
            options.model(),
            options.conversation(old=("--conversation",)),
            options.decoding(),
            options.device(),
            options.engine(),
        ],
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

    from llava_faba.inference.engines.kinds import choose_engine

    args.engine = choose_engine(args.engine, args.model_path)
    if args.engine == "vllm":
        return _run_vllm(args)
    import llava_faba
    from llava_faba.compat.half import check_can_compute

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
    if args.engine == "llava":  # a folder of transformers has one template
        from llava_faba.inference.conversations import template_of

        template_of(loaded.model.config, args.conv_mode, lambda note: tell(f"[note: {note}]"))
    landmarks = None if prediction.landmarks is None else prediction.landmarks.tolist()
    emit(
        args,
        {
            "text": prediction.text,
            "status": prediction.status,
            "landmarks": landmarks,
            "face": prediction.face,
            "named_values": prediction.named_values,
        },
        _with_remarks(prediction),
    )
    return 0


def _with_remarks(prediction: Prediction) -> str:
    """The answer, and what must be known of the face behind it."""
    from llava_faba.inference.prediction import strongest

    remark = "" if prediction.status in ("found", "no_prior") else f"\n[facial prior: {prediction.status}]"
    if prediction.about_faces:
        remark = f"\n[{prediction.about_faces}]"
    shown = strongest(prediction.named_values)
    return prediction.text + remark + (f"\n[{shown}]" if shown else "")


def _run_vllm(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from faba_bench.console.output import emit

    from llava_faba.errors import UserError
    from llava_faba.inference.engines.single import predict_native
    from llava_faba.inference.settings import GenerateSettings

    if args.align or args.conv_mode or args.model_base:
        raise UserError(
            "--align, --conv-mode and --model-base are not for --engine vllm; 'llava-faba align' makes crops."
        )
    settings = GenerateSettings(
        max_new_tokens=args.max_new_tokens, dtype=args.dtype, device=args.device, **options.engine_settings(args)
    )
    prediction = predict_native(args.model_path, args.image, args.question, settings)
    emit(args, asdict(prediction), _with_remarks(prediction))
    return 0
