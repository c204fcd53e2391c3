"""Reading: frames, views, data sets, training clips."""
