SELECT * FROM badges
