"""How each kind of model in a zoo is made. A recipe reads its sources' folders and writes its own.

`RECIPES` maps a name to a function of a `Job`; the settings each understands are its item's `settings`,
written into `truth.parquet` beside the result.
"""

from collections.abc import Callable, Mapping

from provray.testbed.asset_recipes import asset, cohort_image, photo_finetune, random_weights
from provray.testbed.build import Job, Outcome
from provray.testbed.text_recipes import (
    text_base,
    text_classify,
    text_contrast,
    text_distil,
    text_steal,
)
from provray.testbed.vision_recipes import (
    vision_base,
    vision_control,
    vision_distil,
    vision_finetune,
    vision_new_head,
    vision_steal,
)
from provray.testbed.weight_recipes import compress, evade, merge

RECIPES: Mapping[str, Callable[[Job], Outcome]] = {
    recipe.__name__: recipe
    for recipe in (
        vision_base,
        vision_finetune,
        vision_new_head,
        vision_steal,
        vision_control,
        vision_distil,
        compress,
        merge,
        evade,
        asset,
        photo_finetune,
        random_weights,
        cohort_image,
        text_base,
        text_classify,
        text_contrast,
        text_distil,
        text_steal,
    )
}
