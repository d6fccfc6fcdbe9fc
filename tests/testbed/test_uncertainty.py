"""Surrogates have the members they promise, and what is counted from them is what statistics says."""

from pathlib import Path

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from transformers import PreTrainedModel

from provray.testbed.digits import digits, generator
from provray.testbed.steal_bench import look_at
from provray.testbed.steal_naming import Asked, naming_rows
from provray.testbed.steal_plot import draw_steal_plot
from provray.testbed.steal_results import (
    Look,
    alikeness,
    first_claim,
    outcomes,
    second_claim,
    student_interval,
    wilson_interval,
)
from provray.testbed.uncertainty import (
    Control,
    DeepEnsemble,
    Lessons,
    Surrogate,
    disagreement,
    fixed_draws,
    member_variance,
)
from provray.testbed.uncertainty_surrogates import (
    LastLayerLaplace,
    MeanFieldVariational,
    MonteCarloDropout,
    NormalWeight,
    Swag,
    SwagPosterior,
    all_surrogates,
    gaussian_divergence,
    swag_posterior,
)
from provray.testbed.vision import Training, new_classifier, probabilities, train

STEPS = 40
Trained = dict[str, tuple[Surrogate, list[Look]]]
FIVE = (
    DeepEnsemble(2),
    MonteCarloDropout(3),
    Swag(3),
    LastLayerLaplace(3),
    MeanFieldVariational(3),
)


def unwatched(iteration: int, surrogate: Surrogate) -> None:
    """Watch nothing."""


@pytest.fixture(scope="module")
def victim() -> PreTrainedModel:
    """A classifier of digits, trained for two epochs."""
    images, labels = digits("train")
    network = new_classifier("resnet", channels=1, size=16, classes=10, seed=5)
    train(network, images, labels, Training(2, 40, 4e-3), seed=5)
    return network


@pytest.fixture(scope="module")
def lessons(victim: PreTrainedModel) -> Lessons:
    """1,000 digits and what the victim says of them."""
    images, _ = digits("train")
    return Lessons(images, probabilities(victim, images), "resnet", STEPS, 40, 4e-3, (10, STEPS))


@pytest.fixture(scope="module")
def trained(lessons: Lessons, victim: PreTrainedModel) -> Trained:
    """The control and all five, with a look at every checkpoint."""
    found: Trained = {}
    images, labels = digits("test")
    said = probabilities(victim, images).argmax(1)
    for surrogate in (Control(), *FIVE):
        looks: list[Look] = []

        def watch(iteration: int, watched: Surrogate, looks: list[Look] = looks) -> None:
            looks.append(look_at(watched, 0, iteration, images, labels, said))

        surrogate.train(lessons, 11, watch)
        found[surrogate.name] = (surrogate, looks)
    return found


@pytest.mark.parametrize("name", [surrogate.name for surrogate in FIVE])
def test_members_are_probabilities_that_differ_and_stay(name: str, trained: Trained) -> None:
    surrogate, looks = trained[name]
    images, _ = digits("probe")
    members = surrogate.members(images[:60])
    assert members.shape == (2 if name == "deep ensemble" else 3, 60, 10)
    assert (members >= 0).all()
    assert torch.allclose(members.sum(2), torch.ones(members.shape[:2]), atol=1e-5)
    assert member_variance(members) > 1e-6
    assert all(not torch.equal(members[0], other) for other in members[1:])
    # the same draws at every call
    assert torch.allclose(members, surrogate.members(images[:60]), atol=1e-6)
    assert [look.iteration for look in looks] == [10, STEPS]
    assert all(look.variance > 0 for look in looks)


def test_fidelity_and_accuracy_rise(trained: Trained) -> None:
    for name, (_, looks) in trained.items():
        first, *_, last = looks
        # SWAG, which measures its own normalisation statistics, begins higher than the others
        assert last.fidelity > max(0.6, first.fidelity + 0.03), name
        assert last.accuracy > max(0.6, first.accuracy + 0.03), name


def test_the_control_has_one_member_and_no_variance(
    trained: Trained,
) -> None:
    control, looks = trained[Control.name]
    images, _ = digits("probe")
    assert control.members(images).shape == (1, 250, 10)
    assert all(look.variance == look.disagreement == 0.0 for look in looks)
    assert all(look.member_fidelity == pytest.approx(look.fidelity) for look in looks)


def test_control_ensemble_and_laplace_share_a_network(
    trained: Trained,
) -> None:
    images = digits("probe")[0]
    control = trained[Control.name][0].members(images)[0]
    assert torch.equal(trained["deep ensemble"][0].members(images)[0], control)
    # draws of the last layer lie around the control's
    around = trained["last-layer Laplace"][0].members(images).mean(0)
    assert (around - control).abs().mean() < 0.02 < (around - control.roll(1, 0)).abs().mean()


def test_watching_changes_nothing(lessons: Lessons) -> None:
    images = digits("probe")[0][:20]
    short = Lessons(lessons.queries, lessons.replies, "resnet", 8, 40, 4e-3, (8,))
    often = Lessons(lessons.queries, lessons.replies, "resnet", 8, 40, 4e-3, (3, 8))

    def look(_: int, surrogate: Surrogate) -> None:
        surrogate.members(images)

    for make in (MonteCarloDropout, MeanFieldVariational):
        one, other = make(2), make(2)
        one.train(short, 3, unwatched)
        other.train(often, 3, look)
        assert torch.allclose(one.members(images), other.members(images), atol=1e-5)


def test_untrained_surrogates_and_bad_lessons_are_refused(lessons: Lessons) -> None:
    for surrogate in all_surrogates():
        with pytest.raises(ValueError, match="train it first"):
            surrogate.members(lessons.queries)
    with pytest.raises(ValueError, match="must end with step 60"):
        Lessons(lessons.queries, lessons.replies, "resnet", 60, 40, 4e-3, (10,))
    with pytest.raises(ValueError, match="fewer than one batch"):
        Lessons(lessons.queries[:9], lessons.replies[:9], "resnet", 60, 40, 4e-3, (60,))
    vit = Lessons(lessons.queries, lessons.replies, "vit", 60, 40, 4e-3, (60,))
    with pytest.raises(ValueError, match="ResNets alone"):
        MonteCarloDropout().train(vit, 1, unwatched)


def test_swag_posterior_has_the_moments_of_the_weights_visited() -> None:
    draw = generator(3)
    spread = torch.tensor([0.5, 1.0, 2.0])
    mixing = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    centre = torch.tensor([1.0, -2.0, 0.0])
    visited = centre + (torch.randn(2000, 3, generator=draw) @ mixing.T) * spread
    posterior = swag_posterior(list(visited), rank=2000)
    assert torch.allclose(posterior.mean, visited.mean(0), atol=1e-5)
    assert torch.allclose(posterior.diagonal, visited.var(0, correction=0), rtol=1e-3)
    samples = torch.stack([posterior.draw(draw) for _ in range(4000)])
    covariance = torch.cov(visited.T)
    wanted = (covariance + torch.diag(covariance.diag())) / 2
    assert torch.allclose(samples.mean(0), posterior.mean, atol=0.1)
    assert torch.allclose(torch.cov(samples.T), wanted, atol=0.3)


def test_swag_keeps_the_last_deviations_and_refuses_one_visit() -> None:
    posterior = swag_posterior([torch.tensor([0.0]), torch.tensor([2.0]), torch.tensor([4.0])], 2)
    assert posterior.mean.tolist() == [2.0]
    assert posterior.diagonal.tolist() == pytest.approx([8 / 3])
    assert posterior.deviations.tolist() == [[0.0, 2.0]]
    still = SwagPosterior(torch.ones(2), torch.zeros(2), torch.zeros(2, 3))
    assert still.draw(generator(1)).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="two sets of weights"):
        swag_posterior([torch.ones(2)], 5)


def test_divergence_is_that_of_normal_distributions() -> None:
    mean, deviation = torch.tensor([0.0, 0.3, -2.0]), torch.tensor([0.5, 0.1, 1.5])
    wanted = kl_divergence(Normal(mean, deviation), Normal(0.0, 0.5)).sum()
    assert float(gaussian_divergence(mean, deviation, 0.5)) == pytest.approx(float(wanted))
    assert float(gaussian_divergence(torch.zeros(4), torch.full((4,), 0.5), 0.5)) == pytest.approx(
        0
    )


def test_normal_weights_start_as_narrow_as_said_and_draw_anew() -> None:
    weight = torch.randn(50, 40, generator=generator(4)) / 10
    normal = NormalWeight(weight, share=0.2)
    assert normal.prior == pytest.approx(0.1, rel=0.05)
    with fixed_draws(1):
        offsets = torch.stack([(normal(weight) - weight).detach() for _ in range(20)])
    assert float(offsets.std()) == pytest.approx(0.2 * normal.prior, rel=0.03)
    assert not torch.equal(offsets[0], offsets[1])


def test_variance_and_disagreement_by_hand() -> None:
    members = torch.tensor([[[0.9, 0.1], [0.4, 0.6]], [[0.7, 0.3], [0.6, 0.4]]])
    assert member_variance(members) == pytest.approx(0.02)
    assert disagreement(members) == pytest.approx(0.5)
    three = torch.cat([members, members[:1]])
    # of three pairs, two differ on the second input
    assert disagreement(three) == pytest.approx(1 / 3)
    assert member_variance(members[:1]) == disagreement(members[:1]) == 0.0


def test_student_interval_is_that_of_scipy() -> None:
    from scipy import stats

    values = [0.91, 0.93, 0.96]
    found = student_interval(values)
    low, high = stats.t.interval(0.95, 2, loc=found.mean, scale=stats.sem(values))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert student_interval([0.5]).low is None
    with pytest.raises(ValueError, match="no values"):
        student_interval([])


@pytest.mark.parametrize(("hits", "count"), [(0, 3), (2, 3), (7, 15), (15, 15), (81, 263)])
def test_wilson_interval_is_that_of_scipy(hits: int, count: int) -> None:
    from scipy.stats import binomtest

    wanted = binomtest(hits, count).proportion_ci(method="wilson")
    found = wilson_interval(hits, count)
    assert (found.low, found.high) == (pytest.approx(wanted.low), pytest.approx(wanted.high))


def test_wilson_interval_needs_a_share() -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson_interval(4, 3)
    with pytest.raises(ValueError, match="no share"):
        wilson_interval(0, 0)


def some_looks() -> list[Look]:
    """Two seeds: the ensemble gains 2 points in both, its variance rises and then falls; SWAG's only rises."""
    looks = []
    for seed in (0, 1):
        for iteration, rise in ((10, 0.0), (50, 0.3), (100, 0.4)):
            base = 0.5 + rise + seed / 100
            looks += [
                Look("single network", seed, iteration, base, base, base, 0.0, 0.0),
                Look(
                    "deep ensemble",
                    seed,
                    iteration,
                    base + 0.02,
                    base,
                    base,
                    {10: 0.1, 50: 0.4, 100: 0.05}[iteration],
                    {10: 0.9, 50: 0.4, 100: 0.1}[iteration],
                ),
                Look("SWAG", seed, iteration, base - 0.01 * seed, base, base, rise, rise),
            ]
    return looks


def test_gains_are_paired_by_seed() -> None:
    found = {row.surrogate: row for row in outcomes(some_looks(), "single network")}
    assert found["single network"].fidelity_gain is None
    assert found["single network"].fidelity.mean == pytest.approx(0.905)
    gain = found["deep ensemble"].fidelity_gain
    assert gain is not None
    assert gain.low is not None
    # equal in both seeds, though the seeds differ
    assert (gain.mean, gain.low) == (pytest.approx(0.02), pytest.approx(0.02))
    words = first_claim(list(found.values()))
    assert "+2.0 points" in words
    assert "above zero with its whole interval: deep ensemble; below zero: none" in words.lower()


def test_growing_alike_is_counted_over_seeds() -> None:
    found = {row.surrogate: row for row in alikeness(some_looks(), "single network")}
    assert set(found) == {"deep ensemble", "SWAG"}
    ensemble, swag = found["deep ensemble"], found["SWAG"]
    assert (ensemble.first, ensemble.halfway, ensemble.highest, ensemble.last) == pytest.approx(
        (0.1, 0.4, 0.4, 0.05)
    )
    assert (ensemble.below_first, ensemble.below_halfway, ensemble.seeds) == (2, 2, 2)
    assert (swag.below_first, swag.below_halfway, swag.disagreement_below_halfway) == (0, 0, 0)
    words = second_claim(list(found.values()))
    assert "halfway in 2 of 4 trainings" in words
    assert words.endswith("does not fall from halfway to the end for: SWAG.")


def test_naming_counts_by_group() -> None:
    def asked(model: str, group: str, first: str, margin: float, verdict: str) -> Asked:
        return Asked(model, group, 0, {"weights": first}, {"weights": margin}, verdict, first)

    rows = naming_rows(
        [
            asked("a", "members", "victim", 0.2, "none"),
            asked("b", "members", "other", -0.1, "related"),
            asked("c", "strangers", "other", -0.3, "none"),
        ],
        "victim",
    )
    assert [row.group for row in rows] == ["members", "strangers"]
    assert (rows[0].named["weights"].hits, rows[0].named["weights"].count) == (1, 2)
    assert rows[0].margin["weights"] == pytest.approx(0.05)
    assert rows[0].verdicts == {"none": 1, "related": 1}
    assert rows[1].candidate.hits == 0


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_figure_is_drawn(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"figure.{ending}"
    draw_steal_plot(some_looks(), file, title="Stealing")
    head = file.read_bytes()[:400]
    assert head.startswith(b"\x89PNG") if ending == "png" else b"<?xml" in head
    assert 5_000 < file.stat().st_size < 200_000
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_steal_plot([], file, title="Stealing")
