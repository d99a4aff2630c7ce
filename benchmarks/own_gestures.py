"""Tests ``my_gestures.sh`` on clips and streams that no setting was chosen on, beside README's earlier recipe.

    python -m benchmarks.own_gestures WORK_DIR [--kinds drawn photos shape] [--seeds 3] [--minutes 10] [--from CKPT]

Three kinds of clips, ten of each class to train with, others to test with, and streams of them:

drawn    five gestures that the quickstart's network has not seen (needs --from, the quickstart's checkpoint)
photos   changes over photographs that scikit-image, scikit-learn and matplotlib carry; no photograph is on both sides
shape    a hand-like shape that moves left, right, nearer and further over a moving background

Each cell (kind, seed, way) is done once: the same command resumes. Prints a table.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from benchmarks.data import NEW_GESTURES, REPO, run_program
from src.data.video_writer import VideoWriter

RATE, HEIGHT, WIDTH = 12, 100, 140
CLIPS, TEST_CLIPS, STREAMS = 10, 12, 6  # of a class, of a class, in all
RECIPE = ["--config_path", str(REPO / "configs/synthetic_streams_config.yaml"), "--sliding_windows", "0"]

Frames = list[np.ndarray]


# -------------------------------------------------------------------------------------------------------- the kinds


class Performance(NamedTuple):
    """Frames of one scene, and its gestures as (first frame, frame behind the last, class)."""

    frames: Frames
    gestures: list[tuple[int, int, str]]


class Drawn:
    """The drawn performer of ``src.synthetic``."""

    classes = NEW_GESTURES

    def clip(self, label: str, number: int, seed: int, test: bool) -> Frames:
        from src.synthetic.clips import draw_clip

        return draw_clip(label, 1000 + 2 * seed + test, number)[0]

    def stream(self, labels: list[str], number: int, seed: int) -> Performance:
        from src.synthetic.streams import draw_stream

        frames, truth = draw_stream(labels, 5000 + seed, number)
        spans = [(round(RATE * row["start"]), round(RATE * row["end"]), row["label"]) for row in truth]
        return Performance(frames, spans)


class Scenes:
    """Kinds whose gestures change a state: half a second of rest, the gesture, half a second of rest.

    ``begin(rng, test)`` makes a scene, ``state(label, progress)`` gives its state in the middle of a gesture,
    ``draw(scene, state, rng)`` draws it.
    """

    classes: tuple[str, ...] = ()

    def clip(self, label: str, number: int, seed: int, test: bool) -> Frames:
        rng = np.random.default_rng([seed, self.classes.index(label), number, test])
        return self.perform(label, self.begin(rng, test), rng, (0.3, 0.6)).frames

    def stream(self, labels: list[str], number: int, seed: int) -> Performance:
        rng = np.random.default_rng([seed, 77, number])
        parts, spans = [], []
        for label in labels or [""]:  # a cut before each gesture; a stream without gestures is a long rest
            part = self.perform(label, self.begin(rng, True), rng, (0.8, 2.0) if label else (12, 15))
            spans += [(first + len(parts), last + len(parts), name) for first, last, name in part.gestures]
            parts += part.frames
        return Performance(parts, spans)

    def perform(self, label: str, scene: Any, rng: np.random.Generator, pause: tuple[float, float]) -> Performance:
        """A gesture with a rest before and after it, or a rest alone."""

        def rest(progress: float) -> Frames:
            return self._drawn(scene, label or self.classes[0], [progress] * round(RATE * rng.uniform(*pause)), rng)

        frames = rest(0.0)
        if not label:
            return Performance(frames, [])
        begin, length = len(frames), round(RATE * rng.uniform(1.6, 2.6))
        eased = (1 - np.cos(np.pi * np.linspace(0, 1, length))) / 2
        frames += self._drawn(scene, label, eased.tolist(), rng)
        return Performance(frames + rest(1.0), [(begin, begin + length, label)])

    def _drawn(self, scene: Any, label: str, progresses: list[float], rng: np.random.Generator) -> Frames:
        pictures = (self.draw(scene, self.state(label, progress), rng).astype(np.float32) for progress in progresses)
        return [np.clip(p + rng.normal(0, 3, p.shape), 0, 255).astype(np.uint8) for p in pictures]


class Photos(Scenes):
    """A window of a photograph that is changed."""

    classes = ("fade in", "fade out", "sharpen", "blur", "zoom in", "zoom out", "day to night", "night to day")
    NAMES = {
        "skimage": "astronaut.png brick.png camera.png chelsea.png clock_motion.png coffee.png coins.png grass.png"
        " gravel.png hubble_deep_field.jpg ihc.png moon.png motorcycle_left.png retina.jpg rocket.jpg",
        "sklearn": "china.jpg flower.jpg",
        "matplotlib": "grace_hopper.jpg",
    }
    FOLDERS = {"skimage": "data", "sklearn": "datasets/images", "matplotlib": "mpl-data/sample_data"}

    def __init__(self) -> None:
        self.photographs = []
        for package, names in self.NAMES.items():
            spec = importlib.util.find_spec(package)
            if spec is None or spec.origin is None:
                raise SystemExit(f"photos: the package {package} is not installed (pip install scikit-image)")
            folder = Path(spec.origin).parent / self.FOLDERS[package]
            self.photographs += [cv2.imread(str(folder / name)) for name in names.split()]
        assert all(photograph is not None for photograph in self.photographs)

    def begin(self, rng: np.random.Generator, test: bool) -> np.ndarray:
        known = [photo for i, photo in enumerate(self.photographs) if (i % 3 == 2) == test]
        photo = known[rng.integers(len(known))]
        height = int(photo.shape[0] * rng.uniform(0.6, 0.95))
        width = min(photo.shape[1], height * WIDTH // HEIGHT)
        y, x = rng.integers(photo.shape[0] - height + 1), rng.integers(photo.shape[1] - width + 1)
        window = cv2.resize(photo[y : y + height, x : x + width], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        return window[:, ::-1] if rng.random() < 0.5 else window

    def state(self, label: str, progress: float) -> tuple[float, ...]:
        kind = self.classes.index(label)
        return kind // 2, progress if kind % 2 == 0 else 1 - progress

    def draw(self, scene: np.ndarray, state: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
        kind, value = state
        if kind == 0:
            return scene * (0.05 + 0.95 * value)
        if kind == 1:
            return cv2.GaussianBlur(scene, (0, 0), 0.1 + 6 * (1 - value))
        if kind == 2:
            rows, columns = round(HEIGHT * (1 - 0.6 * value) / 2), round(WIDTH * (1 - 0.6 * value) / 2)
            middle = scene[HEIGHT // 2 - rows : HEIGHT // 2 + rows, WIDTH // 2 - columns : WIDTH // 2 + columns]
            return cv2.resize(np.ascontiguousarray(middle), (WIDTH, HEIGHT))
        return scene * (1 - value * np.array([0.45, 0.75, 0.85]))  # blue stays longest


class Shape(Scenes):
    """A palm with fingers over a background that drifts."""

    classes = ("move left", "move right", "come nearer", "go further")

    def begin(self, rng: np.random.Generator, test: bool) -> dict[str, Any]:
        noise = rng.integers(40, 200, (9, 13, 3)).astype(np.uint8)
        return {
            "background": cv2.resize(noise, (3 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_CUBIC),
            "drift": rng.uniform(-0.8, 0.8, 2),
            "at": rng.uniform([60, 40], [120, 60]),
            "colour": np.array([120, 160, 215]) * rng.uniform(0.6, 1.1),
            "size": rng.uniform(13, 18),
            "place": rng.uniform([-8, -8], [8, 8]),
            "tilt": rng.uniform(-15, 15),
        }

    def state(self, label: str, progress: float) -> tuple[float, ...]:
        sideways, depth = {
            "move left": (1 - 2 * progress, 0.0),
            "move right": (2 * progress - 1, 0.0),
            "come nearer": (0.0, progress),
            "go further": (0.0, 1 - progress),
        }[label]
        return sideways, depth

    def draw(self, scene: dict[str, Any], state: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
        sideways, depth = state
        scene["at"] = np.clip(scene["at"] + scene["drift"], 0, [2 * WIDTH - 1, HEIGHT - 1])
        x, y = scene["at"].astype(int)
        picture = np.ascontiguousarray(scene["background"][y : y + HEIGHT, x : x + WIDTH])
        size = scene["size"] * (0.7 + 1.1 * depth)
        centre = np.array([WIDTH / 2 + 42 * sideways, HEIGHT * 0.6]) + scene["place"] + rng.normal(0, 0.6, 2)
        for angle in (-40, -18, 0, 18, 40):
            turn = np.radians(angle + scene["tilt"])
            tip = centre + 1.9 * size * np.array([np.sin(turn), -np.cos(turn)])
            cv2.line(picture, tuple(map(int, centre)), tuple(map(int, tip)), scene["colour"].tolist(), int(size * 0.42))
        cv2.circle(picture, tuple(map(int, centre)), int(size), scene["colour"].tolist(), -1)
        return picture


CLIP_KINDS = {"drawn": Drawn, "photos": Photos, "shape": Shape}


# ------------------------------------------------------------------------------------------------------- the material


def write_material(kind: Any, folder: Path, seed: int) -> None:
    """Clips to train with, clips to test with, and streams with their truth, unless they are there."""
    if (folder / "complete").exists():
        return
    for side, count, test in (("own", CLIPS, False), ("test", TEST_CLIPS, True)):
        for label in kind.classes:
            (folder / side / label).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                write_clip(folder / side / label / f"{number}.mp4", kind.clip(label, number, seed, test))
    (folder / "streams").mkdir(exist_ok=True)
    truth, rng = {}, np.random.default_rng([seed, 9])
    for number in range(STREAMS):
        labels = [] if number % 3 == 0 else [kind.classes[i] for i in rng.integers(len(kind.classes), size=5)]
        performance = kind.stream(labels, number, seed)
        write_clip(folder / "streams" / f"{number}.mp4", performance.frames)
        spans = [dict(zip(("start", "end"), (a / RATE, b / RATE)), label=label) for a, b, label in performance.gestures]
        truth[f"{number}.mp4"] = spans
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "complete").write_text("")


def write_clip(path: Path, frames: Frames) -> None:
    height, width = frames[0].shape[:2]
    with VideoWriter(str(path), RATE) as writer:
        for frame in frames:
            writer.write(frame if frame.shape[:2] == (height, width) else cv2.resize(frame, (width, height)))


# ------------------------------------------------------------------------------------------------------------ the ways


def by_one_command(material: Path, work: Path, start: Path | None, minutes: float, seed: int) -> tuple[Path, list[str]]:
    """``my_gestures.sh``; returns the model and the options that its streams are watched with."""
    options = ["--minutes", f"{minutes:g}", "--seed", str(seed), *(["--from", str(start)] if start else [])]
    run_program("src/own_gestures/main.py", str(material / "own"), str(work), *options)
    model = json.loads((work / "taken.json").read_text(encoding="utf-8"))["model"]
    return Path(model), ["--config_path", str(work / "stream.yaml")]


def by_recipe(material: Path, work: Path, start: Path | None, minutes: float, seed: int) -> tuple[Path, list[str]]:
    """README's earlier recipe: prepare, train (with a frozen backbone if there is a start), watch with the defaults."""
    run_program("src/data/prepare_videos.py", str(material / "own"), str(work / "dataset"))
    options = ["--dataset_root", str(work / "dataset"), "--train_output_dir", str(work / "train"), "--resume", "auto"]
    if start:
        options += ["--pre_trained_backbone", str(start), "--freeze_backbone", "true"]
        options += ["--epochs_num", "60", "--update_lr_epochs", "48"]
    run_program("train.py", *RECIPE, *options, "--seed", str(seed))
    return work / "train/checkpoint_best.ckpt", []


WAYS = {"my_gestures.sh": by_one_command, "earlier recipe": by_recipe}


def measure_cell(kind: str, seed: int, way: str, args: argparse.Namespace) -> dict[str, Any]:
    """Trains and tests, unless that is done."""
    material = args.work_dir / kind / f"seed{seed}"
    work = material / way.replace(" ", "_").replace(".", "_")
    result = work / "result.json"
    if result.exists():
        return json.loads(result.read_text())
    write_material(CLIP_KINDS[kind](), material, seed)
    start = args.start if kind == "drawn" else None
    began = time.monotonic()
    model, stream = WAYS[way](material, work, start, args.minutes, seed)
    minutes = (time.monotonic() - began) / 60
    # Evaluation needs lists with the model's classes.
    test = work / "test"
    write_test_lists(material / "test", test, model)
    run_program(
        "eval.py", "--ckpt_file", str(model), "--dataset_root", str(test), "--eval_output_dir", str(work / "eval-test")
    )
    truth = ["--videos", str(material / "streams"), "--truth", str(material / "truth.json")]
    run_program(
        "eval_streams.py", "--ckpt_file", str(model), *truth, "--eval_output_dir", str(work / "streams-test"), *stream
    )
    clips = json.loads((work / "eval-test/metrics.json").read_text())
    streams = json.loads((work / "streams-test/stream_metrics.json").read_text())
    keys = ("precision", "recall", "levenshtein_accuracy", "false_alarms_per_minute", "gestures")
    found = {"top1": clips["top1"], "minutes": minutes, **{key: streams[key] for key in keys}}
    result.write_text(json.dumps(found, indent=2))
    return found


def write_test_lists(videos: Path, dataset: Path, model: Path) -> None:
    """The test clips as a dataset whose list of classes is the model's."""
    from src.evaluation.tables import csv_bytes
    from src.training.checkpoint import read_checkpoint

    rows = dataset.parent / "test.csv"
    found = [[path.relative_to(videos), path.parent.name, "val"] for path in sorted(videos.rglob("*.mp4"))]
    found[0][2] = "train"  # a dataset has clips to train with, one here
    rows.write_bytes(csv_bytes([["video", "label", "split"], *found]))
    run_program("src/data/prepare_videos.py", str(videos), str(dataset), "--annotations", str(rows))
    names = (dataset / "categories.txt").read_text(encoding="utf-8").splitlines()
    known = read_checkpoint(model)[1]["categories"]
    for name in ("train_videofolder.txt", "val_videofolder.txt"):
        lines = (dataset / name).read_text(encoding="utf-8").splitlines()
        split = [line.rsplit(None, 1) for line in lines]
        (dataset / name).write_text("".join(f"{row} {known.index(names[int(label)])}\n" for row, label in split))
    (dataset / "categories.txt").write_text("".join(f"{name}\n" for name in known), encoding="utf-8")


def markdown(found: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    """A row for each kind and way: the mean of its seeds."""
    columns = {"top1": "top-1", "precision": "precision", "recall": "recall", "levenshtein_accuracy": "Levenshtein"}
    columns.update(false_alarms_per_minute="alarms a minute", minutes="minutes")
    lines = ["| kind | way | seeds | " + " | ".join(columns.values()) + " |", "|---|---|---:|" + "---:|" * len(columns)]
    for (kind, way), cells in found.items():
        means = []
        for key in columns:
            values = [cell[key] for cell in cells if cell[key] is not None]
            means.append(f"{np.mean(values):.2f}" if values else "–")
        lines.append(f"| {kind} | {way} | {len(cells)} | {' | '.join(means)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--kinds", nargs="+", choices=CLIP_KINDS, default=list(CLIP_KINDS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--from", dest="start", type=Path, help="the quickstart's checkpoint, for the drawn gestures")
    args = parser.parse_args()
    if "drawn" in args.kinds and args.start is None:
        parser.error("drawn: needs --from, the quickstart's checkpoint")
    found: dict[tuple[str, str], list[dict[str, Any]]] = {(kind, way): [] for kind in args.kinds for way in WAYS}
    for seed in range(args.seeds):  # each kind once, before any twice
        for kind, way in found:
            cell = measure_cell(kind, seed, way, args)
            found[kind, way].append(cell)
            numbers = {key: None if value is None else round(value, 3) for key, value in cell.items()}
            print(f"{kind}, seed {seed}, {way}: {numbers}", flush=True)
        print(f"\n{markdown(found)}\n", flush=True)


if __name__ == "__main__":
    main()
