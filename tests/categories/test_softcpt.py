"""SoftCPT as published, against the numbers of its authors' own functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from open_clip.model import CLIP

from tests.support.golden_clip import Golden, golden_part, load_golden
from vidfind.categories.judging import accuracy
from vidfind.categories.softcpt import (
    VARIANTS,
    Position,
    PromptIds,
    ReferenceParameters,
    TokenIds,
    assemble_prompts,
    class_features,
    context_vectors,
    joint_loss,
    learning_rate,
    make_parameters,
    prompt_logits,
    read_prompts,
    sgd,
)
from vidfind.towers.text import read_embedded


def as_tensor(values: np.ndarray) -> torch.Tensor:
    return torch.tensor(values)


@pytest.fixture(scope="module")
def tower() -> tuple[Golden, CLIP]:
    """The golden text tower: two layers of width 16."""
    golden = load_golden("softcpt_tiny_clip")
    weights = golden_part(golden, "sd")
    text = {"context_length": 14, "vocab_size": 40, "width": 16, "heads": int(golden["heads"]), "layers": 2}
    vision = {"image_size": 4, "patch_size": 4, "width": 8, "layers": 1, "head_width": 8}
    model = CLIP(12, vision, text, quick_gelu=True)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected
    assert all(name.startswith("visual.") for name in missing)
    return golden, model


def prompts_of(golden: Golden) -> PromptIds:
    classes = np.concatenate([golden["tok_class0"], golden["tok_class1"]])
    return PromptIds(
        TokenIds(as_tensor(golden["tok_task"]), int(golden["n_task_ctx"])),
        TokenIds(as_tensor(classes), int(golden["n_ctx"])),
        torch.tensor([0, 0, 0, 1, 1]),
        TokenIds(as_tensor(golden["tok_allclass"]), int(golden["n_class_ctx"])),
    )


@pytest.mark.parametrize("name", ["NATA", "NATS", "CATA", "CSTA"])
def test_each_variant_gives_the_published_logits_loss_and_gradients(name: str, tower: tuple[Golden, CLIP]) -> None:
    golden, model = tower
    prompts = prompts_of(golden)
    part = {key: value.requires_grad_() for key, value in golden_part(golden, name).items()}
    parameters = ReferenceParameters(part["task_ctx"], part["proj"], part.get("class_ctx"))

    def read(x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return read_embedded(model, x, ids.argmax(dim=-1))

    classes, tasks = class_features(read, model.token_embedding.weight, prompts, parameters)
    logits = prompt_logits(as_tensor(golden["image"]), classes, 20)
    loss = joint_loss(logits, as_tensor(golden["labels"]), prompts.task_of)
    loss.backward()
    torch.testing.assert_close(tasks, part["task_features"], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(logits, part["logits"], atol=1e-4, rtol=0)
    shares = torch.cat([logits[:, :3].softmax(1), logits[:, 3:].softmax(1)], dim=1)
    torch.testing.assert_close(shares, part["softmax_within_task"], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(loss, part["loss"], atol=1e-5, rtol=0)
    for parameter, key in zip(parameters.all, ("task_ctx", "proj", "class_ctx"), strict=False):
        torch.testing.assert_close(parameter.grad, part[f"grad_{key}"], rtol=1e-3, atol=1e-5)
    made = make_parameters(prompts, VARIANTS[name], 16, 12, torch.Generator())
    assert [one.shape for one in made.all] == [one.shape for one in parameters.all]


def test_what_follows_the_end_of_text_has_no_influence(tower: tuple[Golden, CLIP]) -> None:
    golden, model = tower
    prompts, context = prompts_of(golden).classes, torch.ones(3, 16)
    table = model.token_embedding.weight
    cut = read_prompts(lambda x, ids: read_embedded(model, x, ids.argmax(dim=-1)), table, prompts, context)
    vectors = model.token_embedding(prompts.ids)
    whole = read_embedded(model, assemble_prompts(vectors[:, :1], context, vectors[:, 4:]), prompts.end)
    torch.testing.assert_close(cut, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("chosen", [[0, 1, 2], [2, 0]], ids=["all", "some"])
def test_prompts_are_assembled_as_published(position: Position, chosen: list[int]) -> None:
    golden = load_golden("softcpt_prompt_assembly")
    prefix, suffix, context = (as_tensor(golden[name]) for name in ("prefix", "suffix", "ctx"))
    lengths = golden["name_lens"][chosen].tolist()
    made = assemble_prompts(prefix[chosen], context, suffix[chosen], lengths, position)
    np.testing.assert_array_equal(made, golden[f"{position}{'' if len(chosen) == 3 else '_idx_2_0'}"])


@pytest.mark.parametrize("name", ["lin_csc0", "lin_csc1", "linmean_csc1", "lincls_csc1"])
def test_contexts_are_generated_as_published(name: str) -> None:
    golden = load_golden("softcpt_promptgen")
    given, weight = as_tensor(golden[f"{name}_in"]), as_tensor(golden[f"{name}_proj"])
    made = context_vectors(given, weight, 3, name.partition("_")[0])  # type: ignore[arg-type]
    np.testing.assert_allclose(made, golden[f"{name}_out"], atol=1e-5)


@pytest.mark.parametrize("kept", ["", "selA", "selB", "selC"])
def test_the_loss_is_the_published_one_also_over_some_classes(kept: str) -> None:
    golden = load_golden("softcpt_losses")
    logits = as_tensor(golden["logits"]).requires_grad_()
    task_of = torch.cat([torch.full((int(b - a),), i) for i, (a, b) in enumerate(golden["cls_range"])])
    columns = as_tensor(golden[kept]).long() if kept else torch.arange(12)
    loss = joint_loss(logits[:, columns], as_tensor(golden["labels"])[:, columns], task_of[columns])
    loss.backward()
    prefix = f"{kept}_" if kept else ""
    np.testing.assert_allclose(loss.item(), golden[f"{prefix}loss"], rtol=1e-5)
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad, golden[f"{prefix}grad"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("registered", [1, 3, 4])
def test_schedule_and_optimizer_are_the_intended_ones_and_explain_those_as_shipped(registered: int) -> None:
    golden = load_golden("softcpt_schedule")
    rates = [learning_rate(registered * epoch) for epoch in range(50)]
    np.testing.assert_allclose(rates, golden[f"lr_per_epoch_registered{registered}"], atol=1e-9)
    parameter = torch.tensor(1.0, requires_grad=True)
    update = sgd([parameter])
    trace = []
    for _ in range(5):
        for _ in range(registered):
            update([torch.tensor(1.0)], 0.002)
        trace.append(parameter.item())
    np.testing.assert_allclose(trace, golden[f"param_trace_registered{registered}"], atol=1e-6)


def test_accuracy_is_the_published_one_plain_and_balanced() -> None:
    golden = load_golden("softcpt_metrics")
    predicted, right = golden["scores"].argmax(axis=1), golden["onehot"].argmax(axis=1)
    assert accuracy(predicted, right) == pytest.approx(golden["overall_acc"])
    assert accuracy(predicted, right, balanced=True) == pytest.approx(golden["mean_acc"])
