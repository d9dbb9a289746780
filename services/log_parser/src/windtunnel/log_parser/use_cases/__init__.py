"""What the log parser does: read a log, measure a cell, judge a device run."""
