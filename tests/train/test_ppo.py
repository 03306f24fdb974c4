"""PPO against exact truth: a world whose actions are enumerated, and invariances of one update."""

import copy

import numpy as np
import torch
from tiny import make_model

from alignpro.config import PpoSettings, Sampling
from alignpro.maths import gibbs
from alignpro.models.logprobs import collate, score
from alignpro.models.sampler import sample
from alignpro.train.ppo import Ppo
from alignpro.train.update import Experience

QUERY, VOCABULARY, LAM = [5, 2, 3], 8, 0.5
REWARDS = np.array([0.0, 1.0, -1.0, 0.5, 2.0, 0.0, 1.5, -0.5])


def distribution(model):
    with torch.no_grad():
        return model(torch.tensor([QUERY])).logits[0, -1].double().log_softmax(-1).numpy()


def experience(model, reference, seed, rows=256):
    drawn = sample(model, [QUERY], [rows], Sampling(max_new_tokens=1), [], 0, seed, batch_size=rows)[0]
    tokens = [g.tokens for g in drawn]
    ref = score(reference, [QUERY] * rows, tokens, 0)
    return Experience(
        collate([QUERY] * rows, tokens, 0),
        torch.as_tensor(np.stack([g.logprobs for g in drawn])),
        torch.as_tensor(np.stack(ref)),
        torch.as_tensor([REWARDS[t[0]] for t in tokens], dtype=torch.float32),
        torch.zeros(rows, dtype=torch.long),
        torch.ones(rows),
    )


def test_ppo_reaches_the_closed_form_optimum_of_an_enumerable_world():
    model = make_model("llama", vocabulary=VOCABULARY)
    reference = copy.deepcopy(model)
    log_ref = distribution(reference)
    log_star = gibbs.log_weights(REWARDS, LAM, log_ref)  # (10): proportional to reference * exp(R / lam)
    ppo = Ppo(model, PpoSettings(learning_rate=3e-3, minibatch_size=128, epochs=2, whiten_advantages=False))

    def kl_to_optimum():
        log_rho = distribution(model)
        return float((np.exp(log_rho) * (log_rho - log_star)).sum())

    start = kl_to_optimum()
    for step in range(80):
        for group in ppo.optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / 80)
        ppo.update(experience(model, reference, step), kl_coef=LAM, temperature=1.0, seed=step)
    assert start > 0.5
    assert kl_to_optimum() < 0.01
    log_rho = distribution(model)
    objective = (np.exp(log_rho) * (REWARDS - LAM * (log_rho - log_ref))).sum()
    best = LAM * np.log((np.exp(log_ref) * np.exp(REWARDS / LAM)).sum())
    np.testing.assert_allclose(best - objective, LAM * kl_to_optimum(), atol=1e-9)  # (B4)


def one_update(batch, seed=0, **settings):
    model = make_model("llama", vocabulary=VOCABULARY)
    chosen = PpoSettings(**{"learning_rate": 1e-3, "minibatch_size": 16, "epochs": 2, **settings})
    metrics = Ppo(model, chosen).update(batch, kl_coef=0.1, temperature=1.0, seed=seed)
    return torch.cat([p.detach().flatten() for p in model.parameters()]), metrics


def ragged(pad=0, extra=0):
    rng = np.random.default_rng(0)
    queries = [rng.integers(2, VOCABULARY, rng.integers(1, 6)).tolist() for _ in range(32)]
    actions = [rng.integers(2, VOCABULARY, rng.integers(1, 5)) for _ in range(32)]
    if extra:
        queries.append([3] * (6 + extra))
        actions.append(np.full(5 + extra, 3))
    batch = collate(queries, actions, pad)
    keep = (
        batch
        if not extra
        else type(batch)(*(t[:-1] for t in (batch.query, batch.query_mask, batch.action, batch.action_mask)))
    )
    logprobs = torch.zeros(keep.action.shape)
    for i, action in enumerate(actions[:32]):
        logprobs[i, : len(action)] = torch.as_tensor(np.random.default_rng(i).normal(-2, 0.1, len(action)))
    return Experience(
        keep,
        logprobs,
        logprobs - 0.05 * keep.action_mask,
        torch.as_tensor(rng.normal(size=32)).float(),
        torch.zeros(32, dtype=torch.long),
        torch.ones(32),
    )


def test_padding_changes_no_update():
    plain, _ = one_update(ragged())
    other_pad, _ = one_update(ragged(pad=7))
    wide, _ = one_update(ragged(extra=4))
    assert torch.allclose(plain, other_pad, atol=1e-6)
    assert torch.allclose(plain, wide, atol=1e-6)


def test_gradient_accumulation_changes_no_update():
    whole, _ = one_update(ragged())
    pieces, _ = one_update(ragged(), gradient_accumulation=4)
    assert torch.allclose(whole, pieces, atol=1e-6)


def test_the_first_minibatch_starts_at_ratio_one():
    model = make_model("llama", vocabulary=VOCABULARY)
    batch = experience(model, copy.deepcopy(model), seed=0)
    assert (batch.logprobs - batch.ref_logprobs).abs().max() < 1e-5  # KL is 0 at step 0
    _, metrics = one_update(batch, epochs=1, minibatch_size=256)
    assert metrics["approx_kl"] < 1e-8
    assert metrics["clip_share"] == 0


def test_the_kl_stop_ends_a_step_early():
    _, free = one_update(ragged(), learning_rate=1e-2, epochs=6)
    _, stopped = one_update(ragged(), learning_rate=1e-2, epochs=6, target_kl=1e-3)
    assert free["updates"] == 12
    assert stopped["updates"] < 12
