"""What a finished run leaves: weights, pictures and, last of all, result.json."""

from __future__ import annotations

import dataclasses

import numpy as np

import dd2424
from dd2424._safetensors import Array, deserialize, serialize
from dd2424.labs import plots
from dd2424.labs.report import confusion_matrix
from dd2424.labs.session import Session
from dd2424.train import RunError, RunFolder, os_error_message
from dd2424.train.files import write_atomic
from dd2424.train.folder import Record


def finish(session: Session, folder: RunFolder, model: dd2424.nn.Module, records: list[Record]) -> Record:
    """Write everything; the presence of result.json means that the run is finished."""
    save_weights(folder, model)
    loss, scores = session.scores(model, session.data.test)
    result: Record = {
        **evaluation(session, loss, scores),
        "validation_accuracy": records[-1]["validation_accuracy"],
        "steps": records[-1]["step"],
        "options": dataclasses.asdict(session.options),
    }
    if plots.can_plot():
        _plot(session, folder, model, records, scores)
    else:
        print("no pictures: they need matplotlib, pip install 'dd2424[labs]'")
    folder.write("result.json", result)
    return result


def evaluation(session: Session, loss: float, scores: Array) -> Record:
    """Test accuracy, loss and confusion matrix from the scores (N, K) of the test images."""
    test = session.data.test
    matrix = confusion_matrix(test.labels, session.objective.predict(scores), len(session.data.classes))
    return {"test_accuracy": session.accuracy(scores, test), "test_loss": loss, "confusion": matrix.tolist()}


def save_weights(folder: RunFolder, model: dd2424.nn.Module) -> None:
    """weights.safetensors: the same bytes for the same weights."""
    arrays = {name: np.array(tensor.detach().cpu().numpy()) for name, tensor in model.state_dict().items()}
    write_atomic(folder.weights, serialize(arrays, {"format": "dd2424-weights", "format_version": "1"}))


def load_weights(folder: RunFolder, model: dd2424.nn.Module) -> None:
    """Load weights.safetensors into `model`. Raises: RunError when it is missing, damaged or of another model."""
    try:
        arrays, _ = deserialize(folder.weights.read_bytes())
        model.load_state_dict({name: dd2424.from_numpy(array) for name, array in arrays.items()})
    except OSError as error:
        raise RunError(os_error_message(error, "cannot read")) from error
    except (ValueError, RuntimeError) as error:
        raise RunError(f"weights {folder.weights} are damaged or of another model: {error}") from error


def _plot(session: Session, folder: RunFolder, model: dd2424.nn.Module, records: list[Record], scores: Array) -> None:
    data, path, labels = session.data, folder.path, session.data.test.labels
    title = f"{session.lab.name} on {data.name}"
    plots.save_curves(path / "curves.png", records, title)
    weights = session.lab.templates(model)
    names = data.classes if len(weights) == len(data.classes) else []
    shape = data.shape[1:] if len(data.shape) == 3 and data.shape[0] == 1 else data.shape
    plots.save_templates(path / "templates.png", weights, shape, names, f"{title}: first layer's weights")
    predictions = session.objective.predict(scores)
    matrix = confusion_matrix(labels, predictions, len(data.classes))
    plots.save_confusion(path / "confusion.png", matrix, data.classes, f"{title}: test images")
    if scores.shape[1] == len(data.classes):
        exponentials = np.exp(scores - scores.max(1, keepdims=True))
        true = exponentials[np.arange(len(scores)), labels] / exponentials.sum(1)
        plots.save_probabilities(path / "probabilities.png", true, predictions == labels, f"{title}: test images")
