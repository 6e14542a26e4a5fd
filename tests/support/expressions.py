"""Expressions of a vector x, a matrix W and a vector b, and numbers for them."""

from __future__ import annotations

import numpy as np

from pycellbox.graph import symbol

N, C = 3, 4
X, W, B = symbol("x", (N,)), symbol("W", (N, N)), symbol("b", (N,))
CASES = {
    "network": lambda np, x, W, b: np.tanh(W @ x + b) - b * x,
    "left product": lambda np, x, W, b: x @ W + (x @ b) * b,
    "matrix product": lambda np, x, W, b: (W @ W.T) @ x + np.dot(W, b),
    "outer": lambda np, x, W, b: np.outer(x, b) @ x,
    "functions": lambda np, x, W, b: np.exp(-x) + np.sin(b) * np.cos(x) + np.sqrt(1 + x * x),
    "more functions": lambda np, x, W, b: np.log1p(x * x) + np.expm1(b) + np.arctan(x) + abs(x),
    "logarithm": lambda np, x, W, b: np.log(2 + b * b + x**2) / (1 + x**4) - np.logaddexp(x, b),
    "hyperbolic": lambda np, x, W, b: np.sinh(x) / np.cosh(b) + np.tan(x / 3) + np.square(b),
    "powers": lambda np, x, W, b: np.abs(x) ** b + np.abs(b) ** 1.5 + 2.0**x,
    "larger": lambda np, x, W, b: np.maximum(x, b) * np.minimum(x, 0.3) + np.maximum(W[0], x),
    "chosen": lambda np, x, W, b: np.where(x > b, x * b, np.exp(x)) + np.where(x < 0, b, x),
    "entries": lambda np, x, W, b: np.stack([x[0] * W[1, 2], x[-1] ** 2, b[1] * x[0]]),
    "parts": lambda np, x, W, b: np.concatenate([x[1:] * b[:2], W[::2, 0][:1]]) + W[[2, 0, 2], 1],
    "sums": lambda np, x, W, b: np.sum(W * x, axis=0) + np.sum(W, axis=1) * np.sum(x) + np.mean(b),
    "columns": lambda np, x, W, b: (W * x[:, None]).sum(axis=0) + np.reshape(W, (9,))[:3] * b,
    "repeated": lambda np, x, W, b: (x[0] + W) @ b + (W + b).T @ x,
}


def numbers(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(C, N)), rng.normal(size=(N, N)), rng.normal(size=N)
