"""Objects of your own, in COCO's format: any published detector, fine-tuned from its published weights.

Data: ``--root`` has the folders ``train`` and ``val``, each with ``images`` and ``instances.json``. ``jaxseg data
convert`` makes such files of other kinds, ``jaxseg data inspect`` finds what is wrong with them.

    jaxseg train detector_coco --workdir runs/mine --root DIR --classes cat,dog
    jaxseg train detector_coco --workdir runs/mine --root DIR --classes cat,dog --network mask_rcnn_r_50_fpn_3x

``--network``: a Mask or Faster R-CNN of ``jaxseg.models.DETECTORS``, with its weights but for the last layers. Without
``--classes`` it is the network as it was published, to predict with:

    jaxseg weights import maskrcnn_resnet50_fpn_coco_v1 detector_coco --out coco.safetensors
    jaxseg predict photo.jpg --weights coco.safetensors

Trained as it was: on canvases of three shapes, the shorter side about 800, zoomed by 0.8 to 1.25, by SGD.

No score was measured here: the published weights were out of reach, and a CPU is too slow for a network of this size.
Its networks are held to torchvision's and detectron2's own, number by number, in ``tests/models``; the same training
without published weights was measured in ``mask_rcnn_nuclei``.
"""

from functools import partial
from pathlib import Path

from jaxseg.config import Data, Experiment
from jaxseg.data import Augment, ByAspect, Coco, Resize, Shapes, coco_truth
from jaxseg.metrics import coco_metric
from jaxseg.models import FRESH_OF_DETECTORS, published_network
from jaxseg.names import names_in
from jaxseg.recipes import mask_rcnn_for_nuclei
from jaxseg.tasks import detection
from jaxseg.train import Optimizer
from jaxseg.weights import PUBLISHED, load

CANVASES = ((800, 1344), (1088, 1088), (1344, 800))


def get_config(
    tiny: bool = False, root: str = "data", classes: str = "", network: str = "maskrcnn_resnet50_fpn_coco_v1"
) -> Experiment:
    own = names_in(classes)
    published = published_network(network, len(own) or None)
    names = own or PUBLISHED[network].preset.names
    train, val = (
        Shapes(s, length=8) if tiny else Coco(Path(root, s, "images"), Path(root, s, "instances.json"), names=names)
        for s in ("train", "val")
    )
    model = mask_rcnn_for_nuclei(len(train.things), tiny=True) if tiny else published
    config = getattr(model, "detector", model).config
    kinds = ("box", "mask") if hasattr(model, "heads") else ("box",)
    metric = coco_metric(partial(coco_truth, val), kinds, max_detections=config.detections)
    canvases = ((64, 64),) if tiny else CANVASES
    return Experiment(
        model=model,
        task=detection(train.things if tiny else names, metric, config=config, main_metric=f"{kinds[-1]}_ap"),
        data=Data(
            train=train,
            val=val,
            augment=ByAspect(tuple(Augment(size, (0.8, 1.25), "fit") for size in canvases)),
            prepare=ByAspect(tuple(Resize(size, mode="pad") for size in canvases)),
            max_instances=10 if tiny else 100,
            mask_side=28 if "mask" in kinds else None,
        ),
        optimizer=Optimizer(
            "sgd", learning_rate=5e-3, weight_decay=1e-4, schedule="cosine", warmup_steps=1 if tiny else 200
        ),
        pretrained=None if tiny else partial(load, network, fresh=FRESH_OF_DETECTORS if own else ""),
        steps=2 if tiny else 2000,
        batch_size=2 if tiny else 4,
        eval_batch_size=2,
        eval_every=2 if tiny else 500,
    )
