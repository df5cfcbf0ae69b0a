"""Files of others: activity, held badges, exports; found, read, accepted."""
