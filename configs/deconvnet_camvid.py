"""DeconvNet on CamVid (11 classes), on pretrained VGG-16 convolutions, in the paper's two stages.

Data: ``--root`` as for unet_camvid, ``--vgg`` as for fcn8s_camvid.

    jaxseg train deconvnet_camvid --workdir runs/deconv1 --root DIR --vgg FILE           # crops of 224, GPU or TPU
    jaxseg train deconvnet_camvid --workdir runs/deconv1 --root DIR --vgg FILE --fast  # crops of 96, two CPU cores

Stage two begins with what stage one learnt, on crops round proposals:

    jaxseg train deconvnet_camvid --workdir runs/deconv2 --root DIR --stage 2 --begin runs/deconv1

Trained on crops round objects, half the frame's height at least, and scored on whole frames put together from a grid
of squares. Every pixel of CamVid has a class and none means "other": stage one keeps all labels here, not the object's
alone, and rare classes weigh more in the loss. Stage two has ``edge_proposals`` in place of EdgeBoxes. (The paper, on
PASCAL VOC: batches of 64, SGD with momentum 0.9 from 0.01, times 0.1 every 9000 of 20000 steps and then every 10000 of
40000.)

Measured: stage one ``--fast`` on 2 CPU cores: val mIoU 0.314 (pixel accuracy 0.699, boundary F 0.220) after 800 steps
of 4 crops in 17 min 52 s (with other work on the cores for half of it), 4.0 crops/s; with ``--steps 3200`` 0.332,
0.359, 0.382 and 0.449 (0.788, 0.391) after each 800, in 76 min (with other work on the cores). Stage two from there,
600 steps at the same rate: 0.428 (0.783, 0.381). Not at 360x480 yet.
"""

from functools import partial
from typing import Literal

from jaxseg.config import Data, Experiment
from jaxseg.data import CAMVID_FREQUENCIES, InMemory, ObjectCrop, Resize, Shapes, camvid, edge_proposals
from jaxseg.losses import cross_entropy, frequency_weights
from jaxseg.models.deconvnet import DeconvNet, ProposalWise
from jaxseg.recipes import begin_on_vgg16, on_vgg16
from jaxseg.tasks import semantic
from jaxseg.train.evaluate import load_run


def get_config(
    tiny: bool = False,
    root: str = "../shared/data/camvid",
    vgg: str = "../shared/weights/vgg16_hed.npz",
    fast: bool = False,
    stage: Literal[1, 2] = 1,
    begin: str = "",
) -> Experiment:
    train, val = (Shapes(s, length=8) if tiny else camvid(root, s) for s in ("train", "val"))
    size, side = ((64, 64), 32) if tiny else ((180, 240), 96) if fast else ((360, 480), 224)
    if begin:
        pretrained = partial(begin_as, begin)
    elif vgg and not tiny:
        pretrained = partial(begin_on_vgg16, vgg)
    else:
        pretrained = None
    weights = None if tiny else frequency_weights(CAMVID_FREQUENCIES)
    base, fc_features = (4, 8) if tiny else (64, 512 if fast else 4096)
    network = DeconvNet(num_classes=len(train.classes), base=base, fc_features=fc_features, crop=side)
    return Experiment(
        model=ProposalWise(network, sides=(1.0,) if tiny else (0.7,) if fast else (1.0, 0.5), how="mean"),
        task=semantic(
            train.classes,
            palette=train.palette,
            loss=partial(cross_entropy, class_weights=weights),
            boundary=True,
        ),
        data=Data(
            train=InMemory(train),
            val=val,
            augment=ObjectCrop(
                stage=stage,
                proposals=edge_proposals if stage == 2 else None,
                background=None,
                side=side,
                scaled=round(side * 250 / 224),
                min_side=0 if tiny else 180,
            ),
            prepare=Resize(size),
        ),
        optimizer=on_vgg16(bool(pretrained), learning_rate=3e-3, warmup_steps=1 if tiny else 20),
        pretrained=pretrained,
        steps=2 if tiny else 800 if fast else 8000,
        batch_size=8 if tiny else 4 if fast else 16,
        eval_batch_size=8,
        eval_every=1 if tiny else 800 if fast else 1000,
        save_every=1 if tiny else 100,
    )


def begin_as(workdir, variables):
    """All that the first stage learnt; it must have been trained with the same settings."""
    return {**variables, **load_run(workdir)[1]}
