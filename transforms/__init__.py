"""The stages of the pipeline, a file each: a pure function first, the transform around it second."""
