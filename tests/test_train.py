"""The training loop: its events, its records, and a resumed run that is bitwise the run that was never stopped."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest

import dd2424
from accuracy import bits, same_for_any_threads
from dd2424 import nn
from dd2424.data import ArrayDataset, DataLoader
from dd2424.train import Callback, Interrupted, RunError, Trainer, load_checkpoint, save_checkpoint

STEPS = 23  # two epochs of 9 batches and a part of the third


def make(seed=0, steps=STEPS, interval=5, callbacks=(), evaluate=None, lr=0.1):
    """Everything a checkpoint must restore: momentum, a schedule, dropout's random numbers, batch norm's statistics."""
    dd2424.manual_seed(seed)
    images = np.random.default_rng(1).integers(0, 256, (45, 1, 4, 4), dtype=np.uint8)
    dataset = ArrayDataset(images, images[:, 0, 0, :3].argmax(1), flatten=True)
    model = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
    optimizer = dd2424.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=0.01)
    scheduler = dd2424.optim.lr_scheduler.CyclicLR(optimizer, 0.01, lr, step_size_up=4, cycle_momentum=False)
    batches = DataLoader(dataset, 5, shuffle=True, drop_last=True, generator=seed)
    inputs, labels = dataset.get_batch(range(45))
    measure = evaluate or (lambda: {"loss": float(nn.functional.cross_entropy(model(inputs), labels).item())})
    return Trainer(model, nn.functional.cross_entropy, optimizer, batches, steps=steps, interval=interval,
                   evaluate=measure, scheduler=scheduler, callbacks=callbacks)  # fmt: skip


def outcome(trainer):
    state = [np.array(t.numpy()) for t in trainer.model.state_dict().values()]
    momenta = [np.array(s["momentum_buffer"].numpy()) for s in trainer.optimizer.state.values()]
    return bits([*state, *momenta, np.array([r["loss"] for r in trainer.records])]), [
        r["step"] for r in trainer.records
    ]


class Events(Callback):
    def __init__(self):
        self.seen = []

    def on_start(self, trainer):
        self.seen.append(f"start {trainer.step}")

    def on_record(self, trainer, record):
        assert record is trainer.records[-1]
        assert not trainer.model.training
        self.seen.append(f"record {record['step']}")

    def on_stop(self, trainer):
        self.seen.append(f"stop {trainer.step}")

    def on_end(self, trainer):
        self.seen.append(f"end {trainer.step}")

    def on_exit(self, trainer):
        self.seen.append("exit")


class StopAt(Callback):
    """Asks the trainer to stop from inside a step, as a signal would."""

    def __init__(self, step, send=None):
        self.step, self.send = step, send

    def on_start(self, trainer):
        whole = trainer.train_step

        def step(inputs, targets):
            whole(inputs, targets)
            if trainer.step == self.step:
                if self.send:
                    os.kill(os.getpid(), self.send)
                else:
                    trainer.stop_signal = signal.SIGINT

        trainer.train_step = step


def test_events_in_order():
    events = Events()
    trainer = make(callbacks=[events], steps=12)
    trainer.fit()
    assert events.seen == ["start 0", "record 0", "record 5", "record 10", "record 12", "end 12", "exit"]
    assert [(r["step"], round(r["epoch"], 2)) for r in trainer.records] == [(0, 0), (5, 0.56), (10, 1.11), (12, 1.33)]
    assert trainer.records[0]["lr"] == pytest.approx(0.01)
    assert trainer.model.training is False


def test_the_loss_falls():
    trainer = make(steps=200, interval=200)
    trainer.fit()
    first, last = (record["loss"] for record in trainer.records)
    assert last < 0.6 * first


def test_the_same_run_for_any_threads():
    def run():
        trainer = make()
        trainer.fit()
        return [np.array(t.numpy()) for t in trainer.model.state_dict().values()]

    same_for_any_threads(run)


@pytest.mark.parametrize("stop", [1, 4, 5, 9, 17, 18, 22])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, stop):
    whole = make()
    whole.fit()
    first = make(callbacks=[StopAt(stop)])
    with pytest.raises(Interrupted):
        first.fit()
    assert first.step == stop
    path = save_checkpoint(tmp_path, first.step, first.state_dict())
    second = make(seed=99)  # whatever it starts from, the checkpoint replaces it
    dd2424.rand(3)
    second.load_state_dict(load_checkpoint(path))
    assert second.step == stop
    second.fit()
    assert outcome(second) == outcome(whole)


def test_the_interrupted_trainer_itself_goes_on():
    whole = make()
    whole.fit()
    stopped = make(callbacks=[StopAt(7)])
    with pytest.raises(Interrupted):
        stopped.fit()
    stopped.callbacks = ()
    stopped.fit()
    assert outcome(stopped) == outcome(whole)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_between_steps(number, code):
    events, before = Events(), signal.getsignal(number)
    trainer = make(callbacks=[StopAt(7, send=number), events])
    with pytest.raises(Interrupted) as caught:
        trainer.fit()
    assert caught.value.exit_code == code
    assert events.seen == ["start 0", "record 0", "record 5", "stop 7", "exit"]
    assert signal.getsignal(number) is before


def test_a_second_signal_ends_it_at_once():
    trainer = make(callbacks=[StopAt(2, send=signal.SIGINT)])
    whole = trainer.loss

    def loss(scores, targets):
        if trainer.stop_signal == 0 and trainer.step == 1:
            os.kill(os.getpid(), signal.SIGINT)  # noticed at the end of this step; step 2 never comes to its end
            os.kill(os.getpid(), signal.SIGINT)
        return whole(scores, targets)

    trainer.loss = loss
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert trainer.step == 1


def test_threads_train_without_signals():
    trainers = [make(), make()]
    threads = [threading.Thread(target=trainer.fit) for trainer in trainers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [trainer.step for trainer in trainers] == [STEPS, STEPS]


def test_step_and_loop_can_be_called_alone():
    trainer = make()
    inputs, targets = next(iter(trainer.batches))
    trainer.train_step(inputs, targets)
    assert trainer.step == 1
    trainer.train_steps(10)
    assert (trainer.step, trainer.records) == (11, [])


def test_what_is_not_finite_ends_the_run():
    events = Events()
    values = iter([1.0, 2.0, float("nan")])
    trainer = make(evaluate=lambda: {"train_loss": next(values)}, callbacks=[events])
    with pytest.raises(RunError, match=r"train_loss must stay finite, got nan at step 10; try a smaller learning rate"):
        trainer.fit()
    assert events.seen[-2:] == ["record 10", "exit"]
    with pytest.raises(RunError, match="got inf at step 0; look at the data and the initialisation"):
        make(evaluate=lambda: {"train_loss": float("inf")}).fit()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 24}, "steps must be 23, got 24"),
        ({"model": {}}, "does not fit this model and its optimizer"),
        ({"optimizer": {"state": {}, "param_groups": []}}, "does not fit this model and its optimizer"),
        ({"batches": {}}, "does not fit this model and its optimizer"),
        ({"step": None}, "does not fit this model and its optimizer"),
    ],
)
def test_a_state_of_another_run_is_refused(change, message):
    trainer = make()
    with pytest.raises(RunError, match=message):
        trainer.load_state_dict({**trainer.state_dict(), **change})


@pytest.mark.parametrize("option", ["steps", "interval"])
def test_counts_below_one_are_refused(option):
    with pytest.raises(ValueError, match=f"Trainer: {option} must be at least 1, got 0"):
        make(**{option: 0})
