"""U-Net's weight map: where cells nearly touch, the thin gap between them must weigh much. On the host, in
numpy."""

from typing import Any

import numpy as np

from jaxseg.types import JaxsegError


def unet_weight_map(
    instances: Any,
    *,
    w0: float = 10.0,
    sigma: float = 5.0,
    class_weights: tuple[float, float] | None = None,
    valid: Any | None = None,
) -> np.ndarray:
    """``w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2))``, on the host.

    ``d1`` and ``d2`` are the distances in pixels, centre to centre, from x to the nearest and the second
    nearest instance; inside an instance ``d1`` is 0. With fewer than two instances there is no second term.
    ``w_c`` is the weight of x's class, background or foreground.

    Give it to the loss as ``cross_entropy(..., pixel_weights=weights)``. It takes one exact distance
    transform per instance, so compute it once per image, in the data pipeline.

    Args:
        instances: ``[H, W]`` integers, 0 background and every other number one instance; or ``[N, H, W]``
            booleans, one mask each, which may overlap. Empty masks do not count.
        w0: the height of the border term.
        sigma: its width in pixels.
        class_weights: of background and foreground; if not given they balance the two, ``n / (2 n_c)`` with
            n the valid pixels and n_c those of the class, so that the mean of ``w_c`` is 1.
        valid: ``[H, W]`` bool, False at void: left out of the balance, and given the weight 0.

    Returns:
        ``[H, W]`` float32.

    Raises:
        JaxsegError: shapes, types or options that do not fit.

    Ronneberger, Fischer and Brox 2015, "U-Net", section 3, equation 2. The paper does not say how ``w_c``
    balances the class frequencies; the rule above is ours.
    """
    masks, foreground = _masks(np.asarray(instances))
    if sigma <= 0:
        raise JaxsegError(f"unet_weight_map: sigma is {sigma} pixels, expected above 0")
    counted = np.ones(foreground.shape, bool) if valid is None else np.asarray(valid, bool)
    if counted.shape != foreground.shape:
        raise JaxsegError(f"unet_weight_map: valid {counted.shape}, expected {foreground.shape} as the instances")
    if class_weights is None:
        total, inside = counted.sum(), (counted & foreground).sum()
        class_weights = tuple(total / (2 * max(n, 1)) for n in (total - inside, inside))
    nearest, second = _two_nearest(masks, foreground.shape)
    border = w0 * np.exp(-((nearest + second) ** 2) / (2.0 * sigma**2))
    weights = np.where(foreground, class_weights[1], class_weights[0]) + border
    return np.where(counted, weights, 0.0).astype(np.float32)


def _masks(instances: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """The non-empty masks, and their union."""
    if instances.ndim == 2 and instances.dtype.kind in "iu":
        masks = [instances == i for i in np.unique(instances) if i != 0]
        return masks, np.asarray(instances != 0)
    if instances.ndim == 3 and instances.dtype == np.bool_:
        return [m for m in instances if m.any()], np.any(instances, axis=0, keepdims=True)[0]
    raise JaxsegError(
        f"unet_weight_map: instances are {instances.dtype} {instances.shape}, expected [H, W] integers "
        "with one number per instance, or [N, H, W] booleans; number the parts of a binary mask with "
        "cv2.connectedComponents"
    )


def _two_nearest(masks: list[np.ndarray], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Distances to the nearest and the second nearest mask, infinite where there is none."""
    import cv2  # here, so that jaxseg.losses imports without it

    nearest, second = np.full(shape, np.inf), np.full(shape, np.inf)
    for mask in masks:
        distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        second = np.minimum(second, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    return nearest, second
