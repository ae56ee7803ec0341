"""CornerNet on nuclei under the microscope: up to 375 boxes of one class an image.

Data: as for ``mask_rcnn_nuclei``.

    jaxseg train cornernet_nuclei --workdir runs/cornernet_nuclei --root DIR         # two hourglasses, 1024x1024
    jaxseg train cornernet_nuclei --workdir runs/cornernet_nuclei --root DIR --fast  # one narrow hourglass, 512x512

Measured with ``--fast`` on 2 CPU cores, on the 100 validation images: box AP50 0.103, AP 0.056 after 1200 steps of 4
windows, 14 minutes. Both corners of 70 % of the nuclei are found, but an embedding of one number does not tell so many
like nuclei apart: 65 % of the right pairs agree to 0.5, and so do 67 % of any two (on 40 images). With the embeddings'
losses weighing ten times as much, box AP50 was lower: 0.074 for 0.102 after 600 steps.
"""

from functools import partial

from jaxseg.config import Experiment
from jaxseg.data import coco_truth
from jaxseg.metrics import coco_metric
from jaxseg.models import CornerNet
from jaxseg.nn.hourglass import StackedHourglass
from jaxseg.recipes import detector_on_nuclei, nuclei
from jaxseg.tasks import corner_detection


def get_config(tiny: bool = False, root: str = "../shared/data/nuclei", fast: bool = False) -> Experiment:
    train, val = nuclei(root, tiny=tiny)
    widths, stem = ((4, 6), 4) if tiny else ((48, 64, 96), 48)
    small = StackedHourglass(widths, (1,) * len(widths), stacks=1, stem=stem)
    found = 10 if tiny else 400
    model = CornerNet(
        len(train.things),
        small if tiny or fast else StackedHourglass(),
        48 if fast else 128,
        corners=found,
        detections=found,
    )
    metric = coco_metric(partial(coco_truth, val), ("box",), max_detections=found)
    task = corner_detection(train.things, metric)
    return detector_on_nuclei(model, task, (train, val), tiny=tiny, fast=fast, steps=1200 if fast else None)
