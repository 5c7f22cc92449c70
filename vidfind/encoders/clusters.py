"""Picks the tokens that stand for all the others of a set: k-medoids, on distances or on the spectrum of a graph.

Pure functions on tensors: they know nothing of models, blocks or clips.

CenterCLIP: Zhao et al., "CenterCLIP: Token Clustering for Efficient Text-Video Retrieval", SIGIR 2022, with these rules
in place of the rounding noise that breaks ties in theirs: float64, distances that are symmetric and zero to oneself,
and numbers within `TOLERANCE` of the best, in proportion to the largest, counting as equal to it, of which the one of
the lowest index is taken. So the same tokens give the same medoids on every device, alone or in any batch.
Letters: G segments clustered side by side, N tokens of each, K medoids, D width.
"""

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

log = logging.getLogger(__name__)

# Far above the rounding of float64, far below any difference between tokens that means something.
TOLERANCE = 1e-9
MAX_ROUNDS = 100  # 2 to 8 do, nearly always


class NotFinite(ValueError):
    """Tokens among whose numbers some are infinite, or none at all: they lie nowhere."""


@dataclass(frozen=True)
class Clusters:
    """Which tokens stand for which, segment by segment."""

    medoids: Tensor  # (G, K) int64: indices of tokens, ascending
    assignment: Tensor  # (G, N) int64: each token's position in `medoids`
    settled: Tensor  # (G,) bool: whether no medoid moved any more; False where the cap on rounds was hit

    def to(self, device: torch.device) -> "Clusters":
        return Clusters(self.medoids.to(device), self.assignment.to(device), self.settled.to(device))


@torch.no_grad()
def medoid_tokens(x: Tensor, k: int) -> Clusters:
    """The medoids of tokens `x` (G, N, D) of any float type, by Euclidean distance (section 3.2 of CenterCLIP).

    All tokens, in their order, where there are not more than `k`. Raises NotFinite.
    """
    tokens = _where_exact(x)
    return kmedoids(pairwise_distances(tokens), lengths(tokens), k).to(x.device)


@torch.no_grad()
def spectral_medoids(x: Tensor, k: int, neighbours: int | None = None, sigma: float = 2.0) -> Clusters:
    """As `medoid_tokens`, of tokens placed by the graph of which are alike (section 3.3 of CenterCLIP).

    `neighbours`: see `affinities`. Unstable where eigenvalues K and K + 1 of the graph's Laplacian are equal, as in a
    graph of more than K parts: which of their vectors is taken is then up to the device's rounding.
    """
    places = spectral_places(affinities(pairwise_distances(_where_exact(x)), neighbours, sigma), k)
    norms = lengths(places)
    # All of them have unit length then: the first pick is made by the length before.
    return kmedoids(pairwise_distances(places / (norms[..., None] + 1e-6)), norms, k).to(x.device)


def _where_exact(x: Tensor) -> Tensor:
    """`x` where there is float64: on its own device, or on the CPU instead of Apple's GPU."""
    return x.cpu() if x.device.type == "mps" else x


def lengths(x: Tensor) -> Tensor:
    """Of tokens (G, N, D), in float64: (G, N)."""
    norms: Tensor = torch.linalg.vector_norm(x, dim=-1, dtype=torch.float64)
    return norms


def pairwise_distances(x: Tensor) -> Tensor:
    """Euclidean distances between tokens (G, N, D) in float64: (G, N, N), symmetric, 0 between equal tokens.

    Also within autocast, which leaves float64 alone. Raises NotFinite.
    """
    mean = x.mean(dim=1, keepdim=True)  # what all have in common would only take digits
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
    """Clusters around `k` medoids each, from `farthest_first` on, until no medoid moves or after `max_rounds`.

    Of `distances` (G, N, N) and the tokens' lengths `norms` (G, N), both float64. Raises ValueError when `k` is not
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
    """The longest token, then again and again the one farthest from all picked so far: (G, K), in that order.

    Katsavounidis, Kuo and Zhang, "A new initialization technique for generalized Lloyd iteration", 1994.
    """
    groups = torch.arange(len(norms), device=norms.device)
    tolerance = TOLERANCE * distances.amax(dim=(1, 2))[:, None]
    picks = [_first_largest(norms, TOLERANCE * norms.amax(dim=1, keepdim=True))]
    nearest = torch.full_like(norms, torch.inf)  # of the picks so far; -inf: is one itself
    for _ in range(k - 1):
        torch.minimum(nearest, distances[groups, picks[-1]], out=nearest)
        nearest[groups, picks[-1]] = -torch.inf
        picks.append(_first_largest(nearest, tolerance))
    return torch.stack(picks, dim=1)


def _first_largest(values: Tensor, tolerance: Tensor) -> Tensor:
    """The first index (G,) of the largest of `values` (G, N), or of one that is less by `tolerance` (G, 1) at most."""
    return (values >= values.amax(dim=1, keepdim=True) - tolerance).byte().argmax(dim=1)


def nearest_medoids(distances: Tensor, medoids: Tensor, tolerance: Tensor) -> Tensor:
    """The position (G, N) of each token's nearest in `medoids` (G, K); a medoid is always its own, so none is alone."""
    groups, n, _ = distances.shape
    to_medoids = distances.gather(2, medoids[:, None, :].expand(-1, n, -1))  # (G, N, K)
    near = to_medoids <= to_medoids.amin(dim=2, keepdim=True) + tolerance[:, None, None]
    own = torch.arange(medoids.shape[1], device=medoids.device).expand(groups, -1)
    return near.byte().argmax(dim=2).scatter(1, medoids, own)


def central_members(distances: Tensor, assignment: Tensor, k: int, tolerance: Tensor) -> Tensor:
    """The member (G, K) of each cluster with the smallest sum of distances to the others."""
    groups, n = assignment.shape
    together = assignment[:, :, None] == assignment[:, None, :]
    sums = distances.where(together, 0).sum(dim=2)  # (G, N): to the members of one's own cluster
    least = sums.new_full((groups, k), torch.inf).scatter_reduce(1, assignment, sums, "amin")
    members = torch.zeros_like(least).scatter_add(1, assignment, torch.ones_like(sums))
    central = sums <= (least + tolerance[:, None] * members).gather(1, assignment)
    index = torch.arange(n, device=assignment.device).where(central, n)
    return index.new_full((groups, k), n).scatter_reduce(1, assignment, index, "amin")


def affinities(distances: Tensor, neighbours: int | None, sigma: float = 2.0) -> Tensor:
    """How alike tokens are, by a Gaussian of their distances: (G, N, N) from 0 to 1, 1 to oneself.

    With `neighbours` 0 but where one of the two is among the other's so many most alike, itself among them.
    """
    alike = torch.exp(-distances.square() / (2 * sigma**2))
    if neighbours is None:
        return alike
    least = alike.topk(min(neighbours, alike.shape[2]), dim=2).values[..., -1:]
    kept = alike >= least * (1 - TOLERANCE)
    return alike * (kept | kept.transpose(1, 2))


def spectral_places(graph: Tensor, k: int) -> Tensor:
    """Tokens of a graph (G, N, N) placed by the eigenvectors of its Laplacian's `k` smallest eigenvalues: (G, N, K)."""
    vectors: Tensor = torch.linalg.eigh(normalised_laplacian(graph)).eigenvectors
    return vectors[..., :k]


def normalised_laplacian(graph: Tensor) -> Tensor:
    """D^-1/2 (D - W) D^-1/2 of a graph's weights W (G, N, N), D their sums; a token that nothing is like stays 0."""
    degree = graph.sum(dim=2)
    scale = degree.clamp_min(torch.finfo(degree.dtype).tiny).rsqrt()
    return scale[:, :, None] * (torch.diag_embed(degree) - graph) * scale[:, None, :]
