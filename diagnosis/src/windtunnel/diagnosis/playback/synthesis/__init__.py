"""Analysis by synthesis: what images, audio and text share when the changes of a pipeline are searched."""
