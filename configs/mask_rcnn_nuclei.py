"""Mask R-CNN on nuclei under the microscope (2018 Data Science Bowl): up to 375 instances of one class an image.

Data: ``--root`` has the folders ``train`` and ``val``, each with ``images`` and ``instances.json`` (COCO's format).

    jaxseg train mask_rcnn_nuclei --workdir runs/nuclei --root DIR         # ResNet-50, 1024x1024
    jaxseg train mask_rcnn_nuclei --workdir runs/nuclei --root DIR --fast  # a narrow ResNet-18, 512x512

``--weights`` begins with a published backbone (``resnet50_imagenet1k_v2``) or a file of one. Trained on square windows
of half the side at which whole images are scored, zoomed by 0.65 to 1.3 of that.

Measured with ``--fast`` from scratch on 2 CPU cores, on the 100 validation images: mask AP 0.482, AP50 0.730, AP75
0.527 (small 0.458, medium 0.786), box AP 0.466, AP50 0.741; after 1000 steps mask AP50 was 0.666. 4000 steps of 4
windows at 5.0 windows a second (the run's median) are 54 minutes, and half a minute to compile.
"""

from functools import partial
from pathlib import Path

from jaxseg.config import Data, Experiment
from jaxseg.data import Augment, Coco, Resize, Shapes, coco_truth
from jaxseg.metrics import coco_metric
from jaxseg.models.faster_rcnn import FasterRCNN
from jaxseg.models.mask_rcnn import MaskHead
from jaxseg.models.region_heads import RegionHeads
from jaxseg.nn import FPN, TORCHVISION, ResNet, ResNet18, ResNet50, ResNetFPN
from jaxseg.nn.roi_heads import TwoFC
from jaxseg.recipes import begin_on_resnet
from jaxseg.tasks import detection
from jaxseg.train import Optimizer

CONFIG = TORCHVISION._replace(
    anchor_sizes=((16,), (32,), (64,), (128,), (256,)),
    aligned=True,
    pre_nms=(1000, 1000),
    post_nms=(500, 1000),
    roi_samples=128,
    roi_positive_fraction=0.5,
    detections=400,
)


def get_config(
    tiny: bool = False, root: str = "../shared/data/nuclei", fast: bool = False, weights: str = ""
) -> Experiment:
    if tiny:
        train, val = Shapes("train", length=8), Shapes("val", length=8)
    else:
        train, val = (Coco(Path(root, s, "images"), Path(root, s, "instances.json")) for s in ("train", "val"))
    side = 64 if tiny else 512 if fast else 1024
    small = CONFIG._replace(roi_samples=64, pre_nms=(500, 1000), post_nms=(300, 600))
    tiniest = small._replace(rpn_samples=16, roi_samples=8, pre_nms=(50, 50), post_nms=(20, 20), detections=10)
    config = tiniest if tiny else small if fast else CONFIG
    features, base = (8, 4) if tiny else (64, 32) if fast else (256, 64)
    narrow = ResNet((1, 1, 1, 1), bottleneck=False, base=base) if tiny else ResNet18(base=base)
    classes = len(train.things) if tiny else 1
    detector = FasterRCNN(
        classes,
        ResNetFPN(narrow if tiny or fast else ResNet50(), FPN(features)),
        TwoFC(1024 if features == 256 else 4 * features),
        config,
    )
    steps = 2 if tiny else 4000 if fast else 20000
    return Experiment(
        model=RegionHeads(detector, {"mask": MaskHead(classes, 1 if tiny else 4, features)}),
        task=detection(
            train.things if tiny else ("nucleus",),
            coco_metric(partial(coco_truth, val), max_detections=config.detections),
            config=config,
            main_metric="mask_ap",
        ),
        data=Data(
            train=train,
            val=val,
            augment=Augment(
                size=(side // 2, side // 2), relative="fit", scale=(1.3, 2.6), rotate=0.0, brightness=0.2, contrast=0.2
            ),
            prepare=Resize((side, side), mode="pad"),
            max_instances=10 if tiny else 400,
            mask_side=28,
        ),
        optimizer=Optimizer(
            "adamw", learning_rate=1e-3, weight_decay=1e-2, schedule="cosine", warmup_steps=1 if tiny else 100
        ),
        pretrained=partial(begin_on_resnet, weights, part="detector/backbone/resnet") if weights else None,
        steps=steps,
        batch_size=2 if tiny else 4 if fast else 8,
        eval_batch_size=4,
        eval_every=max(steps // 4, 1),
        save_every=max(steps // 8, 1),
    )
