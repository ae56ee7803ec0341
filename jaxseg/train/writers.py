"""Where a run's numbers and pictures go beside its own files: TensorBoard always, Weights & Biases on request."""

import json
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from jaxseg.data.images import png_bytes
from jaxseg.types import JaxsegError


class Writer(NamedTuple):
    """``numbers(step, {name: value})``, ``picture(step, name, [H, W, 3] uint8)``, ``close()``."""

    numbers: Callable[[int, Mapping[str, float]], None]
    picture: Callable[[int, str, Any], None]
    close: Callable[[], None]


def tensorboard(workdir: Path, start: int) -> Writer:
    """Events in the folder ``events`` of ``workdir``; those after the step ``start`` are taken back."""
    with _no_torch():
        from tensorboardX import SummaryWriter  # slow to import
        from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

    # Its thread dies on a full disk; with the usual queue of 10 the next record would then wait for ever.
    options = {"max_queue": 100_000, "purge_step": start + 1 if start else None}
    events = SummaryWriter(str(workdir / "events"), **options)
    files: Any = events.file_writer

    def numbers(step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            events.add_scalar(name, value, step)

    def picture(step: int, name: str, image: Any) -> None:
        # Its own add_image takes a second and a half to compress a sheet of examples.
        height, width, _ = image.shape
        png = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png_bytes(image))
        files.add_summary(Summary(value=[Summary.Value(tag=name, image=png)]), step)

    return Writer(numbers, picture, events.close)


@contextmanager
def _no_torch() -> Iterator[None]:
    """tensorboardX imports PyTorch wherever it is installed, for the sake of a type: seconds, hundreds of megabytes,
    and CUDA's libraries beside jax's own. It does without where there is none."""
    here = "torch" in sys.modules
    if not here:
        sys.modules["torch"] = None  # pyright: ignore[reportArgumentType]
    try:
        yield
    finally:
        if not here:
            del sys.modules["torch"]


def weights_and_biases(workdir: Path, project: str, settings: Mapping[str, Any]) -> Writer:
    """A run of the W&B ``project``, called as ``workdir``; the same one again where the run goes on (its id is in
    ``wandb.json``). ``WANDB_MODE=offline`` writes to ``workdir`` alone, for ``wandb sync`` later."""
    try:
        import wandb  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise JaxsegError("--wandb needs Weights & Biases: pip install 'jaxseg[wandb]'") from error
    noted = workdir / "wandb.json"
    name = json.loads(noted.read_text())["id"] if noted.exists() else uuid.uuid4().hex[:8]
    try:
        run = wandb.init(
            project=project, id=name, resume="allow", name=workdir.name, dir=str(workdir), config=dict(settings)
        )
    except Exception as error:  # its own, and those of whatever it talks through
        raise JaxsegError(
            f"--wandb {project}: {error}; log in (wandb login), or set WANDB_MODE=offline and sync later"
        ) from error
    noted.write_text(json.dumps({"id": name}))

    def numbers(step: int, values: Mapping[str, float]) -> None:
        run.log(dict(values), step=step)

    def picture(step: int, name: str, image: Any) -> None:
        run.log({name: wandb.Image(image)}, step=step)

    return Writer(numbers, picture, run.finish)
