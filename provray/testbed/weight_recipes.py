"""How children are made out of weights alone, without training."""

from transformers import PreTrainedModel

from provray.testbed import children, evasions, merging
from provray.testbed.build import Job, Outcome
from provray.testbed.folders import load_own_model, save_model
from provray.testbed.vision_recipes import finish


def compress(job: Job) -> Outcome:
    """Change the weights: `method` prune, quantise, bfloat16, float16, noise or drop layer."""
    given = job.item.settings
    model = load_own_model(job.sources[0])
    method = given["method"]
    if method == "prune":
        model = children.prune(model, given["fraction"], given.get("scope", "tensor"))
    elif method == "quantise":
        model = children.quantise(model, given["bits"], given.get("group"))
    elif method == "bfloat16":
        model = children.to_bfloat16(model)
    elif method == "float16":
        model = children.to_float16(model)
    elif method == "noise":
        model = children.add_noise(model, given["scale"], job.item.seed)
    elif method == "drop layer":
        model = children.drop_layer(model, given["layer"])
    else:
        raise ValueError(
            f"method {method!r} is none of prune, quantise, bfloat16, float16, noise, drop layer"
        )
    return _finish_like_source(job, model)


def merge(job: Job) -> Outcome:
    """Merge siblings, the item's `others`: `method` linear (default), slerp, or ties with `base` as first source."""
    folders = job.sources[-len(job.item.others) :]
    method = job.item.settings.get("method", "linear")
    models = [load_own_model(folder) for folder in folders]
    if method == "linear":
        merged = merging.average(models)
    elif method == "slerp":
        merged = merging.slerp(models[0], models[1], 0.5)
    elif method == "ties":
        # the last of the others is the base that the changes are measured from
        merged = merging.ties(models[-1], models[:-1], density=0.3)
    else:
        raise ValueError(f"method {method!r} is none of linear, slerp, ties")
    return _finish_like_source(job, merged)


def evade(job: Job) -> Outcome:
    """Change the weights and keep the function: `method` permute, rescale or permute classes."""
    model = load_own_model(job.sources[0])
    method = job.item.settings["method"]
    if method == "permute":
        changed = evasions.permute_neurons(model, job.item.seed)
    elif method == "rescale":
        changed = evasions.rescale_neurons(model, job.item.seed)
    elif method == "permute classes":
        changed = evasions.permute_classes(model, job.item.seed)
    else:
        raise ValueError(f"method {method!r} is none of permute, rescale, permute classes")
    return _finish_like_source(job, changed)


def _finish_like_source(job: Job, model: PreTrainedModel) -> Outcome:
    if "task" in job.item.settings:
        return finish(job, model, job.item.settings["task"])
    save_model(model, job.folder, title=job.title, inputs=job.sources[0])
    return Outcome()
