"""``llava-faba predict``: one question about one picture."""

from __future__ import annotations

import argparse


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("predict", help="ask one question about one picture")
    parser.add_argument("--model-path", required=True, help="checkpoint folder or hub id")
    parser.add_argument("--model-base", help="base model of a LoRA folder; default: the one that it names")
    parser.add_argument("--image", required=True, help="picture of a face")
    parser.add_argument("--question", default="What AUs are conveyed by this face?")
    parser.add_argument("--align", action="store_true", help="crop and align the face first")
    parser.add_argument("--conversation", default="llava_v1", help="conversation template (default: %(default)s)")
    parser.add_argument("--max-new-tokens", type=int, default=512)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: %(default)s)")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    parser.add_argument("--json", action="store_true", help="print text, landmarks and status as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import json

    import torch

    import llava_faba

    loaded = llava_faba.load_model(
        args.model_path, args.model_base, device=args.device, dtype=getattr(torch, args.dtype)
    )
    prediction = llava_faba.predict(
        loaded,
        args.image,
        args.question,
        align=args.align,
        conversation=args.conversation,
        max_new_tokens=args.max_new_tokens,
    )
    if args.json:
        landmarks = None if prediction.landmarks is None else prediction.landmarks.tolist()
        print(json.dumps({"text": prediction.text, "status": prediction.status, "landmarks": landmarks}))
    else:
        print(prediction.text)
        if prediction.status not in ("found", "no_prior"):
            print(f"[facial prior: {prediction.status}]")
    return 0
