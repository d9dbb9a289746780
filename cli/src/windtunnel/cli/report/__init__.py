"""Reports for people. Here: words and figures that the terminal and the page share."""
