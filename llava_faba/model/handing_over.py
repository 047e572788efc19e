"""What transformers, PEFT and LLaVA's builder get to read: private folders made of vetted files.

They are never given somebody's folder itself. A private folder holds JSON that we wrote from what the tables of
``llava_faba.vetting`` list, and links to the weights that were checked; nothing in it names code.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llava_faba.compat.engine import replaced
from llava_faba.errors import CheckpointError
from llava_faba.model.checkpoints import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    IMAGE_PROJECTOR_FILE,
    NON_LORA,
    Checkpoint,
    inspect_checkpoint,
    is_file,
    read_weights,
)
from llava_faba.vetting import adapter, side_files, tokenizer
from llava_faba.vetting.folder import original_of, private_folder, restore_names

_HUB_TOWERS = ("openai/", "laion/")  # what LLaVA takes for a CLIP tower on the hub


def hand_over(checkpoint: Checkpoint, *, called: str | None = None, near: tuple[Path, ...] = ()) -> Path:
    """The private folder that stands for a checked checkpoint.

    ``called``: the name that is written into configs in its place (default: the folder). ``near``: folders beside
    which its vision tower may lie as well. Raises CheckpointError where a file that goes in is broken.
    """
    contents: dict[str, Any] = {}
    links: dict[str, Path] = {}
    if checkpoint.config:
        contents["config.json"] = _with_private_tower(checkpoint, near)
    if checkpoint.is_tower:
        contents[side_files.PREPROCESSOR] = side_files.preprocessor(checkpoint.folder, checkpoint.config)
    generation = side_files.generation_config(checkpoint.folder)
    if generation is not None:
        contents[side_files.GENERATION] = generation
    if checkpoint.is_adapter:
        where = checkpoint.folder / ADAPTER_CONFIG
        contents[ADAPTER_CONFIG] = adapter.for_installed_peft(checkpoint.adapter or {}, where)
    if checkpoint.needs_base:
        for stem in (ADAPTER_WEIGHTS, NON_LORA, IMAGE_PROJECTOR_FILE):
            path = checkpoint.weights_file(stem)
            if path is not None and path.suffix == ".safetensors" and stem != ADAPTER_WEIGHTS:
                contents[f"{stem}.bin"] = _as_pickle(path)  # what LLaVA's builder looks for
            elif path is not None:
                links[path.name] = path
    else:
        more_contents, links = whole_weights(checkpoint)
        contents.update(more_contents)
        if not checkpoint.is_tower:
            contents.update(_tokenizer(checkpoint))
    if checkpoint.family == "mpt":
        contents["configuration_mpt.py"] = b""  # LLaVA's builder copies one from the base where there is none
    return private_folder(called or str(checkpoint.folder), contents, links)


def hand_over_path(path: Any, *, near: tuple[Path, ...] = (), cache_dir: str | None = None) -> Path:
    """``hand_over`` of a folder or hub id (kept in ``cache_dir``), after all checks; a private folder as it is."""
    if original_of(path) is not None:
        return Path(path)
    checkpoint = inspect_checkpoint(path, cache_dir)
    checkpoint.check_weights()
    return hand_over(checkpoint, called=str(path), near=near)


def find_tower(named: str, *folders: Path | None, download: bool = True) -> Checkpoint:
    """The vision tower that a config names, checked.

    Training saves the path that it was given, often relative or of another machine. Looked for, in order: as it is;
    relative to each of ``folders`` and their parents; a folder of the same name there; on the hub, if it is a name of
    a tower that LLaVA knows.

    Raises CheckpointError when it is nowhere to be found, is no CLIP or DINOv2 tower, or not safe to read.
    """
    places = [Path(named)]
    for folder in folders:
        if folder is not None and folder.is_dir():
            for root in (folder, folder.resolve().parent):
                places += [root / named, root / Path(named).name]
    found = next((place for place in places if is_file(place / "config.json")), None)
    if found is None and not named.startswith(_HUB_TOWERS) and "ShareGPT4V" not in named:
        looked = ", ".join(str(place) for place in places[1:]) or "nowhere else"
        raise CheckpointError(
            f"the vision tower '{named}' named in config.json (mm_vision_tower) does not exist; also looked at "
            f"{looked}. Put the tower there or edit mm_vision_tower."
        )
    tower = inspect_checkpoint(named if found is None else found, download=download)
    if not tower.is_tower:
        raise CheckpointError(
            f"{tower.folder}: named as the vision tower, but it is no CLIP vision model (nor a DINOv2)."
        )
    tower.check_weights()
    return tower


def check_tower_fits(config: dict[str, Any], tower: Checkpoint, where: Path) -> None:
    """Raises CheckpointError where a model's config asks for features that this tower does not have."""
    size, layers = tower.config.get("hidden_size", 768), tower.config.get("num_hidden_layers", 12)
    layer = config.get("mm_vision_select_layer", -2)
    if not config.get("s2") and config.get("mm_hidden_size", size) != size:
        raise CheckpointError(
            f"{where}: mm_hidden_size is {config['mm_hidden_size']}, but the features of the vision tower "
            f"{tower.folder} have {size} numbers; it is another tower's."
        )
    if not -layers - 1 <= layer <= layers:
        raise CheckpointError(f"{where}: mm_vision_select_layer is {layer}, but {tower.folder} has {layers} layers.")


@contextlib.contextmanager
def only_vetted_folders() -> Iterator[None]:
    """While inside, whatever ``from_pretrained`` of transformers is asked for is vetted first.

    For code of LLaVA that loads by itself, its ``train()``. It changes transformers for the whole process as long as
    it lasts.
    """
    from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedModel
    from transformers.image_processing_utils import ImageProcessingMixin

    owners = [AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedModel, ImageProcessingMixin]
    with contextlib.ExitStack() as stack:
        for owner in owners:
            own = inspect.getattr_static(owner, "from_pretrained")
            stack.enter_context(replaced(owner, "from_pretrained", classmethod(_vetting(own.__func__))))
        yield


def _vetting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def from_pretrained(cls: Any, path: Any = None, *args: Any, **kwargs: Any) -> Any:
        if path is None:
            path = kwargs.pop("pretrained_model_name_or_path")
        if kwargs.get("gguf_file") is not None:
            raise CheckpointError(f"{path}: GGUF files are not read here.")
        if kwargs.get("trust_remote_code"):  # LLaVA says so wherever a path has "mpt" in it
            kwargs["trust_remote_code"] = False
        result = original(cls, str(hand_over_path(path, cache_dir=kwargs.get("cache_dir"))), *args, **kwargs)
        for one in result if isinstance(result, tuple) else (result,):
            restore_loaded(one)
        return result

    return from_pretrained


def restore_loaded(loaded: Any) -> None:
    """Names in what was loaded from private folders, as if it came from the folders that those stand for.

    A vision tower that has not been read yet keeps the private name, which it will be read by.
    """
    if not hasattr(loaded, "__dict__"):
        return
    holders = [loaded]
    if hasattr(getattr(loaded, "config", None), "__dict__"):
        holders.append(loaded.config)
    tower = loaded.get_vision_tower() if hasattr(loaded, "get_vision_tower") else None
    if tower is not None and tower.is_loaded:
        holders += [tower, tower.vision_tower, tower.vision_tower.config]
    restore_names(*holders)


def _with_private_tower(checkpoint: Checkpoint, near: tuple[Path, ...]) -> dict[str, Any]:
    config = checkpoint.config
    for key in ("mm_vision_tower", "vision_tower"):
        if config.get(key) and not checkpoint.is_tower:
            tower = find_tower(config[key], checkpoint.folder, *near)
            check_tower_fits(config, tower, checkpoint.folder / "config.json")
            config = {**config, key: str(hand_over(tower, called=tower_name(config[key], tower)))}
    return config


def tower_name(named: str, tower: Checkpoint) -> str:
    """How a config names this tower from now on: as it does, where that is good everywhere, else by its path."""
    on_hub = named.startswith(_HUB_TOWERS) or "ShareGPT4V" in named
    return named if Path(named).is_dir() or (on_hub and not Path(named).exists()) else str(tower.folder.resolve())


def whole_weights(checkpoint: Checkpoint) -> tuple[dict[str, Any], dict[str, Path]]:
    """The weights of a full model under names of ours, so that no name from an index is ever used as a path.

    Returns (an index of shards, if there are some, by its name; the files by theirs).
    """
    shards = checkpoint.shards()
    if not shards:
        return {}, {path.name: path for path in checkpoint.weights_files()}
    links: dict[str, Path] = {}
    suffix = ".safetensors" if any(name.endswith(".safetensors") for name in shards) else ".bin"
    stem = "model" if suffix == ".safetensors" else "pytorch_model"
    weight_map: dict[str, str] = {}
    for number, name in enumerate(sorted(shards), 1):
        if name.endswith(".safetensors") != (suffix == ".safetensors"):
            raise CheckpointError(f"{checkpoint.folder}: its index names shards of two formats.")
        ours = f"{stem}-{number:05d}-of-{len(shards):05d}{suffix}"
        links[ours] = checkpoint.folder / name
        weight_map.update(dict.fromkeys(shards[name], ours))
    index = {"metadata": {"total_size": sum(path.stat().st_size for path in links.values())}, "weight_map": weight_map}
    return {f"{stem}{suffix}.index.json": index}, links


def _tokenizer(checkpoint: Checkpoint) -> dict[str, Any]:
    files = tokenizer.tokenizer_files(checkpoint.folder, checkpoint.family)
    count, rows = tokenizer.tokens_in(files), checkpoint.config.get("vocab_size")
    if count is not None and rows is not None and count > rows:
        raise CheckpointError(
            f"{checkpoint.folder}: its tokenizer has {count} tokens but its model {rows} (vocab_size); one of the "
            "two is another model's."
        )
    return files


def _as_pickle(path: Path) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(read_weights(path), buffer)
    return buffer.getvalue()
