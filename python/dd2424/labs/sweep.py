"""Several trainings of one lab, compared on the validation images; a resumed sweep skips what is done."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from dd2424.labs import plots
from dd2424.labs.session import Session
from dd2424.train import Interrupted, RunError, RunFolder
from dd2424.train.files import write_atomic
from dd2424.train.folder import Record


class Sweep:
    """Trains variations of a session's options, one row each in the run folder's sweep.jsonl."""

    def __init__(self, session: Session, folder: RunFolder) -> None:
        self.session = session
        self.path = folder.path / "sweep.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.rows: list[Record] = [json.loads(line) for line in lines]
        self.tried: list[Record] = []

    def train(self, name: str, options: Any) -> Record:
        """The row of one variation: name, validation_accuracy, test_accuracy, and failed where it diverged."""
        row = next((row for row in self.rows if row["name"] == name), None)
        if row is None:
            row = {"name": name, **self._train(options)}
            self.rows.append(row)
            write_atomic(self.path, "".join(json.dumps(row) + "\n" for row in self.rows).encode())
        accuracies = f"validation {row['validation_accuracy']:.4f}  test {row['test_accuracy']:.4f}"
        print(f"  {name:<28} {row.get('failed', accuracies)}", flush=True)
        self.tried.append(row)
        return row

    def plot(self, title: str) -> None:
        """Draw what was tried as sweep.png, where matplotlib is installed."""
        if self.tried and plots.can_plot():
            plots.save_sweep(self.path.with_name("sweep.png"), self.tried, title)

    def _train(self, options: Any) -> Record:
        session = dataclasses.replace(self.session, options=options)
        model = session.new_model()
        trainer = session.trainer(model)
        trainer.interval = trainer.steps
        try:
            trainer.fit()
        except Interrupted:
            raise
        except RunError as error:
            return {"validation_accuracy": 0.0, "test_accuracy": 0.0, "failed": str(error)}
        _, scores = session.scores(model, session.data.test)
        validation_accuracy = trainer.records[-1]["validation_accuracy"]
        return {
            "validation_accuracy": validation_accuracy,
            "test_accuracy": session.accuracy(scores, session.data.test),
        }
