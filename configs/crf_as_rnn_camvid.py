"""CRF as RNN on CamVid (11 classes): an FCN on a ResNet and a dense CRF behind it, trained as one.

Data: ``--root`` as for unet_camvid. ``--begin`` takes the network from a run of fcn_resnet_camvid, ``--fast`` or not as
here.

    jaxseg train fcn_resnet_camvid --workdir runs/fcn --root DIR --fast
    jaxseg train crf_as_rnn_camvid --workdir runs/crf_as_rnn --root DIR --fast --begin runs/fcn

The network moves at a twentieth of the CRF's rate; its own scores are trained, too, with weight 0.4. (The paper, on
PASCAL VOC with FCN-8s: stochastic gradient descent on single images, rate 1e-13 on losses summed over pixels.)

Measured: ``--fast`` on 2 CPU cores, begun from fcn_resnet_camvid's 0.548 (boundary F 0.466): val mIoU 0.581 (pixel
accuracy 0.891, boundary F 0.548) after 300 steps of 4 windows in 8 min; a CRF with searched settings behind the same
network, untrained: 0.570 (0.526). Not yet at 360x480.
"""

import dataclasses
from functools import partial

from jaxseg.config import Experiment
from jaxseg.models import CRFasRNN, fcn
from jaxseg.ops import Bilateral
from jaxseg.recipes import camvid_on_resnet
from jaxseg.train import Optimizer
from jaxseg.train.evaluate import load_run


def get_config(
    tiny: bool = False, root: str = "../shared/data/camvid", fast: bool = False, begin: str = ""
) -> Experiment:
    fcn_alone = camvid_on_resnet(fcn.fcn_resnet, root=root, weights="", tiny=tiny, fast=fast)
    steps = 2 if tiny else 300 if fast else 2000
    return dataclasses.replace(
        fcn_alone,
        model=CRFasRNN(fcn_alone.model, bilateral=Bilateral(80.0 if fast else 160.0, 3.0, 5.0)),
        optimizer=Optimizer(
            "adamw", learning_rate=4e-3, schedule="cosine", warmup_steps=1 if tiny else 20, rates=(("^network/", 0.05),)
        ),
        pretrained=partial(begin_as, begin) if begin else None,
        steps=steps,
        eval_every=max(steps // 2, 1),
        save_every=max(steps // 8, 1),
    )


def begin_as(workdir, variables):
    """The network as another run left it; the CRF as it is."""
    learnt = load_run(workdir)[1]
    return {
        **{kind: {"network": learnt[kind]} for kind in learnt},
        "params": {**variables["params"], "network": learnt["params"]},
    }
