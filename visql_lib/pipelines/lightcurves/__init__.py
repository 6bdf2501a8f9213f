"""Light curves: frames of one field over years, from one or several telescopes, to magnitudes."""
