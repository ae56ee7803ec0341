"""Changes of light and colour: they touch the image only."""

import cv2
import numpy as np

_LUMA = np.array([0.299, 0.587, 0.114])
_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def to_float(image: np.ndarray) -> np.ndarray:
    """uint8 image in 0..255 to float32 in [0, 1]; a float32 image is returned as it is."""
    if image.dtype == np.uint8:
        return np.multiply(image, np.float32(1 / 255), dtype=np.float32)
    return image.astype(np.float32, copy=False)


def colour_matrix(brightness: float, contrast: float, saturation: float, hue: float, mean: float) -> np.ndarray:
    """All four as one affine map of RGB, [3, 4] float64, for images in [0, 1].

    Args:
        brightness: factor on the image.
        contrast: factor on the distance from ``mean``, the image's mean grey.
        saturation: factor on the distance of each pixel from its own grey.
        hue: turn of the colours about the grey axis, in turns, in the YIQ space.
    """
    grey = np.tile(_LUMA, (3, 1))
    saturate = saturation * np.eye(3) + (1 - saturation) * grey
    c, s = np.cos(2 * np.pi * hue), np.sin(2 * np.pi * hue)
    turn = np.linalg.inv(_TO_YIQ) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ _TO_YIQ
    linear = brightness * contrast * (saturate @ turn)
    offset = np.full((3, 1), brightness * (1 - contrast) * mean)
    return np.concatenate([linear, offset], axis=1)


def jitter(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
    noise: float = 0.0,
) -> np.ndarray:
    """Random light and colour of an image [H, W, 3] float32 in [0, 1]; the result is clipped to [0, 1].

    brightness, contrast, saturation: factors drawn from 1 - a .. 1 + a. hue: a turn drawn from -a .. a (0.5
    is all hues). noise: standard deviation of Gaussian noise on every value. The four colour changes are
    one linear map and are not clipped in between.
    """
    if brightness or contrast or saturation or hue:
        draws = 1 + (2 * rng.random(3) - 1) * (brightness, contrast, saturation)
        turn = (2 * rng.random() - 1) * hue
        mean = float(np.dot(cv2.mean(image)[:3], _LUMA))
        image = cv2.transform(image, colour_matrix(draws[0], draws[1], draws[2], turn, mean))
        np.clip(image, 0, 1, out=image)
    if noise:
        image = image + rng.standard_normal(image.shape, np.float32) * np.float32(noise)
        np.clip(image, 0, 1, out=image)
    return image
