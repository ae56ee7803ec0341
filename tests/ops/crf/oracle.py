"""The definitions in plain numpy: dense CRF by all pairs, the permutohedral lattice with a dict of vertices."""

from collections import defaultdict

import numpy as np


def pairs(features):
    """exp(-|f - g|^2 / 2) of every two points, float64."""
    f = features.astype(np.float64)
    return np.exp(-0.5 * np.square(f[:, None] - f[None]).sum(-1))


def normalized(k, normalization):
    n = k.sum(1)
    left, right = {"symmetric": (-0.5, -0.5), "before": (0, -1), "after": (-1, 0), "none": (0, 0)}[normalization]
    return n[:, None] ** left * k * n[None] ** right


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def mean_field(unary, kernels, compatibilities, iterations):
    """``kernels`` [N, N] each with the energies [L, L] of its labels."""
    unary = unary.astype(np.float64)
    q = softmax(-unary)
    for _ in range(iterations):
        q = softmax(-unary - sum(k @ q @ mu.T for k, mu in zip(kernels, compatibilities)))
    return q


def lattice(features):
    """Adams et al. 2010, point by point: each point's corners with their weights, and all vertices."""
    n, d = features.shape
    corners = []
    for f in features.astype(np.float64):
        scaled = f * np.sqrt(2 / 3) * (d + 1) / np.sqrt(np.arange(1, d + 1) * np.arange(2, d + 2))
        x = np.array([scaled[i:].sum() - (i * scaled[i - 1] if i else 0) for i in range(d + 1)])
        near = (d + 1) * np.round(x / (d + 1))
        rank = np.argsort(np.argsort(-(x - near), kind="stable")) + int(near.sum() / (d + 1))
        near = near + (d + 1) * ((rank < 0).astype(int) - (rank > d))
        rank = rank % (d + 1)
        t = np.sort((x - near) / (d + 1))  # barycentric weights are the gaps between the sorted offsets
        weights = [1 + t[0] - t[-1], *np.diff(t)]
        for c in range(d + 1):
            key = tuple((near + c - (d + 1) * (rank > d - c)).astype(int))
            corners.append((key, weights[c]))
    return np.array([k for k, _ in corners]).reshape(n, d + 1, d + 1), np.array([w for _, w in corners]).reshape(n, -1)


def lattice_filter(features, values):
    n, d = features.shape
    keys, weights = lattice(features)
    table = defaultdict(lambda: np.zeros(values.shape[1]))
    for i in range(n):
        for c in range(d + 1):
            table[tuple(keys[i, c])] += weights[i, c] * values[i]
    for j in range(d + 1):
        step = np.ones(d + 1, int)
        step[j] = -d
        blurred = {}
        for key, value in table.items():
            around = [tuple(np.add(key, step)), tuple(np.subtract(key, step))]
            blurred[key] = value + 0.5 * sum((table[k] for k in around if k in table), np.zeros_like(value))
        table = blurred
    read = [sum(weights[i, c] * table[tuple(keys[i, c])] for c in range(d + 1)) for i in range(n)]
    return np.array(read) / (1 + 2.0**-d), len(table)
