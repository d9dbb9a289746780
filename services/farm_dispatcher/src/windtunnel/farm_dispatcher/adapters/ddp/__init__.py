"""The farm kind `ddp`: executables on Google's Developer Device Platform, by the gcloud command."""
