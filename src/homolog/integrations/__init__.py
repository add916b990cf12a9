"""homolog inside labelling tools: CVAT, FiftyOne and Label Studio."""
