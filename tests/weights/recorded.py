"""Networks of other libraries whose names are recorded in the folder ``names``."""

from functools import partial

from jaxseg.models import resnet
from jaxseg.models.deeplab_v3_plus import SMP_SETTINGS, deeplab_v3_plus
from jaxseg.models.unet_resnet import unet_resnet
from jaxseg.nn import resnet as backbones
from jaxseg.weights import huggingface, smp, timm

v3_plus = partial(deeplab_v3_plus, 6, **SMP_SETTINGS)
# the names, the network as recorded, the patterns
RECORDED = {
    "timm_resnet50d": (resnet.ResNet50D(7), timm.RESNET_D),
    "huggingface_resnet50": (resnet.ResNet50(7), huggingface.RESNET),
    "huggingface_resnet18": (resnet.ResNet18(7), huggingface.RESNET),
    "smp_unet_resnet18": (unet_resnet(6, backbones.ResNet18), smp.UNET),
    "smp_deeplabv3plus_resnet18": (v3_plus(backbones.ResNet18), smp.DEEPLAB_V3_PLUS),
}
