"""Data: sources of samples, joint transforms, and the pipeline that makes batches of them. No TensorFlow
needed.
"""

from jaxseg.data.captions import PictureCaptions, Vocabulary, WithTokens, caption_truth
from jaxseg.data.coco import Coco, coco_truth, to_coco
from jaxseg.data.crops import ObjectCrop, PixelWindow, regions
from jaxseg.data.cutouts import Cutouts
from jaxseg.data.folder import CAMVID_CLASSES, CAMVID_FREQUENCIES, Folder, camvid
from jaxseg.data.frequencies import class_frequencies
from jaxseg.data.graph_segmentation import graph_segmentation
from jaxseg.data.image_labels import MainObject, Present
from jaxseg.data.images import read_image, read_mask, write_png
from jaxseg.data.instances import crop_masks, pad_instances, tight_boxes
from jaxseg.data.memory import InMemory
from jaxseg.data.meshes import read_mesh, write_mesh
from jaxseg.data.panoptic import CocoPanoptic, WithBackground, panoptic_truth, write_coco_panoptic
from jaxseg.data.pipeline import eval_batches, prefetch_to_device, train_batches
from jaxseg.data.pix3d import Pix3D
from jaxseg.data.proposals import Propose, best_proposals, edge_proposals
from jaxseg.data.region_crops import RegionCrops, warp_region
from jaxseg.data.selective_search import selective_search
from jaxseg.data.shapes import Shapes
from jaxseg.data.solids import Solids
from jaxseg.data.split import Subset, split
from jaxseg.data.tfds import Tfds
from jaxseg.data.tfds_sets import (
    TfdsPanoptic,
    ade20k,
    camvid_original,
    camvid_segnet,
    cityscapes,
    coco_captions,
    coco_instances,
    coco_keypoints,
    coco_panoptic,
    oxford_iiit_pet,
    oxford_iiit_pet_breeds,
    voc_segmentation,
)
from jaxseg.data.transforms import Augment, ByAspect, Pad, Resize, apply_warp
from jaxseg.data.visual_genome import VisualGenome
from jaxseg.data.voc import VOC_CLASSES, Voc
from jaxseg.data.windows import Windows
from jaxseg.metrics.labels import check_labels
from jaxseg.names import COCO_THINGS as COCO_CLASSES

__all__ = [
    "CAMVID_CLASSES",
    "CAMVID_FREQUENCIES",
    "COCO_CLASSES",
    "VOC_CLASSES",
    "Augment",
    "ByAspect",
    "Coco",
    "CocoPanoptic",
    "Cutouts",
    "Folder",
    "InMemory",
    "MainObject",
    "ObjectCrop",
    "Pad",
    "PictureCaptions",
    "Pix3D",
    "PixelWindow",
    "Present",
    "Propose",
    "RegionCrops",
    "Resize",
    "Shapes",
    "Solids",
    "Subset",
    "Tfds",
    "TfdsPanoptic",
    "VisualGenome",
    "Voc",
    "Vocabulary",
    "Windows",
    "WithBackground",
    "WithTokens",
    "ade20k",
    "apply_warp",
    "best_proposals",
    "camvid",
    "camvid_original",
    "camvid_segnet",
    "caption_truth",
    "check_labels",
    "cityscapes",
    "class_frequencies",
    "coco_captions",
    "coco_instances",
    "coco_keypoints",
    "coco_panoptic",
    "coco_truth",
    "crop_masks",
    "edge_proposals",
    "eval_batches",
    "graph_segmentation",
    "oxford_iiit_pet",
    "oxford_iiit_pet_breeds",
    "pad_instances",
    "panoptic_truth",
    "prefetch_to_device",
    "read_image",
    "read_mask",
    "read_mesh",
    "regions",
    "selective_search",
    "split",
    "tight_boxes",
    "to_coco",
    "train_batches",
    "voc_segmentation",
    "warp_region",
    "write_coco_panoptic",
    "write_mesh",
    "write_png",
]
