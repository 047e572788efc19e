"""A SentencePiece model as a fast tokenizer that gives the ids which LLaVA's slow one gives.

transformers' own conversion takes LLaMA's normalizer for every model; here it is the model's own. ``legacy`` is what
tokenizer_config.json says: LLaVA-1.5's (true, or not said) puts the word mark before every stretch between special
tokens, the other before the first one, and before what follows a picture, which LLaVA tokenizes as a text of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llava_faba.errors import CheckpointError

SPACE = "▁"
IMAGE_TOKEN = "<image>"


def sentencepiece_model(folder: Path) -> Any:
    """The parsed ``tokenizer.model``. Raises CheckpointError when it is missing or broken."""
    # sentencepiece 0.1's own classes do not import beside today's protobuf, and leave it unusable for others.
    from transformers.convert_slow_tokenizer import import_protobuf

    path = folder / "tokenizer.model"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}; copy it from the base model.") from error
    model = import_protobuf().ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # protobuf's own kinds differ between its releases
        raise CheckpointError(f"{path}: not a SentencePiece model: {error}") from error
    if not model.pieces:
        raise CheckpointError(f"{path}: a SentencePiece model without tokens.")
    return model


def fast_tokenizer(model: Any, *, legacy: bool, added: list[tuple[str, bool]]) -> Any:
    """A ``tokenizers.Tokenizer``; ``added``: (token, special) in the order of their ids, behind the model's own.

    Raises CheckpointError for a kind of SentencePiece model that has no equal.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, processors

    spec, train = model.normalizer_spec, model.trainer_spec
    if train.treat_whitespace_as_suffix or not spec.escape_whitespaces or not spec.add_dummy_prefix:
        raise CheckpointError("tokenizer.model: its treatment of spaces has no equal in a fast tokenizer.")
    unknown, beginning, end = (_piece(model, name) for name in ("unk", "bos", "eos"))
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    if train.model_type == 1:
        core = models.Unigram(pieces, unk_id=train.unk_id, byte_fallback=train.byte_fallback)
    elif train.model_type == 2:
        vocabulary = {piece: number for number, (piece, _) in enumerate(pieces)}
        core = models.BPE(
            vocabulary, _merges(model), unk_token=unknown, fuse_unk=True, byte_fallback=train.byte_fallback
        )
    else:
        raise CheckpointError("tokenizer.model: neither a BPE nor a unigram model.")
    tokenizer = Tokenizer(core)
    own = [
        AddedToken(piece.piece, normalized=False, special=piece.type == 3)
        for piece in model.pieces
        if piece.type in (2, 3, 4)
    ]
    tokenizer.add_special_tokens([token for token in own if token.special or token.content == unknown])
    tokenizer.add_tokens([token for token in own if not token.special and token.content != unknown])
    for token, special in added:
        one = AddedToken(token, normalized=False, special=special)
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)([one])
    tokenizer.normalizer = _normalizer(spec, legacy)
    if not legacy:
        tokenizer.pre_tokenizer = _first_word_mark()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    number = tokenizer.token_to_id(beginning)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{beginning} $A", pair=f"{beginning} $A {beginning} $B", special_tokens=[(beginning, number)]
    )
    del end
    return tokenizer


def _piece(model: Any, which: str) -> str:
    spec = model.trainer_spec
    number = getattr(spec, f"{which}_id")
    if not 0 <= number < len(model.pieces):
        raise CheckpointError(f"tokenizer.model: it has no {which} token.")
    return str(model.pieces[number].piece)


def _normalizer(spec: Any, legacy: bool) -> Any:
    from tokenizers import Regex, normalizers

    steps: list[Any] = []
    if not legacy:  # a text that follows a picture begins with a line break, and is a text of its own
        steps.append(normalizers.Replace(Regex(r"\A\n"), f"{SPACE}\n"))
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip(left=legacy, right=True)]
    if legacy:
        steps.append(normalizers.Prepend(SPACE))
    steps.append(normalizers.Replace(" ", SPACE))
    return normalizers.Sequence(steps)


def _first_word_mark() -> Any:
    from tokenizers import pre_tokenizers

    return pre_tokenizers.Metaspace(SPACE, prepend_scheme="first", split=False)


def _merges(model: Any) -> list[tuple[str, str]]:
    """SentencePiece merges by score, whatever halves a piece came from; BPE by rank: so all halves, in that order."""
    scores = {piece.piece: piece.score for piece in model.pieces if piece.type in (1, 4)}
    number = {piece.piece: index for index, piece in enumerate(model.pieces)}
    merges = []
    for piece, score in scores.items():
        halves = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        known = [pair for pair in halves if pair[0] in scores and pair[1] in scores]
        known.sort(key=lambda pair: (number[pair[0]], number[pair[1]]))
        merges += [(score, pair) for pair in known]
    merges.sort(key=lambda one: (-one[0], len(one[1][0]), len(one[1][1])))
    return [pair for _, pair in merges]
