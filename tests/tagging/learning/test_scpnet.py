import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.golden_clip import load_golden
from vidfind.tagging.learning import scpnet
from vidfind.tagging.learning.losses import splc
from vidfind.tagging.learning.prior import own_similarity, relation, tag_relation
from vidfind.tagging.learning.vectors import unit


def tensor(values: np.ndarray, needs_gradient: bool = False) -> Tensor:
    return torch.tensor(values).float().requires_grad_(needs_gradient)


@pytest.mark.parametrize("case", "abcd")
def test_the_relation_is_that_of_the_authors(case: str) -> None:
    golden = load_golden("scpnet_relation")
    neighbours, share, temperature = golden[f"{case}_params"]
    found = relation(golden[f"{case}_sim"], int(neighbours), share, temperature)
    np.testing.assert_allclose(found.graph, golden[f"{case}_gcn"], atol=1e-6)
    np.testing.assert_allclose(found.soft, golden[f"{case}_soft"], atol=1e-6)


def test_a_tag_without_neighbours_keeps_to_itself() -> None:
    similarity = np.array([[1.0, 0.5, 0], [0.5, 1, 0], [0, 0, 1]])
    for neighbours in (1, 3, 9):
        found = relation(similarity, neighbours)
        assert found.graph[2].tolist() == found.soft[2].tolist() == [0, 0, 1]
        np.testing.assert_allclose(found.graph.sum(axis=1), 1)
        np.testing.assert_allclose(found.soft.sum(axis=1), 1)
    assert relation(np.ones((1, 1))).graph.tolist() == [[1]]


def test_tags_that_come_together_more_often_than_chance_are_neighbours() -> None:
    positive = np.zeros((12, 3), bool)
    positive[:4, :2] = True  # together four times, expected 1.3 times
    positive[4:, 2] = True
    positive[3, 2] = True
    found = own_similarity(positive)
    np.testing.assert_allclose(found[0], [1, 4 / 7, 0])
    text = unit(np.eye(3) + 0.01)
    soft = tag_relation(text, positive).soft
    assert soft[0, 1] > 2 * soft[0, 2]


SETTINGS = {
    "tau0.6_change1_margin1.0_gamma2.0": (0.6, 1, 1.0, 2.0),
    "tau0.5_change2_margin0.5_gamma1.0": (0.5, 2, 0.5, 1.0),
}


@pytest.mark.parametrize("epoch", [0, 1, 2])
@pytest.mark.parametrize("name", SETTINGS)
def test_splc_is_that_of_the_authors(name: str, epoch: int) -> None:
    golden, (flip, change, margin, gamma) = load_golden("scpnet_splc"), SETTINGS[name]
    logits = tensor(golden["logits"], needs_gradient=True)
    losses, labels = splc(logits, tensor(golden["targets"]), epoch >= change, margin=margin, gamma=gamma, flip=flip)
    losses.sum().backward()
    key = f"{name}_ep{epoch}"
    np.testing.assert_allclose(losses.sum().item(), golden[f"{key}_loss"], rtol=1e-5)
    np.testing.assert_array_equal(labels.numpy(), golden[f"{key}_targets"])
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad, golden[f"{key}_grad"], atol=1e-5)


def test_a_locked_no_never_becomes_a_yes() -> None:
    logits, yes = torch.full((1, 2), 5.0), torch.zeros(1, 2)
    _, labels = splc(logits, yes, True, locked=torch.tensor([[True, False]]))
    assert labels.tolist() == [[0, 1]]


@pytest.mark.parametrize("case", ["init", "mid", "high", "nokl"])
def test_the_consistency_loss_is_that_of_the_authors(case: str) -> None:
    golden = load_golden("scpnet_consistency")
    cutoff, most, soft_weight = golden[f"{case}_params_pcut_k_kl"]
    strong = tensor(golden["logits_s"], needs_gradient=True)
    loss, labels = scpnet.consistency_loss(
        tensor(golden["logits_w"]),
        strong,
        tensor(golden["y_lb"]),
        tensor(golden["relation"]),
        tensor(golden[f"{case}_classwise_acc"]),
        cutoff,
        int(most),
        soft_weight,
    )
    loss.backward()
    np.testing.assert_allclose(loss.item(), golden[f"{case}_loss"], rtol=1e-5)
    np.testing.assert_array_equal(labels.numpy(), golden[f"{case}_labels"])
    assert strong.grad is not None
    np.testing.assert_allclose(strong.grad, golden[f"{case}_grad_s"], atol=1e-5)


def test_the_steps_of_a_training_are_those_of_the_authors() -> None:
    golden = load_golden("scpnet_trainer_trace")
    most, cutoff, soft_weight, unlabelled = golden["params_hardk_pcut_kl_lambdau"]
    table = scpnet.StatusTable(8, 6, int(most))
    for step in range(6):
        rows, status = torch.tensor(golden[f"s{step}_idx"]), table.status()
        np.testing.assert_allclose(status, golden[f"s{step}_classwise_acc_used"], atol=1e-6)
        logits, weak, strong = tensor(golden[f"s{step}_logits_lb_w_s"]).chunk(3)
        loss, labels = scpnet.training_loss(
            logits,
            weak,
            strong,
            tensor(golden["labels"])[rows],
            tensor(golden["relation"]),
            status,
            int(golden[f"s{step}_epoch"]),
            most=int(most),
            cutoff=cutoff,
            soft_weight=soft_weight,
            unlabelled_weight=unlabelled,
        )
        table.note(rows, labels)
        np.testing.assert_allclose(loss.item(), golden[f"s{step}_loss"], rtol=1e-5)
        np.testing.assert_array_equal(table.selected.numpy(), golden[f"s{step}_selected_after"])


@pytest.mark.parametrize("scale", ["10", "clip"])
def test_the_graph_head_is_that_of_the_authors(scale: str) -> None:
    golden = load_golden("scpnet_gcn_head")
    labels = scpnet.graph_head(
        tensor(golden["text_raw"]), tensor(golden["A"]), [tensor(golden[name]) for name in ("W1", "W2", "W3")]
    )
    factor = scpnet.SCALE if scale == "10" else float(np.exp(golden["logit_scale_param"]))
    found = scpnet.scores(tensor(golden["image_raw"]), labels, factor)
    np.testing.assert_allclose(found, golden[f"logits_scale_{scale}"], rtol=1e-4, atol=1e-5)


def test_the_schedules_are_those_of_the_authors() -> None:
    golden = load_golden("scpnet_schedule")
    steps = {"coco_bs128": 641, "nuswide_bs128": 931, "voc_bs128": 45, "cub_bs96": 63, "cub_bs128": 47}
    for name, count in steps.items():
        np.testing.assert_allclose(scpnet.ema_decay(count), golden[f"ema_decay_{name}"], rtol=1e-6)
    weights, average = torch.tensor([1.0, -1]), torch.tensor([1.0, -1])
    for expected in golden["ema_trace_decay0.9"]:
        weights += torch.tensor([0.5, 0.25])
        scpnet.update_average([average], [weights], 0.9)
        np.testing.assert_allclose(average, expected, rtol=1e-6)
    found = np.array([*zip(scpnet.one_cycle(3e-5, 40), scpnet.one_cycle(1e-5, 40), strict=True)])
    np.testing.assert_allclose(found[:30], golden["onecycle_lr_prompt_gcn"], rtol=1e-6)


def test_a_residual_graph_changes_nothing_at_first() -> None:
    weights = scpnet.graph_weights(4, torch.Generator().manual_seed(0), is_residual=True)
    text = torch.eye(3, 4)
    torch.testing.assert_close(scpnet.graph_head(text, torch.eye(3), weights), text)
