"""Model families with known lineage, built on one's own machine.

Nothing about a provenance verdict can be believed without ground truth. The modules here make real
model folders, as a hub holds them (`config.json`, `model.safetensors`, preprocessor or tokenizer
files, a card that declares nothing), and a `truth.parquet` that says who descends from whom.

- `assets`: real models and data that installed packages carry
- `digits`, `vision`, `text`: data and small networks trained from scratch
- `children`, `theft`, `distil`: what can be made of a model
- `build`, `recipes`: a resumable, seeded, parallel builder of families
- `demo_zoo`, `studies`, `cohort`: the families themselves

Needs the extra `testbed` (`pip install 'provray[testbed]'`).
"""
