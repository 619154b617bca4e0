"""The service: the graph, its options, sources and sinks, and the command `rescore`."""
