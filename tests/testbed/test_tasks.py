"""Every task asks for what its name says, and encoders learn and transfer as they should."""

import numpy as np
import pytest
import torch

from provray.testbed import tasks, vision
from provray.testbed.digits import SIZE, digits

SEED = 5


@pytest.fixture(scope="module")
def scenes() -> tasks.Scenes:
    return tasks.paint(*digits("train"), seed=1)


def one(shape: torch.Tensor, ink: float = 1.0, paper: float = 0.0) -> tasks.Scenes:
    """One scene in greys."""
    colours = [torch.full((1, 3, 1, 1), value) for value in (ink, paper)]
    return tasks.Scenes(shape.reshape(1, 1, SIZE, SIZE), torch.tensor([3]), *colours)


def made(name: str, scenes: tasks.Scenes, seed: int = SEED) -> tasks.Examples:
    return tasks.examples(tasks.TASKS[name], scenes, seed)


@pytest.mark.parametrize("name", tasks.TASKS)
def test_examples_have_the_shapes_the_task_declares(name: str, scenes: tasks.Scenes) -> None:
    task, few = tasks.TASKS[name], scenes.take(slice(0, 40))
    found = made(name, few)
    assert found.inputs.shape == (40, 3, SIZE, SIZE)
    assert float(found.inputs.min()) >= 0
    assert float(found.inputs.max()) <= 1
    wanted = tasks.columns(task, found.targets)
    assert wanted.shape == (40, task.outputs)
    assert wanted.dtype == torch.float32
    assert float(wanted.var(0).max()) > 0
    again = made(name, few)
    assert torch.equal(found.inputs, again.inputs)
    assert torch.equal(found.targets, again.targets)


def test_scenes_are_painted_light_on_dark_and_by_their_seed(scenes: tasks.Scenes) -> None:
    assert float((scenes.ink - scenes.paper).min()) > 0
    blank = scenes.take(slice(0, 3))
    assert torch.equal(
        blank.painted(torch.zeros(3, 1, SIZE, SIZE))[..., 0, 0], blank.paper[..., 0, 0]
    )
    assert torch.allclose(blank.painted(torch.ones(3, 1, SIZE, SIZE)), blank.ink)
    other = tasks.paint(scenes.shapes, scenes.labels, seed=2)
    assert not torch.equal(other.ink, scenes.ink)


def test_half_a_picture_of_ink() -> None:
    half = torch.zeros(SIZE, SIZE)
    half[:, SIZE // 2 :] = 1
    scene = one(half, ink=0.8, paper=0.2)
    assert made("coverage", scene).targets.tolist() == [[0, 1, 0, 1]]
    mean, deviation = made("brightness", scene).targets[0].tolist()
    assert mean == pytest.approx(0.5)
    # 256 pixels, half of them .3 above and half .3 below the mean
    assert deviation == pytest.approx(0.3 * (256 / 255) ** 0.5, rel=1e-5)
    assert made("colours", scene).targets[0].tolist() == pytest.approx([0.8] * 3 + [0.2] * 3)
    assert torch.equal(made("silhouette", scene).targets[0], half.flatten())
    edges = made("edges", scene).targets.reshape(SIZE, SIZE)
    # (1 + 2 + 1) / 8 of the step of .6, in the two columns beside it
    assert edges[:, [7, 8]].flatten().tolist() == pytest.approx([0.3] * 32, rel=1e-4)
    assert float(edges[:, [0, 1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 14, 15]].abs().max()) < 1e-6
    inpainting = made("inpainting", scene)
    assert inpainting.inputs[0, :, 4:12, 4:12].unique().tolist() == [0.5]
    assert inpainting.targets.reshape(3, 8, 8)[1, 0].tolist() == pytest.approx(
        [0.2] * 4 + [0.8] * 4
    )


def test_labels_are_regrouped() -> None:
    scene = one(torch.zeros(SIZE, SIZE))
    assert [int(made(n, scene).targets) for n in ("classes", "kind", "parity")] == [3, 2, 1]


def test_turning_back_and_putting_together_again_gives_the_picture(scenes: tasks.Scenes) -> None:
    few = scenes.take(slice(0, 60))
    turned = made("rotation", few)
    assert sorted(turned.targets.unique().tolist()) == [0, 1, 2, 3]
    back = [
        torch.rot90(i, -int(q), (1, 2)) for i, q in zip(turned.inputs, turned.targets, strict=True)
    ]
    assert torch.allclose(torch.stack(back), few.painted())
    dealt = made("jigsaw", few)
    assert sorted(dealt.targets.unique().tolist()) == list(range(6))
    whole = dealt.targets == 0
    assert torch.allclose(dealt.inputs[whole], few.painted()[whole])
    # the first quarter stays where it is
    assert torch.allclose(dealt.inputs[..., :8, :8], few.painted()[..., :8, :8])
    means = dealt.inputs.mean((2, 3)), few.painted().mean((2, 3))
    assert torch.allclose(*means, atol=1e-6)


def test_shift_tells_rows_and_columns_moved() -> None:
    dot = torch.zeros(SIZE, SIZE)
    dot[8, 5] = 1
    scenes = tasks.Scenes(
        dot.expand(50, 1, SIZE, SIZE),
        torch.zeros(50, dtype=torch.long),
        torch.ones(50, 3, 1, 1),
        torch.zeros(50, 3, 1, 1),
    )
    moved = made("shift", scenes)
    places = moved.inputs[:, 0].flatten(1).argmax(1)
    found = torch.stack([places // SIZE - 8, places % SIZE - 5], 1)
    assert torch.equal(found.float(), moved.targets)
    assert moved.targets.abs().max() == tasks.REACH


def test_noise_has_the_deviation_it_says() -> None:
    scene = one(torch.full((SIZE, SIZE), 0.5))
    found = made("denoising", scene)
    noise = found.inputs.flatten() - found.targets.flatten()
    assert float(noise.std()) == pytest.approx(tasks.NOISE, rel=0.1)


def test_readout_errors_of_what_is_known() -> None:
    draw = np.random.default_rng(1)
    x, noise = draw.normal(size=(300, 5)), draw.normal(size=(300, 2))
    y = x @ draw.normal(size=(5, 2)) + 3
    half = slice(0, 150), slice(150, 300)
    assert tasks.readout_error((x[half[0]], y[half[0]]), (x[half[1]], y[half[1]])) < 1e-3
    useless = tasks.readout_error((x[half[0]], noise[half[0]]), (x[half[1]], noise[half[1]]))
    assert 0.95 < useless < 1.1
    # a unit that is active once in a while must not drown the others
    rare = np.c_[x, np.where(np.arange(300) == 200, 1.0, 0.0)]
    assert tasks.readout_error((rare[half[0]], y[half[0]]), (rare[half[1]], y[half[1]])) < 1e-3
    with pytest.raises(ValueError, match="do not vary"):
        tasks.readout_error((x, np.ones((300, 1))), (x, np.ones((300, 1))))


def test_gain_is_the_share_of_the_random_error_taken_away() -> None:
    gains = tasks.gain(np.array([[0.25, 0.1], [0.75, 0.4]]), np.array([0.5, 0.4]))
    assert gains == pytest.approx(np.array([[0.5, 0.75], [-0.5, 0.0]]))
    with pytest.raises(ValueError, match="positive"):
        tasks.gain(np.array([0.1]), np.array([0.0]))


def test_an_encoder_helps_its_own_task_more_than_a_random_one(scenes: tasks.Scenes) -> None:
    fit, held_out = (tasks.paint(*digits(part), seed=2) for part in ("cohort", "test"))
    training = vision.Training(epochs=2, batch=40, rate=4e-3)
    for name in ("classes", "colours", "edges"):
        task = tasks.TASKS[name]
        errors = []
        for trained in (True, False):
            model = tasks.new_encoder("resnet", task, seed=1)
            if trained:
                tasks.train_encoder(model, task, scenes, training, seed=1)
            else:
                before = [p.clone() for p in model.parameters()]
                tasks.settle(model, scenes.painted())
                assert all(
                    torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)
                )
            assert not model.training
            parts = []
            for seed, some in enumerate((fit, held_out)):
                found = tasks.examples(task, some, seed)
                states = tasks.features(model, found.inputs)
                assert states.shape == (len(some), 96)
                parts.append((states, tasks.columns(task, found.targets)))
            errors.append(tasks.readout_error(*parts))
        assert tasks.gain(*map(np.array, errors)) > 0.2, name


def test_training_is_the_same_every_time(scenes: tasks.Scenes) -> None:
    task, few = tasks.TASKS["denoising"], scenes.take(slice(0, 80))
    states = []
    for _ in range(2):
        model = tasks.new_encoder("resnet", task, seed=1)
        tasks.train_encoder(model, task, few, vision.Training(3, 40, 1e-3), seed=3)
        states.append(tasks.features(model, few.painted()))
    assert torch.equal(*states)
