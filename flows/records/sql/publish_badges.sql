CREATE TABLE published.badges AS SELECT * FROM badges
