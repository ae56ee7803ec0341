"""A window slid over CamVid (11 classes), from scratch: each pixel classified from the square round it.

Data: ``--root`` as for unet_camvid.

    jaxseg train sliding_window_camvid --workdir runs/window --root DIR         # 360x480, N4 of the paper, GPU or TPU
    jaxseg train sliding_window_camvid --workdir runs/window --root DIR --fast  # 180x240, half as wide, two CPU cores

A batch is of windows, each round one pixel of an image, the pixel's class drawn first: equally many of each. Frames are
scored by all their windows at once, with the classes' true frequencies put back in (``priors``).
``benchmarks/sliding_window.py`` says what that spares.

Measured: ``--fast`` on 2 CPU cores: val mIoU 0.259 (pixel accuracy 0.673, boundary F 0.156) after 1200 steps of 64
windows, 199 windows/s. Not yet at 360x480.
"""

from jaxseg.config import Data, Experiment
from jaxseg.data import CAMVID_FREQUENCIES, InMemory, PixelWindow, Resize, Shapes, camvid
from jaxseg.models.sliding_window import SlidingWindow
from jaxseg.tasks import semantic
from jaxseg.train import Optimizer


def get_config(tiny: bool = False, root: str = "../shared/data/camvid", fast: bool = False) -> Experiment:
    train, val = (Shapes(s, length=8) if tiny else camvid(root, s) for s in ("train", "val"))
    resize = Resize((64, 64) if tiny else (180, 240) if fast else (360, 480))
    model = SlidingWindow(
        num_classes=len(train.classes),
        kernels=(4, 4) if tiny else (4, 5, 4, 4),
        features=4 if tiny else 24 if fast else 48,
        priors=None if tiny else CAMVID_FREQUENCIES,
    )
    return Experiment(
        model=model,
        task=semantic(train.classes, palette=train.palette, boundary=True),
        data=Data(
            train=InMemory(train, resize),
            val=val,
            augment=PixelWindow(model.window),
            prepare=resize,
        ),
        optimizer=Optimizer(
            "adamw", learning_rate=1e-3, weight_decay=1e-2, schedule="cosine", warmup_steps=1 if tiny else 50
        ),
        steps=2 if tiny else 1200 if fast else 20000,
        batch_size=8 if tiny else 64 if fast else 256,
        eval_batch_size=8,
        eval_every=1 if tiny else 600,
        save_every=1 if tiny else 300,
    )
