"""Dense self-distillation: the matches of a slowly moving teacher, as far as keypoints agree."""
