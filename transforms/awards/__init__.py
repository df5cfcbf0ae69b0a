"""Awards: their ids and dates, what covers them, and the requests they go out in."""
