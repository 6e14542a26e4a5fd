"""What every floor uses: one check for each kind of option, files, and texts from anywhere."""
