"""Clustering against the authors' numbers, a slow independent version, and by properties."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.golden_clip import Golden, load_golden
from tests.support.rounding import rounding
from vidfind.encoders.clusters import (
    Clusters,
    NotFinite,
    affinities,
    farthest_first,
    kmedoids,
    lengths,
    medoid_tokens,
    normalised_laplacian,
    pairwise_distances,
    spectral_medoids,
    spectral_places,
)
from vidfind.media.sampling import TICK, Segment, sample_times

SEEDS = ("seed0", "seed1", "seed2", "seed3")
SEGMENTS = ("segment_b32", "segment_b16", "nearstatic")
Cluster = Callable[[Tensor, int], Clusters]
EDGES = ("ties1d", "pairs", "k_equals_n", "two_blobs", "all_same", "static3", "k1")


def golden_tokens(name: str) -> tuple[Golden, Tensor, int]:
    golden = load_golden(f"centerclip_kmedoids_{name}")
    return golden, torch.tensor(golden["X"]), int(golden["K"])


def random_tokens(groups: int = 3, n: int = 40, width: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(groups, n, width, generator=torch.Generator().manual_seed(seed))


def slow_medoids(x: np.ndarray, k: int) -> tuple[list[int], list[int]]:
    """The medoids of one segment (N, D), and each token's position in them: token by token, as CenterCLIP tells it."""
    n = range(len(x))
    d = [[math.dist(x[i], x[j]) for j in n] for i in n]
    slack = 1e-9 * max(max(row) for row in d)

    def first_least(candidates: list[int], costs: list[float], slack: float) -> int:
        return next(i for i, cost in zip(candidates, costs, strict=True) if cost <= min(costs) + slack)

    def assign(medoids: list[int]) -> list[int]:
        places = list(range(len(medoids)))
        return [medoids.index(i) if i in medoids else first_least(places, [d[i][m] for m in medoids], slack) for i in n]

    norms = [math.hypot(*token) for token in x]
    medoids = [first_least(list(n), [-norm for norm in norms], 1e-9 * max(norms))]
    while len(medoids) < k:
        rest = [i for i in n if i not in medoids]
        medoids.append(first_least(rest, [-min(d[i][m] for m in medoids) for i in rest], slack))
    before: list[int] = []
    while medoids != before:
        before, places = medoids, assign(medoids)
        clusters = [[i for i in n if places[i] == place] for place in range(k)]
        medoids = [first_least(own, [sum(d[i][j] for j in own) for i in own], slack * len(own)) for own in clusters]
    medoids = sorted(medoids)
    return medoids, assign(medoids)


# The authors' numbers


@pytest.mark.parametrize("name", SEEDS)
def test_distances_equal_the_golden_ones(name: str) -> None:
    golden, x, _ = golden_tokens(name)
    np.testing.assert_allclose(pairwise_distances(x), golden["dist"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SEEDS + SEGMENTS)
def test_first_picks_equal_the_golden_ones_in_their_order(name: str) -> None:
    golden, x, k = golden_tokens(name)
    np.testing.assert_array_equal(farthest_first(pairwise_distances(x), lengths(x), k), golden["init"])


@pytest.mark.parametrize("name", SEEDS + SEGMENTS)
def test_medoids_after_each_round_equal_the_golden_ones(name: str) -> None:
    golden, x, k = golden_tokens(name)
    distances, norms = pairwise_distances(x), lengths(x)
    for rounds, expected in enumerate(golden["trace"].swapaxes(0, 1), start=1):
        np.testing.assert_array_equal(kmedoids(distances, norms, k, max_rounds=rounds).medoids, expected)


@pytest.mark.parametrize("name", SEEDS + SEGMENTS)
def test_medoids_and_clusters_equal_the_golden_ones(name: str) -> None:
    golden, x, k = golden_tokens(name)
    clusters = medoid_tokens(x, k)
    np.testing.assert_array_equal(clusters.medoids, golden["medoids"])
    np.testing.assert_array_equal(clusters.assignment, golden["assign"])
    np.testing.assert_array_equal(gather(x, clusters.medoids), golden["centers"])
    assert clusters.settled.all()


@pytest.mark.parametrize("name", SEEDS + SEGMENTS)
def test_medoids_are_about_those_of_the_authors_code_as_shipped(name: str) -> None:
    golden, x, k = golden_tokens(name)
    distances = pairwise_distances(x)
    for own, shipped, apart in zip(medoid_tokens(x, k).medoids, golden["medoids_shipped"], distances, strict=True):
        assert len(set(own.tolist()) & set(shipped.tolist())) >= 0.8 * k
        cost, cost_shipped = (float(apart[:, medoids].amin(dim=1).sum()) for medoids in (own, torch.tensor(shipped)))
        assert cost == pytest.approx(cost_shipped, rel=0.03)


@pytest.mark.parametrize("metric", ["p1", "p2", "cos"])
def test_clusters_by_other_distances_equal_the_golden_ones(metric: str) -> None:
    golden, x, k = golden_tokens("metrics")
    exact = x.double()
    unit = exact / exact.norm(dim=-1, keepdim=True)
    distances = {
        "p1": torch.cdist(exact, exact, p=1),
        "p2": pairwise_distances(x),
        "cos": (1 - unit @ unit.transpose(1, 2)) * (1 - torch.eye(x.shape[1])),
    }[metric]
    np.testing.assert_allclose(distances, golden[f"dist_{metric}"], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(farthest_first(distances, lengths(x), k), golden[f"init_{metric}"])
    clusters = kmedoids(distances, lengths(x), k)
    np.testing.assert_array_equal(clusters.medoids, golden[f"medoids_{metric}"])
    np.testing.assert_array_equal(clusters.assignment, golden[f"assign_{metric}"])


def test_clusters_of_unit_vectors_equal_the_golden_ones() -> None:
    golden, x, k = golden_tokens("metrics")
    distances = pairwise_distances(x / x.norm(dim=-1, keepdim=True))
    first = torch.tensor(golden["init_prenorm"][:, :1])  # chance in the authors' code, as all are as long
    norms = torch.zeros_like(distances[..., 0]).scatter(1, first, 1)
    np.testing.assert_array_equal(farthest_first(distances, norms, k), golden["init_prenorm"])
    clusters = kmedoids(distances, norms, k)
    np.testing.assert_array_equal(clusters.medoids, golden["medoids_prenorm"])
    np.testing.assert_array_equal(clusters.assignment, golden["assign_prenorm"])


@pytest.mark.parametrize("case", EDGES)
def test_clusters_of_few_whole_numbers_equal_the_golden_ones(case: str) -> None:
    golden = load_golden("centerclip_kmedoids_edge")
    x, k = torch.tensor(golden[f"{case}_X"])[None], int(golden[f"{case}_K"])
    np.testing.assert_array_equal(farthest_first(pairwise_distances(x), lengths(x), k)[0], golden[f"{case}_init"])
    clusters = medoid_tokens(x, k)
    np.testing.assert_array_equal(clusters.medoids[0], golden[f"{case}_medoids"])
    np.testing.assert_array_equal(clusters.assignment[0], golden[f"{case}_assign"])


def golden_segments(case: str) -> tuple[Golden, Tensor, Tensor, int]:
    """A case of the golden module: its arrays, the patch tokens of its segments (B * S, N, D), their mean class tokens
    (B * S, D), and K."""
    golden = load_golden("centerclip_module_kmedoids")
    b, t, s, k = golden[f"{case}_BTSK"]
    x = torch.tensor(golden[f"{case}_x"]).transpose(0, 1)  # (B * T, 1 + P, D)
    frames = x.reshape(b * s, t // s, *x.shape[1:])
    return golden, frames[:, :, 1:].flatten(1, 2), frames[:, :, 0].mean(dim=1), int(k)


def gather(x: Tensor, medoids: Tensor) -> Tensor:
    return x.gather(1, medoids[..., None].expand(-1, -1, x.shape[-1]))


@pytest.mark.parametrize("case", ["temporal", "fewer", "spatial_only", "one_segment"])
def test_medoids_of_segments_are_the_tokens_the_golden_module_keeps(case: str) -> None:
    golden, patches, cls, k = golden_segments(case)
    medoids = medoid_tokens(patches, k).medoids
    expected = torch.tensor(golden[f"{case}_y"]).transpose(0, 1)
    np.testing.assert_array_equal(medoids, golden[f"{case}_medoids"].reshape(medoids.shape))
    np.testing.assert_array_equal(gather(patches, medoids), expected[:, 1:])
    np.testing.assert_allclose(cls, expected[:, 0], rtol=0, atol=rounding())


def test_means_of_clusters_equal_those_of_the_golden_module() -> None:
    golden, patches, cls, k = golden_segments("mean")
    members = torch.nn.functional.one_hot(medoid_tokens(patches, k).assignment, k).transpose(1, 2).float()
    means = members @ patches / members.sum(dim=2, keepdim=True)
    expected = torch.tensor(golden["mean_y"]).transpose(0, 1)
    np.testing.assert_allclose(torch.cat([cls[:, None], means], dim=1), expected, rtol=0, atol=rounding())


def test_ascending_medoids_take_the_embeddings_of_the_golden_module() -> None:
    golden, patches, cls, k = golden_segments("embed")
    kept = gather(patches, medoid_tokens(patches, k).medoids) + torch.tensor(golden["embed_cluster_embed"])
    expected = torch.tensor(golden["embed_y"]).transpose(0, 1)
    np.testing.assert_allclose(torch.cat([cls[:, None], kept], dim=1), expected, rtol=0, atol=rounding())


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
@pytest.mark.parametrize("graph", ["heat", "knn"])
def test_spectral_clusters_equal_the_golden_ones_at_each_step(graph: str, case: str) -> None:
    golden = load_golden(f"centerclip_spectral_{graph}")
    x, k = torch.tensor(golden[f"{case}_X"]), int(golden[f"{case}_K"])
    neighbours = int(golden["knn_k"]) if graph == "knn" else None
    sigma = float(golden["sigma"])

    weights = affinities(pairwise_distances(x), neighbours, sigma)
    np.testing.assert_allclose(weights, golden[f"{case}_W"], rtol=0, atol=1e-5)
    laplacian = normalised_laplacian(weights)
    np.testing.assert_allclose(laplacian, golden[f"{case}_Lsym"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(torch.linalg.eigvalsh(laplacian), golden[f"{case}_eigenvalues"], rtol=0, atol=1e-5)
    places = spectral_places(weights, k)
    unit = places / places.norm(dim=-1, keepdim=True)
    np.testing.assert_allclose(unit @ unit.transpose(1, 2), golden[f"{case}_Qgram"], rtol=0, atol=2e-4)

    clusters = spectral_medoids(x, k, neighbours, sigma)
    np.testing.assert_array_equal(clusters.medoids, golden[f"{case}_medoids"])
    np.testing.assert_array_equal(clusters.assignment, golden[f"{case}_assign"])
    np.testing.assert_array_equal(clusters.medoids, golden[f"{case}_medoids_nosign_shipped"])


def test_frames_are_sampled_as_the_authors_do() -> None:
    for slots, frames, *offsets in load_golden("centerclip_sampling")["frame_offsets"].tolist():
        if frames < slots:
            continue  # theirs repeats the last frame then, vidfind the one shown at that time
        times = sample_times(Segment(0, frames / 30), slots)
        assert [math.floor((time + TICK) * 30) for time in times] == offsets[:slots]


# A slow version


@pytest.mark.parametrize("k", [1, 2, 7, 20])
@pytest.mark.parametrize("kind", ["random", "few whole numbers", "duplicates"])
def test_clusters_equal_those_of_the_slow_version(kind: str, k: int) -> None:
    x = random_tokens(groups=4, n=30, width=3, seed=k)
    if kind == "few whole numbers":
        x = x.mul(1.5).round()  # equal distances, and equal tokens
    elif kind == "duplicates":
        x = x[:, torch.arange(30) % 11]
    clusters = medoid_tokens(x, k)
    for i, tokens in enumerate(x.numpy()):
        medoids, assignment = slow_medoids(tokens.astype(np.float64), k)
        assert clusters.medoids[i].tolist() == medoids
        assert clusters.assignment[i].tolist() == assignment


# Properties


@pytest.mark.parametrize("cluster", [medoid_tokens, spectral_medoids])
def test_a_segment_has_the_same_medoids_alone_and_in_any_batch(cluster: Cluster) -> None:
    x = random_tokens(groups=5)
    x[1] *= 1e12  # so large that the others would all be equal by its measure
    x[2] = x[2, :1]
    together = cluster(x, 7)
    for i in range(len(x)):
        alone = cluster(x[i : i + 1], 7)
        assert alone.medoids[0].tolist() == together.medoids[i].tolist()
        assert alone.assignment[0].tolist() == together.assignment[i].tolist()


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_scale_of_tokens_does_not_matter(scale: float) -> None:
    x = random_tokens(n=147, width=16)
    assert medoid_tokens(x * scale, 49).medoids.equal(medoid_tokens(x, 49).medoids)


def test_distances_are_symmetric_and_nothing_between_equal_tokens() -> None:
    x = random_tokens(n=49, width=768).repeat(1, 3, 1)
    distances = pairwise_distances(x)
    assert distances.equal(distances.transpose(1, 2))
    assert (distances == 0).equal(torch.eye(49, dtype=torch.bool).repeat(3, 3, 3))


def test_what_all_tokens_have_in_common_does_not_blur_their_distances() -> None:
    x = random_tokens().double()
    np.testing.assert_allclose(pairwise_distances(x + 1e5), pairwise_distances(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", ["random", "whole numbers", "still"])
def test_rounding_as_another_device_might_does_not_change_the_medoids(kind: str) -> None:
    x = random_tokens(n=147, width=3)
    if kind == "whole numbers":
        x = x.mul(2).round()
    elif kind == "still":
        x = x[:, :49].repeat(1, 3, 1)
    distances, norms = pairwise_distances(x), lengths(x)
    clusters = kmedoids(distances, norms, 49)
    for seed in range(3):
        noise = 1e-12 * random_tokens(n=147, width=147, seed=seed).double()
        rounded = kmedoids(distances * (1 + noise + noise.transpose(1, 2)), norms * (1 + noise[0, 0]), 49)
        assert rounded.medoids.equal(clusters.medoids)
        assert rounded.assignment.equal(clusters.assignment)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_tokens_of_any_float_type_are_clustered_as_their_float32_copy(dtype: torch.dtype) -> None:
    x = random_tokens(n=147, width=16).to(torch.bfloat16).to(dtype)
    assert medoid_tokens(x, 49).medoids.equal(medoid_tokens(x.float(), 49).medoids)


def test_autocast_does_not_change_the_medoids() -> None:
    x = random_tokens(n=147, width=16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        medoids = medoid_tokens(x, 49).medoids
    assert medoids.equal(medoid_tokens(x, 49).medoids)


@pytest.mark.parametrize("cluster", [medoid_tokens, spectral_medoids])
def test_clustering_keeps_its_hands_off_tokens_and_gradients(cluster: Cluster) -> None:
    x = random_tokens().double().requires_grad_()
    before = x.detach().clone()
    clusters = cluster(x, 5)
    assert x.equal(before)
    assert not clusters.medoids.requires_grad
    gather(x, clusters.medoids).sum().backward()
    assert x.grad is not None and x.grad.sum() == 3 * 5 * 6


@pytest.mark.parametrize("cluster", [medoid_tokens, spectral_medoids])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_tokens_that_are_not_finite_are_refused(cluster: Cluster, number: float) -> None:
    x = random_tokens()
    x[1, 3, 2] = number
    with pytest.raises(NotFinite):
        cluster(x, 5)


def test_no_medoids_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        medoid_tokens(random_tokens(), 0)


@pytest.mark.parametrize("cluster", [medoid_tokens, spectral_medoids])
@pytest.mark.parametrize("k", [40, 41, 1000])
def test_all_tokens_are_kept_in_order_where_there_are_not_more(cluster: Cluster, k: int) -> None:
    clusters = cluster(random_tokens(), k)
    assert clusters.medoids.tolist() == clusters.assignment.tolist() == [list(range(40))] * 3
    assert clusters.settled.all()


def test_one_medoid_is_the_token_nearest_to_all_others() -> None:
    x = random_tokens()
    clusters = medoid_tokens(x, 1)
    assert clusters.medoids[:, 0].equal(pairwise_distances(x).sum(dim=1).argmin(dim=1))
    assert not clusters.assignment.any()


@pytest.mark.parametrize("cluster", [medoid_tokens, spectral_medoids])
def test_equal_tokens_have_as_many_medoids_as_asked_for(cluster: Cluster) -> None:
    clusters = cluster(torch.full((1, 30, 4), 0.1), 8)
    assert len(set(clusters.medoids[0].tolist())) == 8
    assert set(clusters.assignment[0].tolist()) == set(range(8))


def test_of_equal_frames_the_first_is_kept() -> None:
    frame = random_tokens(groups=2, n=49)
    assert medoid_tokens(frame.repeat(1, 3, 1), 49).medoids.tolist() == [list(range(49))] * 2


def test_a_medoid_belongs_to_itself() -> None:
    clusters = medoid_tokens(random_tokens(n=60, width=2).round(), 20)
    assert (clusters.medoids.diff(dim=1) > 0).all()
    assert clusters.assignment.gather(1, clusters.medoids).tolist() == [list(range(20))] * 3


def test_segments_that_are_not_settled_are_told() -> None:
    x = random_tokens(n=147, width=16)
    x[0] = x[0, :1]  # settled at once
    distances, norms = pairwise_distances(x), lengths(x)
    assert kmedoids(distances, norms, 49, max_rounds=1).settled.tolist() == [True, False, False]
    assert kmedoids(distances, norms, 49).settled.all()


@pytest.mark.parametrize("neighbours", [None, 4, 5, 1000])
def test_the_spectrum_finds_groups_far_apart(neighbours: int | None) -> None:
    group = torch.arange(20) % 4
    x = 50.0 * torch.eye(4)[group] + 0.1 * random_tokens(groups=1, n=20, width=4)
    clusters = spectral_medoids(x, 4, neighbours)
    for number in range(4):
        own = clusters.assignment[0][group == number]
        assert (own == own[0]).all()
    assert len(set(group[clusters.medoids[0]].tolist())) == 4


def test_a_token_that_nothing_is_like_has_a_place_in_the_spectrum() -> None:
    assert normalised_laplacian(torch.diag(torch.tensor([0.0, 1.0, 1.0]))[None]).isfinite().all()
    x = random_tokens(groups=1)
    x[0, 7] = 1e6
    assert 7 in spectral_medoids(x, 5, 3).medoids


def test_neighbours_as_near_as_the_last_one_count_as_well() -> None:
    x = torch.tensor([[[-1.1], [-1.0], [0.0], [1.0 + 1e-12], [1.1]]], dtype=torch.float64)
    kept = affinities(pairwise_distances(x), neighbours=2) > 0
    assert kept[0].int().tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [0, 1, 1, 1, 0],  # as near to both, but for what may be rounding
        [0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1],
    ]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU of NVIDIA's")
def test_a_gpu_finds_the_medoids_of_the_cpu() -> None:
    for name in SEEDS + SEGMENTS:
        golden, x, k = golden_tokens(name)
        clusters = medoid_tokens(x.cuda(), k)
        assert clusters.medoids.is_cuda
        np.testing.assert_array_equal(clusters.medoids.cpu(), golden["medoids"])
