"""The farm kind `firebase`: apps on Firebase Test Lab, by its Testing, Tool Results and Cloud Storage APIs."""
