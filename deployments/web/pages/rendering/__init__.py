"""What all pages are made with: templates, style and scripts, words, plots."""
