"""The reference played back: how an app's preprocessing differs from the pipeline, found by explaining its inputs."""
