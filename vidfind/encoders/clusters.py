"""Picks the tokens that represent a set of tokens: k-medoids, on distances or on the spectrum of a graph.

Pure functions on tensors: they know nothing of models, blocks or clips.

CenterCLIP: Zhao et al., "CenterCLIP: Token Clustering for Efficient Text-Video Retrieval", SIGIR 2022, with exact
rules where the authors' code lets rounding noise break ties: float64; distances are symmetric, and zero from a token
to itself; values within `TOLERANCE` of the best one, relative to the largest, count as equal, and of equal values the
lowest index wins. So the same tokens give the same medoids on every device, alone or in any batch.
Letters: G segments clustered side by side, N tokens of each, K medoids, D width.
"""

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

log = logging.getLogger(__name__)

# Far above the rounding of float64, far below any difference between tokens that means something.
TOLERANCE = 1e-9
MAX_ROUNDS = 100  # 2 to 8 are nearly always enough


class NotFinite(ValueError):
    """Some values of the tokens are infinite or NaN, so they cannot be clustered."""


@dataclass(frozen=True)
class Clusters:
    """Which tokens represent which, for each segment."""

    medoids: Tensor  # (G, K) int64: indices of tokens, ascending
    assignment: Tensor  # (G, N) int64: each token's position in `medoids`
    settled: Tensor  # (G,) bool: whether the medoids stopped moving; False if MAX_ROUNDS was reached

    def to(self, device: torch.device) -> "Clusters":
        return Clusters(self.medoids.to(device), self.assignment.to(device), self.settled.to(device))


@torch.no_grad()
def medoid_tokens(x: Tensor, k: int) -> Clusters:
    """Returns the medoids of tokens `x` (G, N, D), of any float type, by Euclidean distance (CenterCLIP, section 3.2).

    If there are at most `k` tokens, all of them in their order. Raises NotFinite.
    """
    tokens = _where_exact(x)
    return kmedoids(pairwise_distances(tokens), lengths(tokens), k).to(x.device)


@torch.no_grad()
def spectral_medoids(x: Tensor, k: int, neighbours: int | None = None, sigma: float = 2.0) -> Clusters:
    """Like `medoid_tokens`, with tokens placed by the spectrum of their similarity graph (CenterCLIP, section 3.3).

    `neighbours`: see `affinities`. Unstable if eigenvalues K and K + 1 of the graph's Laplacian are equal, as in a
    graph of more than K parts: then the rounding of the device decides which eigenvector is used.
    """
    places = spectral_places(affinities(pairwise_distances(_where_exact(x)), neighbours, sigma), k)
    norms = lengths(places)
    # After scaling all lengths are 1, so the first pick uses the lengths before.
    return kmedoids(pairwise_distances(places / (norms[..., None] + 1e-6)), norms, k).to(x.device)


def _where_exact(x: Tensor) -> Tensor:
    """Returns `x` on a device with float64: its own, or the CPU instead of Apple's GPU."""
    return x.cpu() if x.device.type == "mps" else x


def lengths(x: Tensor) -> Tensor:
    """Returns the lengths of tokens (G, N, D) in float64: (G, N)."""
    norms: Tensor = torch.linalg.vector_norm(x, dim=-1, dtype=torch.float64)
    return norms


def pairwise_distances(x: Tensor) -> Tensor:
    """Returns Euclidean distances between tokens (G, N, D) in float64: (G, N, N), symmetric, 0 between equal tokens.

    Works inside autocast too, which does not change float64. Raises NotFinite.
    """
    mean = x.mean(dim=1, keepdim=True)  # a common offset would only cost precision
    x = x.to(torch.float64, copy=True).sub_(mean)
    product = x @ x.transpose(1, 2)
    square = product.diagonal(dim1=1, dim2=2)
    if not square.isfinite().all():
        raise NotFinite("tokens that are not finite cannot be clustered")
    squares = square[:, :, None] + square[:, None, :]
    distances = torch.sub(squares, product + product.transpose(1, 2))
    distances.masked_fill_(distances < TOLERANCE * squares, 0)
    return distances.sqrt_()


def kmedoids(distances: Tensor, norms: Tensor, k: int, max_rounds: int = MAX_ROUNDS) -> Clusters:
    """Clusters tokens around `k` medoids, starting with `farthest_first`, until no medoid moves or after `max_rounds`.

    `distances` (G, N, N) and the lengths of the tokens `norms` (G, N) are float64. Raises ValueError if `k` is not
    positive.
    """
    if k < 1:
        raise ValueError(f"there must be at least one medoid, not {k}")
    groups, n = norms.shape
    if k >= n:
        every = torch.arange(n, device=norms.device).repeat(groups, 1)
        return Clusters(every, every, norms.new_ones(groups, dtype=torch.bool))
    tolerance = TOLERANCE * distances.amax(dim=(1, 2))
    medoids = farthest_first(distances, norms, k)
    for _ in range(max_rounds):
        moved = central_members(distances, nearest_medoids(distances, medoids, tolerance), k, tolerance)
        settled = (moved == medoids).all(dim=1)
        medoids = moved
        if settled.all():
            break
    else:
        log.info("%d of %d segments not settled after %d rounds", (~settled).sum(), groups, max_rounds)
    medoids = medoids.sort(dim=1).values
    return Clusters(medoids, nearest_medoids(distances, medoids, tolerance), settled)


def farthest_first(distances: Tensor, norms: Tensor, k: int) -> Tensor:
    """Picks the longest token, then repeatedly the token farthest from all picks so far: (G, K), in that order.

    Katsavounidis, Kuo and Zhang, "A new initialization technique for generalized Lloyd iteration", 1994.
    """
    groups = torch.arange(len(norms), device=norms.device)
    tolerance = TOLERANCE * distances.amax(dim=(1, 2))[:, None]
    picks = [_first_largest(norms, TOLERANCE * norms.amax(dim=1, keepdim=True))]
    nearest = torch.full_like(norms, torch.inf)  # distance to the nearest pick; -inf for the picks themselves
    for _ in range(k - 1):
        torch.minimum(nearest, distances[groups, picks[-1]], out=nearest)
        nearest[groups, picks[-1]] = -torch.inf
        picks.append(_first_largest(nearest, tolerance))
    return torch.stack(picks, dim=1)


def _first_largest(values: Tensor, tolerance: Tensor) -> Tensor:
    """Returns the first index (G,) whose value in `values` (G, N) is within `tolerance` (G, 1) of the largest."""
    return (values >= values.amax(dim=1, keepdim=True) - tolerance).byte().argmax(dim=1)


def nearest_medoids(distances: Tensor, medoids: Tensor, tolerance: Tensor) -> Tensor:
    """Returns the position (G, N) of each token's nearest medoid in `medoids` (G, K).

    A medoid always belongs to its own cluster, so that no cluster is empty."""
    groups, n, _ = distances.shape
    to_medoids = distances.gather(2, medoids[:, None, :].expand(-1, n, -1))  # (G, N, K)
    near = to_medoids <= to_medoids.amin(dim=2, keepdim=True) + tolerance[:, None, None]
    own = torch.arange(medoids.shape[1], device=medoids.device).expand(groups, -1)
    return near.byte().argmax(dim=2).scatter(1, medoids, own)


def central_members(distances: Tensor, assignment: Tensor, k: int, tolerance: Tensor) -> Tensor:
    """Returns the member (G, K) of each cluster with the smallest sum of distances to the others."""
    groups, n = assignment.shape
    together = assignment[:, :, None] == assignment[:, None, :]
    sums = distances.where(together, 0).sum(dim=2)  # (G, N): distances to the members of the same cluster
    least = sums.new_full((groups, k), torch.inf).scatter_reduce(1, assignment, sums, "amin")
    members = torch.zeros_like(least).scatter_add(1, assignment, torch.ones_like(sums))
    central = sums <= (least + tolerance[:, None] * members).gather(1, assignment)
    index = torch.arange(n, device=assignment.device).where(central, n)
    return index.new_full((groups, k), n).scatter_reduce(1, assignment, index, "amin")


def affinities(distances: Tensor, neighbours: int | None, sigma: float = 2.0) -> Tensor:
    """Returns similarities of tokens, a Gaussian of their distances: (G, N, N) from 0 to 1, and 1 on the diagonal.

    With `neighbours`, a similarity stays only if one token is among the `neighbours` most similar of the other, the
    token itself included; all others are 0.
    """
    alike = torch.exp(-distances.square() / (2 * sigma**2))
    if neighbours is None:
        return alike
    least = alike.topk(min(neighbours, alike.shape[2]), dim=2).values[..., -1:]
    kept = alike >= least * (1 - TOLERANCE)
    return alike * (kept | kept.transpose(1, 2))


def spectral_places(graph: Tensor, k: int) -> Tensor:
    """Places tokens of a graph (G, N, N) by eigenvectors of the `k` smallest eigenvalues of its Laplacian (G, N, K)."""
    vectors: Tensor = torch.linalg.eigh(normalised_laplacian(graph)).eigenvectors
    return vectors[..., :k]


def normalised_laplacian(graph: Tensor) -> Tensor:
    """Returns D^-1/2 (D - W) D^-1/2 for weights W (G, N, N) with row sums D; the row of an isolated token stays 0."""
    degree = graph.sum(dim=2)
    scale = degree.clamp_min(torch.finfo(degree.dtype).tiny).rsqrt()
    return scale[:, :, None] * (torch.diag_embed(degree) - graph) * scale[:, None, :]
