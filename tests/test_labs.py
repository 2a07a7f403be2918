"""Labs: losses, networks, the course's protocol, options and settings, the search for lambda."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

import dd2424
from accuracy import assert_accurate
from dd2424.autograd import gradcheck
from dd2424.data import ArrayDataset
from dd2424.labs import LABS, get_lab, losses, new_session
from dd2424.labs.base import Figure
from dd2424.labs.data import LabData, Source
from dd2424.labs.listing import listing
from dd2424.labs.options import parse_options, split_words
from dd2424.labs.report import confusion_matrix, confusion_table, worst_confusions
from dd2424.labs.session import penalised
from dd2424.labs.sweep import Sweep
from dd2424.models import MLP, LinearClassifier
from dd2424.train import RunFolder, UsageError
from reference import labs as reference

LOSSES = ["softmax", "svm", "crammer_singer", "sigmoid", "hinge"]


def scores_and_labels(rng, name, dtype=np.float64):
    classes = 1 if name == "hinge" else 5
    return (2 * rng.standard_normal((9, classes))).astype(dtype), rng.integers(0, max(classes, 2), 9)


def small(rng, count=60, classes=3, shape=(1, 4, 4)):
    """A data set whose classes can be told apart, as a lab's source."""
    labels = np.arange(count) % classes
    patterns = rng.integers(0, 200, (classes, *shape))
    images = (patterns[labels] + rng.integers(0, 56, (count, *shape))).astype(np.uint8)
    data = ArrayDataset(images, labels, classes=[f"class {k}" for k in range(classes)])
    return Source("small", data, data.take(slice(0, 30)))


@pytest.mark.parametrize("name", LOSSES)
def test_losses_match_numpy(rng, name):
    scores, labels = scores_and_labels(rng, name, np.float32)
    loss = getattr(losses, name)(dd2424.from_numpy(scores), dd2424.from_numpy(labels))
    assert_accurate(
        loss, np.array(getattr(reference, name)(scores.astype(np.float64), labels)), roundings=16, scale=1.0
    )


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_losses(rng, name):
    scores, labels = scores_and_labels(rng, name)
    x = dd2424.from_numpy(scores).requires_grad_(True)
    assert gradcheck(lambda s: getattr(losses, name)(s, dd2424.from_numpy(labels)), [x])


def test_networks_start_as_the_course_says():
    dd2424.manual_seed(0)
    linear = LinearClassifier(3072, 10)
    assert abs(float(linear.scores.weight.std()) - 0.01) < 0.0005
    assert float(linear.scores.bias.abs().sum()) == 0
    deep = MLP(3072, [200, 100], 10)
    for layer in deep.layers:
        assert float(layer.weight.std()) == pytest.approx(math.sqrt(2 / layer.in_features), rel=0.1)
        assert layer.bias.tolist() == [0] * layer.out_features
    assert float(MLP(400, [100], 10, gain=1.0).layers[0].weight.std()) == pytest.approx(0.05, rel=0.05)
    assert float(MLP(400, [100], 10, std=1e-3).layers[1].weight.std()) == pytest.approx(1e-3, rel=0.1)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("hidden", [(), (5,), (6, 5, 4)])
def test_mlp_is_its_formula(rng, batch_norm, hidden):
    model = MLP(7, hidden, 3, batch_norm=batch_norm)
    x = h = rng.standard_normal((11, 7))
    state = {name: np.array(t.numpy(), np.float64) for name, t in model.state_dict().items()}
    for i in range(len(hidden)):
        h = h @ state[f"layers.{i}.weight"].T + (0 if batch_norm else state[f"layers.{i}.bias"])
        if batch_norm:
            h = (h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5)
        h = np.maximum(h, 0)
    expected = h @ state[f"layers.{len(hidden)}.weight"].T + state[f"layers.{len(hidden)}.bias"]
    actual = model(dd2424.from_numpy(x.astype(np.float32)))
    assert_accurate(actual, expected, roundings=64, scale=np.abs(expected).max())
    biases = [name for name in state if name.endswith("bias") and name.startswith("layers")]
    assert len(biases) == (1 if batch_norm else len(hidden) + 1)  # batch norm's shift takes their place


def test_data_are_standardised_by_the_training_part(rng):
    source = small(rng)
    data = source.cut(40, 20, 10)
    train = data.train.get_batch(range(40))[0].numpy().astype(np.float64)
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(train.std(0), 1, atol=1e-5)
    assert [len(data.train), len(data.validation), len(data.test), data.inputs] == [40, 20, 30, 16]
    np.testing.assert_array_equal(data.validation.images, source.train.images[40:60])
    np.testing.assert_array_equal(data.validation.mean, data.train.mean)
    assert source.cut(40, 20, 50 - 40) is data


def test_two_classes_alone(rng):
    data = small(rng).cut(30, 30, 10).only((2, 0))
    assert data.classes == ["class 2", "class 0"]
    assert set(data.train.labels.tolist()) == {0, 1}
    assert len(data.train) == 20
    train = data.train.get_batch(range(20))[0].numpy().astype(np.float64)
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-6)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        ((61, 0, 1), "must be at most the 60 training images of small, got 61 \\+ 0"),
        ((0, 60, 1), "got 0 \\+ 60"),
        ((0, 70, 1), "got 0 \\+ 70"),
        ((20, 10, 21), "batch must be at most the 20 training images, got 21"),
    ],
)
def test_cuts_that_are_not_there(rng, cut, message):
    with pytest.raises(UsageError, match=message):
        small(rng).cut(*cut)


def session(rng, lab="mlp", **options):
    given = {"train": 30, "validation": 30, "batch": 10, **options}
    made = new_session(lab, "digits", **given)
    return dataclasses.replace(made, source=small(rng))


def test_cost_is_mean_loss_plus_lambda_times_squared_weights(rng):
    run = session(rng, lambda_=0.1, hidden=(5,))
    model = run.new_model()
    values = run.measure(model)
    weights = [np.array(p.detach().numpy(), np.float64) for p in penalised(model)[0]]
    assert len(weights) == 2
    for part in ("train", "validation"):
        penalty = values[f"{part}_cost"] - values[f"{part}_loss"]
        assert penalty == pytest.approx(0.1 * sum((w**2).sum() for w in weights), rel=1e-5)


def test_a_step_moves_weights_by_the_gradient_of_the_cost(rng):
    run = session(rng, "linear", lambda_=0.3, lr=0.5)
    model = run.new_model()
    before = {name: np.array(p.detach().numpy(), np.float64) for name, p in model.named_parameters()}
    inputs, labels = next(iter(run.batches()))
    run.trainer(model).train_step(inputs, labels)
    x, p = inputs.numpy().astype(np.float64), inputs.numpy() @ before["scores.weight"].T
    p = np.exp(p) / np.exp(p).sum(1, keepdims=True) - np.eye(3)[labels.numpy()]
    expected = before["scores.weight"] - 0.5 * (p.T @ x / 10 + 2 * 0.3 * before["scores.weight"])
    assert_accurate(model.scores.weight, expected, roundings=32, scale=1.0)
    assert_accurate(model.scores.bias, -0.5 * p.mean(0), roundings=32, scale=1.0)  # biases are not penalised


def test_the_first_loss_is_ln_k():
    run = new_session("linear", "digits")
    assert run.measure(run.new_model())["train_loss"] == pytest.approx(math.log(10), abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("lab", ["linear", "mlp", "deep-mlp"])
def test_a_hundred_images_are_learnt_by_heart(lab):
    options = {"train": 100, "validation": 100, "batch": 10, "lambda_": 0.0}
    length = {"epochs": 200} if lab == "linear" else {"half_cycle": 500, "cycles": 1}
    run = new_session(lab, "digits", **options, **length)
    model = run.new_model()
    trainer = run.trainer(model)
    trainer.train_steps(trainer.steps)
    values = run.measure(model)
    assert values["train_accuracy"] == 1
    assert values["train_loss"] < 0.1


def test_sessions_repeat():
    def weights(seed):
        run = new_session("deep-mlp", "digits", seed=seed)
        trainer = run.trainer(run.new_model())
        trainer.train_steps(30)
        return [np.array(t.numpy()) for t in trainer.model.state_dict().values()]

    first, second, other = weights(1), weights(1), weights(2)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_options_come_from_setting_then_words():
    mlp = get_lab("mlp")
    assert mlp.resolve("cifar10", {}).lambda_ == 0.0022
    assert mlp.resolve("cifar10", {"setting": "2"}).half_cycle == 800
    given = mlp.resolve("cifar10", {"setting": "2", "lambda": "0.5", "hidden": "30,20"})
    assert (given.lambda_, given.hidden, given.cycles, given.train) == (0.5, (30, 20), 3, 10_000)
    own = mlp.resolve("digits", {})
    assert (own.setting, own.train, own.validation) == ("own", 0, 100)
    borrowed = mlp.resolve("digits", {"setting": "2"})
    assert (borrowed.half_cycle, borrowed.train, borrowed.validation) == (800, 0, 100)


@pytest.mark.parametrize("lab", LABS.values(), ids=list(LABS))
def test_figures_belong_to_untouched_settings(lab):
    for setting in lab.settings:
        options = lab.resolve("cifar10", {"setting": setting.name})
        assert lab.figure("cifar10", options) is setting.figure
        assert lab.figure("digits", options) is None
        assert lab.figure("cifar10", dataclasses.replace(options, batch=7)) is None
        if setting.figure:
            assert setting.figure.low < setting.figure.accuracy < setting.figure.high
    assert lab.figure("cifar10", lab.resolve("cifar10", {"setting": "own"})) is None


def test_verdicts():
    figure = Figure(39.1, 38.6, 39.6)
    assert figure.verdict(39.0).endswith("this run: 39.00 %, inside the band")
    assert figure.verdict(38.59).endswith("below the band")
    assert figure.verdict(39.61).endswith("above the band")


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("OFF", False), ("1", True), ("false", False)])
def test_switches(text, value):
    kind = get_lab("deep-mlp").Options
    assert parse_options(kind, "deep-mlp", {"batch_norm": text}) == {"batch_norm": value}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hidden"], "options must be key=value, got 'hidden'"),
        (["=3"], "options must be key=value, got '=3'"),
        (["a=1", "a=2"], "a must be given once, got '1' and '2'"),
        (["hiddn=3"], "unknown option 'hiddn'; did you mean 'hidden'"),
        (["hidden=5,x"], "hidden must be whole numbers with commas between, such as 50,50, got '5,x'"),
        (["hidden=5,0"], "hidden must be 1 to 100000, got '5,0'"),
        (["batch=ten"], "batch must be a whole number, got 'ten'"),
        (["lambda=-1"], "lambda must be at least 0, got '-1'"),
        (["lambda=inf"], "lambda must be a finite number, got 'inf'"),
        (["lambda=x"], "lambda must be a number, got 'x'"),
        (["batch_norm=maybe"], "batch_norm must be yes or no, got 'maybe'"),
        (["setting=x"], r"unknown setting 'x' \(there are: 3-bn, 3, 9-bn, 9\)"),
    ],
)
def test_refused_options(words, message):
    with pytest.raises(UsageError, match=message):
        get_lab("deep-mlp").resolve("cifar10", split_words(words))


def test_refused_sessions():
    with pytest.raises(UsageError, match="unknown lab 'mpl'; did you mean 'mlp'"):
        new_session("mpl")
    with pytest.raises(UsageError, match="unknown option 'hiddn'"):
        new_session("mlp", "digits", hiddn=3)
    with pytest.raises(UsageError, match="classes must be two different classes of 0 to 9, got 3,3"):
        new_session("linear", "digits", loss="hinge", classes=(3, 3)).data  # noqa: B018


def test_the_list_names_everything():
    text = listing()
    for lab in LABS.values():
        assert f"{lab.name}: {lab.title} ({lab.lecture})" in text
        assert all(f"setting={setting.name} " in text for setting in lab.settings)
    assert "loss=softmax|svm|crammer-singer|sigmoid|hinge" in text
    assert "--data fashion-mnist" in text


def test_confusion():
    matrix = confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    table = confusion_table(matrix, ["cat", "dog", "automobile-long"]).splitlines()
    assert table[1].split() == ["cat", "|", "1", "1", ".", "50.0", "%"]
    assert len({len(line) for line in table[1:]}) == 1
    assert worst_confusions(matrix, "abc") == "most frequent mistakes: a taken for b (1), c taken for b (1)"
    assert worst_confusions(np.eye(3, dtype=int), "abc") == "no mistakes"


def test_a_search_tries_coarse_then_fine_and_is_not_repeated(rng, tmp_path, capsys):
    run = session(rng, search=3, cycles=1, half_cycle=5, log_lambda=(-4, -2), hidden=(4,))
    with RunFolder(tmp_path / "run") as folder:
        sweep = Sweep(run, folder)
        chosen = run.lab.sweep(run.options, run.data, sweep.train)
        rows = [json.loads(line) for line in (tmp_path / "run/sweep.jsonl").read_text().splitlines()]
        assert [row["name"] for row in rows[:3]] == ["lambda=0.0001", "lambda=0.001", "lambda=0.01"]
        assert len(rows) == 5  # the middle of the finer three is known
        assert chosen.search == 0
        best = max(rows, key=lambda row: row["validation_accuracy"])
        assert f"lambda={chosen.lambda_:.3g}" == best["name"]
        again = Sweep(run, folder)
        again._train = lambda options: pytest.fail("trained again")
        assert run.lab.sweep(run.options, run.data, again.train) == chosen
    assert "lambda=0.0001" in capsys.readouterr().out


def test_sensitivity_compares_spreads(rng, tmp_path):
    run = session(rng, "deep-mlp", sensitivity=True, cycles=1, half_cycle=5, hidden=(4,))
    with RunFolder(tmp_path / "run") as folder:
        sweep = Sweep(run, folder)
        assert run.lab.sweep(run.options, run.data, sweep.train) == run.options
        assert [row["name"] for row in sweep.tried][:2] == ["sigma=0.1 batch_norm=no", "sigma=0.1 batch_norm=yes"]
        assert len(sweep.tried) == 6


def test_a_variation_that_diverges_is_only_a_row(rng, tmp_path):
    run = session(rng, lr_max=1e30, cycles=1, half_cycle=5)
    with RunFolder(tmp_path / "run") as folder:
        row = Sweep(run, folder).train("wild", run.options)
    assert row["validation_accuracy"] == 0
    assert "must stay finite" in row["failed"]


def test_data_and_session_agree(rng):
    assert isinstance(session(rng).data, LabData)
