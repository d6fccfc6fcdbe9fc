"""Fingerprints: pure maths from a model to vectors that can be compared. Knows no Ray and no files.

`weights` says what a model is made of, `dna` what it does with its inputs at every depth, `gif` how its
output moves with its inputs. Each is a mergeable sketch: states of parts of the work add up to the state of
the whole, whatever the order.
"""
