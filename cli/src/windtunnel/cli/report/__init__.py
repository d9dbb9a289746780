"""Reports for people. This folder: words and figures that the terminal and the pages share."""
