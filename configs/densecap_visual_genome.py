"""DenseCap on Visual Genome's region descriptions (Johnson et al. 2016, section 4).

Data: ``--root`` has ``VG_100K`` and ``VG_100K_2`` with the images, ``region_descriptions.json``, and DenseCap's
``densecap_splits.json``. The words that come 15 times or more in the training part are counted once and kept beside
them, in ``words.txt``; ``--words`` says how many they are (the paper: 10,497). ``--vgg``: a file of VGG-16's
convolutions to begin with, trained on BGR images.

    jaxseg train densecap_visual_genome --workdir runs/densecap --root DIR --vgg FILE

The paper's network and numbers: images of 720 pixels at most, one at a time, Adam at a rate of 1e-6, the first four
convolutions as they are. Departs: the other convolutions learn from the first step, and by Adam too. Not run here: it
wants a GPU and 15 GB of pictures. The paper: mean average precision 5.39.
"""

import json
from functools import partial
from pathlib import Path

from jaxseg.config import Data, Experiment
from jaxseg.data import Augment, Resize, Shapes, VisualGenome, Vocabulary, WithTokens, caption_truth
from jaxseg.metrics import caption_metric
from jaxseg.models import CaptionHead, FasterRCNN, RegionHeads
from jaxseg.models.densecap import densecap
from jaxseg.nn import JOHNSON_2016, VGG16
from jaxseg.nn.fpn import VGGLevel
from jaxseg.nn.roi_heads import TwoFC
from jaxseg.recipes import begin_on_vgg16
from jaxseg.tasks import dense_captioning
from jaxseg.train import Optimizer
from jaxseg.types import JaxsegError

VGG = "detector/backbone/vgg"


def get_config(tiny: bool = False, root: str = "data/visual_genome", vgg: str = "", words: int = 10_497) -> Experiment:
    train, val, vocabulary = shapes() if tiny else visual_genome(Path(root), words)
    config = JOHNSON_2016
    if tiny:
        config = config._replace(pre_nms=(50, 50), post_nms=(20, 20), roi_samples=8, rpn_samples=16, detections=10)
        detector = FasterRCNN(1, VGGLevel(VGG16(base=2, poolings=4)), TwoFC(8, dropout=0.5), config)
        model = RegionHeads(detector, {"caption": CaptionHead(len(vocabulary), features=8)})
    else:
        model = densecap(len(vocabulary), config)
    train, val = (WithTokens(source, vocabulary, one_class=True) for source in (train, val))
    side, steps = (64, 2) if tiny else (720, 500_000)
    return Experiment(
        model=model,
        task=dense_captioning(
            vocabulary, caption_metric(partial(caption_truth, val), vocabulary.decode), config=config
        ),
        data=Data(
            train=train,
            val=val,
            augment=Augment(size=(side, side), relative="fit", scale=(1.0, 1.0), flip=False),
            prepare=Resize((side, side), mode="pad"),
            max_instances=10 if tiny else 256,
        ),
        optimizer=Optimizer(
            "adamw", learning_rate=1e-6, weight_decay=0.0, schedule="constant", rates=((f"^{VGG}/conv[12]_", 0.0),)
        ),
        pretrained=partial(begin_on_vgg16, vgg, part=VGG) if vgg else None,
        steps=steps,
        batch_size=2 if tiny else 1,
        eval_batch_size=4,
        eval_every=steps // 2 if tiny else 10_000,
        save_every=steps // 2 if tiny else 2500,
    )


def shapes() -> tuple[Shapes, Shapes, Vocabulary]:
    return Shapes("train", length=8), Shapes("val", length=8), Vocabulary(Shapes().words)


def visual_genome(root: Path, count: int) -> tuple[VisualGenome, VisualGenome, Vocabulary]:
    """Nothing is read before it is needed."""
    folders, regions = (root / "VG_100K", root / "VG_100K_2"), root / "region_descriptions.json"
    train, val = (VisualGenome(folders, regions, ids=partial(split, root, s)) for s in ("train", "val"))
    return train, val, Vocabulary(partial(counted, root / "words.txt", train), count=count)


def split(root: Path, name: str) -> list[int]:
    try:
        return json.loads((root / "densecap_splits.json").read_text())[name]
    except OSError as error:
        raise JaxsegError(f"{error}; --root is to hold Visual Genome and DenseCap's densecap_splits.json") from error


def counted(file: Path, train: VisualGenome) -> tuple[str, ...]:
    if not file.exists():
        captions = (caption for i in range(len(train)) for caption in train.regions(i)[1])
        Vocabulary.of(captions, least=15).write(file)
    return Vocabulary.read(file).words
