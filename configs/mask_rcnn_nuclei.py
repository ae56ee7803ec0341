"""Mask R-CNN on nuclei under the microscope (2018 Data Science Bowl): up to 375 instances of one class an image.

Data: ``--root`` has the folders ``train`` and ``val``, each with ``images`` and ``instances.json`` (COCO's format).

    jaxseg train mask_rcnn_nuclei --workdir runs/nuclei --root DIR         # ResNet-50, 1024x1024
    jaxseg train mask_rcnn_nuclei --workdir runs/nuclei --root DIR --fast  # a narrow ResNet-18, 512x512

Of other objects, in the same folders and format: ``--classes cat,dog``. ``--weights`` begins with these weights again
(``nuclei``, which are part of jaxseg, with ``--fast``), a published backbone (``resnet50_imagenet1k_v2``) or a file of
one. Trained on square windows of half the side at which whole images are scored, zoomed by 0.65 to 1.3 of that.

Measured with ``--fast`` from scratch on 2 CPU cores, on the 100 validation images: mask AP 0.482, AP50 0.730, AP75
0.527 (small 0.458, medium 0.786), box AP 0.466, AP50 0.741; after 1000 steps mask AP50 was 0.666. 4000 steps of 4
windows at 5.0 windows a second (the run's median) are 54 minutes, and half a minute to compile.
"""

from functools import partial

from jaxseg.config import Experiment
from jaxseg.data import coco_truth
from jaxseg.metrics import coco_metric
from jaxseg.recipes import detector_on_nuclei, mask_rcnn_for_nuclei, nuclei
from jaxseg.tasks import detection


def get_config(
    tiny: bool = False,
    root: str = "../shared/data/nuclei",
    classes: str = "nucleus",
    fast: bool = False,
    weights: str = "",
) -> Experiment:
    train, val = nuclei(root, tiny=tiny, classes=classes)
    model = mask_rcnn_for_nuclei(len(train.things), tiny=tiny, fast=fast)
    config = model.detector.config
    metric = coco_metric(partial(coco_truth, val), max_detections=config.detections)
    return detector_on_nuclei(
        model,
        detection(train.things, metric, config=config, main_metric="mask_ap"),
        (train, val),
        tiny=tiny,
        fast=fast,
        mask_side=28,
        weights=weights,
    )
